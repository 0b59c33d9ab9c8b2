"""Reading foreign image files as arrays of labels."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from dsdcli.data.voxel import VoxelSize, from_name
from dsdcli.errors import DataError


@dataclass(frozen=True)
class Source:
    """Labels (integer, 2D or 3D) as found in the file ``name``; ``axes`` are "YX", "TYX" or "ZYX"."""

    name: str
    array: np.ndarray
    axes: str
    voxel: VoxelSize | None
    sha256: str
    remarks: tuple[str, ...] = ()


def read_source(text: str) -> Source:
    """Read the image file that ``text`` names.

    Raises:
        DataError: it does not exist or cannot be read.
    """
    path = Path(text)
    if not path.exists():
        raise DataError(f"there is no file {path}")
    try:
        with tifffile.TiffFile(path) as tif:
            array = tif.series[0].asarray()
    except Exception as error:
        raise DataError(f"cannot read {path} as a TIFF image ({error})") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    axes = {2: "YX", 3: "ZYX"}[array.ndim]
    return Source(text, array, axes, from_name(path.name), digest)
