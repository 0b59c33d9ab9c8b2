"""From grey and multi-channel images to counts of particles: reading, requantising, coarsening."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dsdcli.data.formats import Raster, guarded, read_image, split_inner
from dsdcli.data.formats.labels import NOT_WHOLE, as_labels
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.species import LARGEST_CAP, MAX_SPECIES, Species, channels, records
from dsdcli.errors import DataError, UsageError

_PICTURES = (".png", ".bmp", ".ppm", ".jpg", ".jpeg")
_TIFFS = (".tif", ".tiff")
_MOST = 4  # channels that a file may have whose channels nobody names


def read_counts(
    text: str,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
    offset: int = 0,
    endian: str = "little",
    names: Sequence[str] = (),
) -> Raster:
    """As `dsdcli.data.formats.read_image`, of intensities: an array of records, one field a channel.

    Channels are those of a colour picture, of a TIFF that says so, and of any .npy array whose last side is as long as
    there are ``names``.

    Raises:
        UsageError: there is no such file.
        DataError: unreadable, or fractional, or of another number of channels than ``names``.
    """
    path = split_inner(text)[0]
    with guarded(path):
        raster = _many_channels(path, len(names)) if path.is_file() else None
        if raster is None:
            try:
                raster = read_image(text, shape, dtype, offset, endian)
            except DataError as error:
                if NOT_WHOLE in str(error):
                    raise DataError(
                        f"{text} holds fractional intensities; counts of particles are whole: scale and round them"
                    ) from error
                raise
            raster = replace(raster, array=raster.array[..., None])
    number = raster.array.shape[-1]
    if names and len(names) != number:
        raise DataError(f"{text} has {number} channels, and `channels` names {len(names)}; name each of them")
    return replace(raster, array=records(raster.array))


def _many_channels(path: Path, named: int) -> Raster | None:
    """A file of several channels, (*L, C); None for one of a single channel, which `read_image` knows."""
    ending = path.suffix.lower()
    array: np.ndarray | None = None
    if ending in _PICTURES:
        from PIL import Image as Pictures

        with Pictures.open(path) as picture:
            bands = {"RGB": "RGB", "RGBA": "RGB", "P": "RGB"}.get(picture.mode)
            array = None if bands is None else np.asarray(picture.convert(bands))
        if array is not None and (array == array[..., :1]).all() and named < 2:
            return None  # grey in colours
    elif ending in _TIFFS:
        import tifffile

        with tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            letters = series.axes
            axis = next((letters.index(letter) for letter in "SC" if letter in letters), None)
            if axis is not None and 1 < series.shape[axis] <= max(_MOST, named):
                array = np.moveaxis(series.asarray(), axis, -1)
    elif ending == ".npy" and named > 1:
        array = np.load(path, allow_pickle=False)
        if array.ndim < 3 or array.shape[-1] != named:
            raise DataError(
                f"{path} is of shape {'x'.join(map(str, array.shape))}; its last side must be the {named} channels"
            )
    if array is None:
        return None
    array, remarks = as_labels(array, str(path))
    axes = {3: "YX", 4: None, 5: "TZYX"}.get(array.ndim)
    if array.ndim not in (3, 4, 5):
        raise DataError(f"{path} has {array.ndim - 1} dimensions and channels; dsd reads images, stacks and volumes")
    return Raster(array, axes, remarks=remarks)


def as_species(
    images: Sequence[LabelledImage], names: Sequence[str], levels: int | None, largest: int | None
) -> tuple[list[LabelledImage], tuple[Species, ...]]:
    """Images of records as counts of species.

    Args:
        names: of the species; by default intensity, or channel1, channel2, ...
        levels: make whole numbers from 0 to levels - 1 of values from 0 to ``largest``.
        largest: the cap; by default the largest value of each channel.

    Raises:
        UsageError: ``levels`` or ``largest`` that mean nothing, or values above ``largest``.
        DataError: negative values, several numbers of channels, or nothing but zeros.
    """
    number = {len(image.array.dtype.names or ()) for image in images}
    if len(number) > 1 or max(number) > MAX_SPECIES:
        raise DataError(f"the images have {', '.join(map(str, sorted(number)))} channels; they must have as many")
    count = number.pop()
    names = tuple(names) or (("intensity",) if count == 1 else tuple(f"channel{n + 1}" for n in range(count)))
    if len(set(names)) < count or not all(name and not set(name) & set("=, \t\n") for name in names):
        raise UsageError(f"`channels`: {', '.join(names)} are not distinct names without '=', commas and spaces")
    arrays = [channels(image.array) for image in images]
    low = min(int(array.min()) for array in arrays)
    if low < 0:
        raise DataError(f"the intensities go down to {low}; counts of particles are not negative: add an offset first")
    peaks = np.max([array.reshape(-1, count).max(0) for array in arrays], 0).astype(np.int64)
    if not peaks.all():
        raise DataError(f"the channel '{names[int(peaks.argmin())]}' is 0 everywhere; leave it out")
    if largest is not None:
        if not 1 <= largest <= LARGEST_CAP:
            raise UsageError(f"`largest={largest}`: it must lie between 1 and {LARGEST_CAP}")
        if peaks.max() > largest:
            raise UsageError(f"`largest={largest}`: the intensities go up to {peaks.max()}; give that or more")
    caps = peaks if largest is None else np.full(count, largest)
    if levels is not None:
        if not 2 <= levels <= caps.min() + 1:
            raise UsageError(f"`levels={levels}`: values from 0 to {caps.min()} have 2 to {caps.min() + 1} levels")
        arrays = [(array.astype(np.int64) * (levels - 1) * 2 + caps) // (2 * caps) for array in arrays]
        caps = np.full(count, levels - 1)
    source = [array.dtype for array in arrays if array.dtype in (np.uint8, np.uint16)]
    least = np.min_scalar_type(int(caps.max()))
    dtype = max([least, *(source if levels is None else [])], key=lambda each: each.itemsize)
    species = tuple(Species(name, int(cap), np.dtype(dtype).name) for name, cap in zip(names, caps, strict=True))
    found = [replace(image, array=records(a.astype(dtype))) for image, a in zip(images, arrays, strict=True)]
    return found, species


def add_up(
    images: Sequence[LabelledImage], species: Sequence[Species], factor: int
) -> tuple[list[LabelledImage], tuple[Species, ...]]:
    """Blocks of ``factor`` voxels along each axis as one that holds the particles of all of them; what lies beyond the
    last whole block is left out.

    Raises:
        UsageError: no block fits, or one holds more than `LARGEST_CAP`.
    """
    if factor == 1:
        return list(images), tuple(species)
    caps = [each.cap * factor ** len(images[0].own_axes) for each in species]
    if max(caps) > LARGEST_CAP:
        raise UsageError(f"`downsample={factor}` makes counts up to {max(caps)}; use a smaller one or fewer `levels`")
    dtype = max(np.min_scalar_type(max(caps)), np.dtype(species[0].dtype), key=lambda each: each.itemsize)
    coarse = []
    for image in images:
        array = channels(image.array)
        if min(array.shape[axis] for axis in image.own_axes) < factor:
            raise UsageError(f"`downsample={factor}` leaves nothing of an image; use a smaller factor")
        for axis in image.own_axes:
            whole = array.shape[axis] // factor
            array = array.take(range(whole * factor), axis)
            array = array.reshape(*array.shape[:axis], whole, factor, *array.shape[axis + 1 :]).sum(axis + 1, np.int64)
        coarse.append(replace(image, array=records(array.astype(dtype))))
    changed = (replace(each, cap=cap, dtype=np.dtype(dtype).name) for each, cap in zip(species, caps, strict=True))
    return coarse, tuple(changed)
