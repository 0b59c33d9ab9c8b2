"""From the user's sources to arrays of labels that all mean the same: volumes, or independent 2D images."""

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsdcli.data.formats import Raster, identity, is_slices, natural_order, read_folder, read_image, split_inner
from dsdcli.data.formats.labels import grey_of_colours
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.large import stacked
from dsdcli.data.voxel import LARGEST, SAME, VoxelSize, convert, doubt_name, sides
from dsdcli.errors import DataError, UsageError

_CHANNELS = (2, 3, 4)  # a last side as short as this, where the others are longer, is one of channels


@dataclass(frozen=True)
class Gathered:
    """Label arrays (any integer type) with their axes, the slice axes, the voxel size, and notes for the user."""

    images: tuple[LabelledImage, ...]
    slice_axes: str
    voxel: VoxelSize | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def check_axes(text: str) -> str:
    """The slice axes in canonical order: "t", or letters out of z, y, x.

    Raises:
        UsageError: anything else.
    """
    letters = text.strip().lower()
    if letters == "t":
        return letters
    if not letters or set(letters) - set("zyx") or len(set(letters)) < len(letters):
        raise UsageError(
            f"cannot read `axes={text!r}`; write the axes across which slices are cut (z, zyx, ...), "
            "or t for a stack of independent 2D images"
        )
    return "".join(axis for axis in "zyx" if axis in letters)


def gather(
    sources: Sequence[str],
    axes: str | None = None,
    voxel: VoxelSize | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
    offset: int = 0,
    endian: str = "little",
    read: Callable[..., Raster] = read_image,
) -> Gathered:
    """Read every source and settle what its axes mean.

    A 3D array is a volume unless its metadata (axes TYX) or ``axes`` "t" say that it is a stack of independent 2D
    images. A folder of 2D images is one volume in natural order. Several 2D files are independent images unless
    ``axes`` names directions of a volume: then they are its slices, in natural order.

    Args:
        sources: files, folders, ``file.h5:/path``.
        axes: as `check_axes` returns; None decides from the sources.
        voxel: overrides what the files say.
        shape: (Z, Y, X) or (Y, X) of raw files.
        dtype: type of raw files.
        offset: bytes before the voxels of raw files.
        endian: their byte order.
        read: reads one source, called as `read_image` is.

    Raises:
        DataError: unreadable sources, or sources that do not belong together.
        UsageError: ``axes`` contradicts the sources.
    """
    notes: list[str] = []
    warnings: list[str] = []
    rasters: list[Raster] = []
    flat: list[tuple[Path, Raster]] = []  # single 2D files, to be stacked
    done: set[tuple[Path, str | None]] = set()
    for source in sources:
        if identity(source) in done:
            notes.append(f"{source} counts once: it was named before, or is part of an image that was")
            continue
        done.add(identity(source))
        if is_slices(Path(source)):
            rasters += _read_folder(Path(source), axes, notes, read)
            continue
        raster = read(source, shape, dtype, offset, endian)
        done.update(identity(str(file)) for file in raster.files)
        if axes is None:
            raster = _without_channels(raster, source)
            if raster.axes == "TYX" and raster.about is None:
                notes.append(
                    f"{source} says that its {len(raster.array)} images are a series, so they are taken as independent "
                    "2D images (`axes='z'`: slices of one volume)"
                )
        if not flat:  # what is said of the first of many slices holds for the others
            notes += raster.remarks
        if raster.array.ndim == 2 and len(sources) > 1:
            flat.append((split_inner(source)[0], raster))
        else:
            rasters.append(raster)
    if flat:
        rasters += _combine_files(flat, axes, notes)
    images: list[LabelledImage] = []
    for raster in rasters:
        images += _images(raster, axes, notes)
    kinds = {image.axes == "ZYX" for image in images}
    if len(kinds) > 1:
        raise DataError("the sources mix volumes and independent 2D images; ingest them into one dataset each")
    volumes = kinds == {True}
    if axes and axes != "t" and not volumes:
        raise UsageError(
            f"`axes={axes!r}` cuts slices of a volume, but the source is a single 2D image; leave `axes` out"
        )
    slice_axes = axes or ("z" if volumes else "t")
    if voxel is None and all(raster.voxel is None or raster.voxel.source == "file name" for raster in rasters):
        warnings += filter(None, (doubt_name(name) for name in _first_names(sources)))
    size, more = _voxel(rasters, voxel, slice_axes, notes)
    warnings += more
    return Gathered(tuple(images), slice_axes, size, tuple(dict.fromkeys(notes)), tuple(dict.fromkeys(warnings)))


