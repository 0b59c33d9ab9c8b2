"""HDF5, and MATLAB files since 7.3, which are HDF5 with the axes reversed: one dataset, named or the only one."""

from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.apart import ReaderFault, read_apart
from dsdcli.data.formats.raster import Raster, cubic, plain_raster
from dsdcli.data.voxel import VoxelSize, unit_name
from dsdcli.errors import DataError
from dsdcli.files import parse_json

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_AXES = ("YX", "TYX", "ZYX", "TZYX")
_Size = tuple[VoxelSize | None, float | None, tuple[str, ...]]


def is_hdf5(path: Path) -> bool:
    """Whether the signature stands where the format allows it: at 0, 512, 1024, 2048 ... (MATLAB: 512)."""
    size, offset = path.stat().st_size, 0
    with path.open("rb") as file:
        while offset + len(SIGNATURE) <= min(size, 2**20):
            file.seek(offset)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            offset = max(512, 2 * offset)
    return False


def read_hdf5(path: Path, inner: str | None) -> Raster:
    """Read the dataset ``inner`` of an HDF5 file; None takes the only one that could be an image.

    Raises:
        UsageError: no such dataset.
        DataError: damaged file, several to choose from (lists them), or voxels outside the file's folder.
    """
    array, found = _apart("hdf5", path, inner)
    name = f"{path}:{found['name']}"
    stored = found["stored"]
    if "MATLAB_class" in stored:
        array = np.swapaxes(array, -1, -2)  # rows were the last axis
    axes = stored.get("axes")
    voxel, depth, remarks = _size(stored, name)
    if voxel is None and not remarks:
        voxel, depth, remarks = _size(found["file"], name)
    return plain_raster(
        array,
        name,
        axes if axes in _AXES else None,
        (voxel, depth, remarks),
        about=_left(found, array.shape),
        remarks=tuple(found["remarks"]),
    )


def about_hdf5(path: Path) -> dict[str, Any]:
    """What an HDF5 file says it is: ``format`` (text or None) and ``samples`` (whether `write_samples` made it).

    Raises:
        DataError: damaged, or no HDF5 file.
    """
    if not path.is_file() or not is_hdf5(path):
        raise DataError(f"{path} is no HDF5 file")
    return _apart("hdf5-about", path, None)[1]


def _apart(kind: str, path: Path, inner: str | None) -> tuple[Any, dict[str, Any]]:
    try:
        return read_apart(kind, path, inner)
    except ReaderFault as error:
        raise DataError(f"cannot read {path}: damaged HDF5 file, or a compression unknown here ({error})") from error


def _left(found: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any] | None:
    """What `write_samples` left in the file."""
    stored = found["stored"]
    if "phases" not in stored:
        return None
    about = {"phases": parse_json(stored["phases"]), "shape": shape}
    about |= {key: stored[key] for key in ("voxel_size", "voxel_unit") if key in stored}
    return about | ({"extra": parse_json(found["extra"])} if found["extra"] else {})


def _size(attrs: dict[str, Any], name: str) -> _Size:
    """From ``voxel_size`` + ``voxel_unit``, or ``element_size_um`` (z, y, x) as Fiji writes it."""
    for key, unit in (("voxel_size", attrs.get("voxel_unit")), ("element_size_um", "um")):
        sizes = _numbers(attrs.get(key))
        if sizes and (known := unit_name(str(unit))):
            depth, down, across = ([0.0] * 3 + sizes)[-3:] if len(sizes) > 1 else [sizes[0]] * 3
            return cubic((across, down, depth), known, f"HDF5 attribute {key}", name)
    return None, None, ()


def _numbers(value: Any) -> list[float]:
    try:
        return [float(number) for number in (value if isinstance(value, list) else [value])]
    except (TypeError, ValueError):
        return []
