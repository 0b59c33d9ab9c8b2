"""What every reader of a foreign format returns."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.labels import as_labels, without_idle_axes
from dsdcli.data.voxel import SAME, VoxelSize
from dsdcli.errors import DataError

AXES_OF = {2: "YX", 3: None, 4: "TZYX"}  # of an array that says nothing of its axes


@dataclass(frozen=True, eq=False)
class Raster:
    """Integer labels as stored in a file.

    ``axes`` is "YX", "TYX" (independent 2D images), "ZYX" (a volume), "TZYX" (several volumes), or None for a 3D array
    of which the file does not say what its first axis is. ``voxel`` is the size within a slice, ``depth`` the distance
    of slices in the same unit where the file gives another one. ``about`` is what `write_samples` left in the file.
    ``files`` are all files that the voxels came from, where they are several.
    """

    array: np.ndarray
    axes: str | None
    voxel: VoxelSize | None = None
    depth: float | None = None
    about: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def plain_raster(
    array: np.ndarray,
    name: str,
    axes: str | None = None,
    size: tuple[VoxelSize | None, float | None, tuple[str, ...]] = (None, None, ()),
    **more: Any,
) -> Raster:
    """The labels of ``array``; ``axes`` count if they fit what is left of it without idle axes.

    Args:
        array: (*L) of any numeric type.
        name: of the file, for messages.
        axes: letters as in `Raster`, for ``array`` as it comes.
        size: as `cubic` returns it.
        more: further fields of `Raster`; its remarks come first.

    Raises:
        DataError: no image, stack or volume of labels.
    """
    array = without_idle_axes(array)
    if array.ndim not in AXES_OF:
        raise DataError(f"{name} has {array.ndim} dimensions; dsd reads images, stacks and volumes")
    if axes is None or len(axes) != array.ndim:
        axes = AXES_OF[array.ndim]
    array, remarks = as_labels(array, name)
    voxel, depth, about_size = size
    return Raster(array, axes, voxel, depth, remarks=(*more.pop("remarks", ()), *about_size, *remarks), **more)


def cubic(
    spacing: Iterable[float], unit: str | None, source: str, name: str
) -> tuple[VoxelSize | None, float | None, tuple[str, ...]]:
    """Voxel size, distance of slices where it differs, and remarks, from the spacings along x, y, z (0: not said).

    Spacings without a unit are reported and not kept, since a wrong unit makes every length wrong by a thousand.
    """
    steps = map(abs, spacing)
    across, down, depth = (value if math.isfinite(value) and value > 0 else 0.0 for value in steps)
    if not across:
        return None, None, ()
    if unit is None:
        if across == 1:
            return None, None, ()
        return None, None, (
            f"{name} gives voxels of {across:g} without a unit, so no voxel size is kept; give it as "
            f"`voxel_size='{across:g}um'` (or mm, nm)",
        )  # fmt: skip
    if down and abs(across - down) > SAME * across:
        return None, None, (f"{name} has pixels of {across:g} x {down:g} {unit}: not square, so no voxel size is kept",)
    differs = depth and abs(across - depth) > SAME * across
    return VoxelSize(across, unit, source), depth if differs else None, ()