def doubt_numbers(names: Iterable[str], what: str) -> list[str]:
    """What is strange about the numbers in the names of slices: some are missing, or they go in steps."""
    groups: dict[tuple[str, str], set[int]] = {}
    for name in names:
        if match := re.fullmatch(r"(.*?)(\d+)(\D*)", name):
            groups.setdefault((match[1], match[3]), set()).add(int(match[2]))
    largest: set[int] = max(groups.values(), key=len, default=set())
    numbers = sorted(largest)
    if len(numbers) < 3:
        return []
    step = math.gcd(*(b - a for a, b in itertools.pairwise(numbers)))
    doubts = []
    if step > 1:
        doubts.append(
            f"{what}: the numbers of the slices go in steps of {step}; if slices were left out, the others lie farther "
            "apart than pixels, and only slices across z are true"
        )
    expected = range(numbers[0], numbers[-1] + 1, step)
    if missing := len(expected) - len(numbers):
        first = next(number for number in expected if number not in numbers)
        doubts.append(
            f"{what}: {missing} of the slices {numbers[0]} to {numbers[-1]} {'is' if missing == 1 else 'are'} not "
            f"there, the first of them {first}; their neighbours are taken as adjacent"
        )
    return doubts


def digest_of(source: str) -> str:
    """SHA-256 (hex) of a file's bytes, or of the names and bytes of a folder's files."""
    path = split_inner(source)[0]
    if path.is_dir():
        total = hashlib.sha256()
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            total.update(f"{file.relative_to(path).as_posix()} {digest_of(str(file))}\n".encode())
        return total.hexdigest()
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _without_channels(raster: Raster, source: str) -> Raster:
    """An array whose last side looks like that of channels is no volume unless someone says so.

    Raises:
        DataError: its channels differ, so none of them can be taken.
    """
    shape = raster.array.shape
    if raster.axes is not None or len(shape) != 3 or shape[-1] not in _CHANNELS or min(shape[:-1]) <= max(_CHANNELS):
        return raster
    try:
        array, remarks = grey_of_colours(raster.array, source)
    except DataError as error:
        raise DataError(
            f"{source} is {sides(shape)}: its last side looks like {shape[-1]} channels, not like a direction of a "
            "volume; save the channel with the labels alone, or say `axes='z'` if it is a volume"
        ) from error
    return replace(raster, array=array, axes="YX", remarks=raster.remarks + remarks)


def _first_names(sources: Sequence[str]) -> list[str]:
    """The name of each file, or of the first image in each folder."""
    names = []
    for source in sources:
        path = split_inner(source)[0]
        inside = sorted(path.iterdir(), key=natural_order) if path.is_dir() else [path]
        names += [file.name for file in inside if not file.name.startswith(".")][:1]
    return names


def _read_folder(folder: Path, axes: str | None, notes: list[str], read: Callable[..., Raster]) -> list[Raster]:
    rasters = read_folder(folder, read)
    notes += rasters[0].remarks  # those of the other slices would be the same
    if len(rasters) == 1:
        return rasters
    if any(raster.array.ndim != 2 for raster in rasters):
        raise DataError(f"the folder {folder} holds stacks or volumes; name the files instead: {folder}/*")
    if axes == "t":
        return _stack_if_equal(rasters)
    if axes is None:
        notes.append(f"{folder}: its {len(rasters)} images are slices of one volume (`axes='t'`: independent images)")
    notes += doubt_numbers((file.name for file in folder.iterdir() if not file.name.startswith(".")), str(folder))
    return [_volume(rasters, str(folder))]


