"""A scan to in-paint: one segmented image in the phases of a model, and the mask of what to fill."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dsdcli.data.formats import Raster, read_image, split_inner
from dsdcli.data.ignored import doubt_mask
from dsdcli.data.phases import Phase, count_labels, in_words, relabel, to_indices
from dsdcli.data.voxel import differ, doubt_name, sides
from dsdcli.errors import DataError, UsageError

AXES = "zyx"
Labels = np.ndarray  # of integers (*L), as in the user's files


@dataclass(frozen=True, eq=False)
class Scan:
    """One segmented image.

    Attributes:
        image: phase indices uint8 (*L), in the order of the model's phases; 0 where unknown.
        unknown: bool (*L), True where the image has the label of unknown voxels.
        phases: names as in the model, labels as in the file.
        voxel_size, voxel_unit: physical side of a voxel, None when unknown.
        notes: what a user should know of how it was read.
    """

    image: np.ndarray
    unknown: np.ndarray
    phases: tuple[Phase, ...]
    voxel_size: float | None
    voxel_unit: str | None
    notes: tuple[str, ...] = ()


def read_scan(
    source: Labels | str | Path,
    phases: Sequence[Phase],
    ndim: int,
    named: Sequence[tuple[str, int]] = (),
    plane: tuple[int, int] | None = None,
    unknown: int | None = None,
) -> Scan:
    """Read the image that ``source`` is or names.

    Args:
        source: array, image file, ``file.h5:/path``.
        phases: those of the model, with the labels to expect.
        ndim: dimension of the model.
        named: (name, label) pairs that replace the labels to expect.
        plane: (axis, position) of the plane of a volume to take.
        unknown: label of voxels that are not known.

    Raises:
        UsageError: options that do not fit the image or the model.
        DataError: unreadable, of another dimension, or with labels that belong to no phase.
    """
    raster, source = _read(source)
    array = _plane(raster.array, source, ndim, plane)
    own = relabel(phases, named)
    labels, known = {phase.label: index for index, phase in enumerate(own)}, in_words(own)
    if unknown in labels:
        raise UsageError(f"`unknown={unknown}` is the label of a phase ({known}); it must be one of no phase")
    found = count_labels(array)
    strange = [str(value) for value in found if value not in labels and value != unknown]
    if strange:
        more = ", ..." if len(strange) > 8 else ""
        raise DataError(
            f"{source} has the labels {', '.join(strange[:8])}{more}, which belong to no phase of the model ({known}); "
            "name the labels by `phases={'NAME': LABEL}`, or the voxels to fill by `unknown=LABEL`"
        )
    if unknown is not None and unknown not in found:
        raise UsageError(f"`unknown={unknown}`: no voxel of {source} has this label")
    table = labels | ({unknown: 0} if unknown is not None else {})
    voxel = raster.voxel
    doubtful = doubt_name(split_inner(source)[0].name) if voxel is None or voxel.source == "file name" else None
    return Scan(
        to_indices(array, table),
        array == unknown if unknown is not None else np.zeros(array.shape, bool),
        own,
        voxel.value if voxel else None,
        voxel.unit if voxel else None,
        raster.remarks + ((doubtful,) if doubtful else ()),
    )


def read_mask(
    source: np.ndarray | str | Path, shape: tuple[int, ...], plane: tuple[int, int] | None
) -> tuple[np.ndarray, list[str]]:
    """Voxels that are not zero in an image, bool (*L), and what a user should know of it.

    Of a volume the same plane is taken as of the scan.

    Raises:
        UsageError: there is no such file.
        DataError: unreadable, or of another shape than the scan.
    """
    raster, source = _read(source)
    array = raster.array
    if plane is not None and array.ndim > len(shape):
        array = _plane(array, source, len(shape), plane)
    if array.shape != shape:
        raise DataError(f"the mask {source} is {sides(array.shape)}, the image {sides(shape)}; they must be equal")
    return array != 0, doubt_mask(replace(raster, array=array), source)


def doubt_scale(scan: Scan, voxel_size: float | None, voxel_unit: str | None) -> list[str]:
    """A warning where the voxels of a scan are of another size than those that a model was trained on."""
    if not differ(scan.voxel_size, scan.voxel_unit, voxel_size, voxel_unit):
        return []
    return [
        f"the voxels of the image are {scan.voxel_size:g} {scan.voxel_unit}, those that the model was trained on "
        f"{voxel_size:g} {voxel_unit}: the fillings have the structure of as many voxels, so of another scale; "
        "resample the image, or train a model on images like it"
    ]


def box_mask(ranges: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> np.ndarray:
    """A box of [low, high) along each axis, bool (*L).

    Raises:
        UsageError: another number of axes than the image, or not inside it.
    """
    if len(ranges) != len(shape) or any(not 0 <= a < b <= n for (a, b), n in zip(ranges, shape, strict=False)):
        text = ",".join(f"{a}:{b}" for a, b in ranges)
        raise UsageError(f"`boxes={text}` does not lie in the image of {sides(shape)}; write LOW:HIGH for each axis")
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in ranges)] = True
    return mask


def disk_mask(numbers: Sequence[float], shape: tuple[int, ...]) -> np.ndarray:
    """Voxels no farther than the radius, the last number, from a centre: bool (*L), a ball in 3D.

    Raises:
        UsageError: another number of axes than the image, or a centre outside it.
    """
    *centre, radius = numbers
    if len(centre) != len(shape) or any(not 0 <= c < n for c, n in zip(centre, shape, strict=False)) or radius < 0:
        text = ",".join(f"{n:g}" for n in numbers)
        raise UsageError(f"`disks={text}` does not fit the image of {sides(shape)}; write the centre, then the radius")
    grids = np.ogrid[tuple(slice(n) for n in shape)]
    return np.asarray(sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) <= radius**2)


def parse_plane(text: str | int) -> tuple[int, int]:
    """``120`` or ``z:120`` -> (0, 120), ``y:5`` -> (1, 5), ``x:7`` -> (2, 7).

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"\s*(?:([zyx]):)?(\d+)\s*", str(text).lower())
    if not match:
        raise UsageError(f"cannot read `plane={text!r}`; write the number of the plane, like 120, or y:120 across y")
    return AXES.index(match[1] or "z"), int(match[2])


def _read(source: np.ndarray | str | Path) -> tuple[Raster, str]:
    """The image, and what to call it."""
    if isinstance(source, np.ndarray):
        return Raster(source, None), "the array"
    return read_image(str(source)), str(source)


def _plane(array: np.ndarray, source: str, ndim: int, plane: tuple[int, int] | None) -> np.ndarray:
    if plane is None:
        if array.ndim == ndim + 1 and len(array) == 1:
            return array[0]
        if array.ndim != ndim:
            hint = "; choose a plane by `plane=N`" if array.ndim == 3 and ndim == 2 else ""
            raise DataError(f"{source} is {sides(array.shape)}, and the model fills {ndim}D images{hint}")
        return array
    axis, position = plane
    if array.ndim != 3 or ndim != 2:
        raise UsageError(f"`plane` takes a plane of a volume for a 2D model, but {source} is {sides(array.shape)}")
    if not 0 <= position < array.shape[axis]:
        raise UsageError(
            f"`plane={AXES[axis]}:{position}`: {source} has {array.shape[axis]} planes across {AXES[axis]}"
        )
    return np.take(array, position, axis)
