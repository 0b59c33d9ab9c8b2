"""What every reader of a foreign format returns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dsdcli.data.voxel import VoxelSize


@dataclass(frozen=True, eq=False)
class Raster:
    """Integer labels as stored in a file.

    ``axes`` is "YX", "TYX" (independent 2D images), "ZYX" (a volume), "TZYX" (several volumes), or None for a 3D array
    of which the file does not say what its first axis is. ``voxel`` is the size within a slice, ``depth`` the distance
    of slices in the same unit where the file gives another one. ``about`` is what `write_samples` left in the file.
    """

    array: np.ndarray
    axes: str | None
    voxel: VoxelSize | None = None
    depth: float | None = None
    about: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()