def _combine_files(flat: list[tuple[Path, Raster]], axes: str | None, notes: list[str]) -> list[Raster]:
    """Several single 2D files as slices of one volume or as independent images."""
    if axes and axes != "t":
        notes += doubt_numbers((path.name for path, _ in flat), "the sources")
        return [_volume([raster for _, raster in sorted(flat, key=lambda pair: natural_order(pair[0]))], "the sources")]
    if axes is None:
        notes.append(f"the {len(flat)} files are independent 2D images (`axes='z'`: slices of one volume)")
    return _stack_if_equal([raster for _, raster in flat])


def _stack_if_equal(rasters: list[Raster]) -> list[Raster]:
    if len({raster.array.shape for raster in rasters}) > 1:
        return rasters
    return [Raster(stacked([raster.array for raster in rasters]), "TYX", rasters[0].voxel)]


def _volume(rasters: list[Raster], what: str) -> Raster:
    shapes = sorted({raster.array.shape for raster in rasters})
    if len(shapes) > 1:
        sizes = ", ".join(sides(shape) for shape in shapes[:4])
        raise DataError(
            f"{what}: the images differ in size ({sizes}), so they are not slices of one volume; "
            "say `axes='t'` if they are independent images"
        )
    return Raster(stacked([raster.array for raster in rasters]), "ZYX", rasters[0].voxel, rasters[0].depth)


def _images(raster: Raster, axes: str | None, notes: list[str]) -> list[LabelledImage]:
    array = raster.array
    if array.ndim == 4:
        if axes == "t":
            raise UsageError("`axes='t'` means 2D images, but the source holds several volumes; leave `axes` out")
        return [LabelledImage(volume, "ZYX") for volume in array]
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim == 2:
        return [LabelledImage(array, "YX")]
    if axes is not None:
        return [LabelledImage(array, "TYX" if axes == "t" else "ZYX")]
    if raster.axes is None:
        notes.append(f"the {len(array)} slices are taken as one volume (`axes='t'`: independent 2D images)")
    return [LabelledImage(array, raster.axes or "ZYX")]


def _voxel(
    rasters: Sequence[Raster], given: VoxelSize | None, slice_axes: str, notes: list[str]
) -> tuple[VoxelSize | None, list[str]]:
    """The one voxel size of all sources; warnings."""
    found = [raster.voxel for raster in rasters if raster.voxel]
    if given:
        if found and not _equal(given, found[0]):
            said = f"{found[0].source} says {found[0].value:g} {found[0].unit}"
            notes.append(f"voxel size {given.value:g} {given.unit} as given, though {said}")
        return given, _flat(rasters, slice_axes)
    if not found:
        notes.append("the voxel size is unknown, so lengths will be in voxels; give it as `voxel_size='5.3um'`")
        return None, []
    other = next((voxel for voxel in found if not _equal(voxel, found[0])), None)
    if other:
        raise DataError(
            f"the sources differ in voxel size ({found[0].value:g} {found[0].unit}, {other.value:g} {other.unit}); "
            "ingest them apart, or give one `voxel_size`"
        )
    size = found[0]
    warnings = _flat(rasters, slice_axes)
    if size.metres > LARGEST:
        warnings.append(
            f"the voxel size is {size.value:g} {size.unit}, by {size.source}: that is large for a voxel; if it is the "
            "size of something else, give `voxel_size`"
        )
    return size, warnings


def _flat(rasters: Sequence[Raster], slice_axes: str) -> list[str]:
    """A warning where the slices of a volume lie at another distance than the pixels in them."""
    flat = next(((raster.depth, raster.voxel) for raster in rasters if raster.depth and raster.voxel), None)
    if flat is None or slice_axes == "t":
        return []
    (depth, voxel), side = flat, f"{flat[1].value:g} {flat[1].unit}"
    apart = f"the slices lie {depth:g} {voxel.unit} apart, the pixels {side}"
    return [
        f"{apart}: dsd takes voxels as cubes of {side}, right for slices across z only; resample the volume for more"
    ]


def _equal(one: VoxelSize, other: VoxelSize) -> bool:
    return abs(one.value - convert(other.value, other.unit, one.unit)) <= SAME * one.value
