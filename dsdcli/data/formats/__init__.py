"""Foreign image files as arrays of labels: one reader per family of formats, chosen by content, not by name."""

import json
import re
from dataclasses import replace
from pathlib import Path

from dsdcli.data.formats.arrays import read_numpy, read_picture, read_raw
from dsdcli.data.formats.hdf5 import read_hdf5
from dsdcli.data.formats.raster import Raster
from dsdcli.data.formats.tiff import read_tiff
from dsdcli.data.voxel import VoxelSize, from_name, unit_name
from dsdcli.errors import DataError, UsageError

__all__ = ["Raster", "natural_order", "read_folder", "read_image", "split_inner"]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HDF5 = (b"\x89HDF\r\n\x1a\n",)
_NUMPY = (b"\x93NUMPY", b"PK\x03\x04")
_IN_FOLDERS = (".tif", ".tiff", ".png", ".bmp", ".npy", ".raw", ".gif", ".jpg", ".jpeg")


def split_inner(text: str) -> tuple[Path, str | None]:
    """Split ``file.h5:/path`` into the file and the path inside it (None without one)."""
    path = Path(text)
    if ":" in text and not path.exists():
        file, _, inner = text.rpartition(":")
        if Path(file).is_file():
            return Path(file), inner
    return path, None


def read_image(text: str, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> Raster:
    """Read the image file that ``text`` names (``file.h5:/path`` for an array inside a file).

    Args:
        text: the file.
        shape: (Z, Y, X) or (Y, X), used for files of bare voxels.
        dtype: their type.

    Raises:
        UsageError: there is no such file, or no such part of it.
        DataError: unreadable, or no labels; one line that says what to do.
    """
    path, inner = split_inner(text)
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    if path.is_dir():
        raise DataError(f"{path} is a folder, not an image")
    raster = _read(path, inner, shape, dtype)
    if raster.voxel is None:
        raster = replace(raster, voxel=_sidecar(path) or from_name(path.name))
    return raster


def _read(path: Path, inner: str | None, shape: tuple[int, ...] | None, dtype: str | None) -> Raster:
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not head:
        raise DataError(f"{path} is an empty file")
    known = head.startswith((*_HDF5, *_NUMPY, *_TIFF))
    if known and (shape or dtype):
        raise UsageError(
            f"`shape` and `dtype` are for raw voxels, but {path} says itself what it holds; leave them out"
        )
    if head.startswith(_HDF5):
        return read_hdf5(path, inner)
    if head.startswith(_NUMPY):
        return read_numpy(path, inner)
    if inner is not None:
        raise UsageError(f"{path} is neither HDF5 nor npz, so it has no part '{inner}'; leave out ':{inner}'")
    if head.startswith(_TIFF):
        return read_tiff(path)
    if shape is not None:
        return read_raw(path, shape, dtype)
    if path.suffix.lower() == ".raw":
        return read_raw(path, shape, dtype)
    return read_picture(path)


def read_folder(folder: Path) -> list[Raster]:
    """Read the images of a folder in natural order (``slice2`` before ``slice10``).

    Raises:
        DataError: none, or of several formats.
    """
    files = [file for file in folder.iterdir() if file.suffix.lower() in _IN_FOLDERS and not file.name.startswith(".")]
    kinds = sorted({file.suffix.lower() for file in files})
    if not files:
        raise DataError(f"the folder {folder} holds no images ({' '.join(_IN_FOLDERS)})")
    if len({kind.replace("tiff", "tif") for kind in kinds}) > 1:
        raise DataError(f"the folder {folder} mixes {' and '.join(kinds)} files; keep one kind in it")
    return [read_image(str(file)) for file in sorted(files, key=natural_order)]


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _sidecar(path: Path) -> VoxelSize | None:
    """``voxel_size`` and ``voxel_unit`` of a JSON file of the same name."""
    beside = path.with_suffix(".json")
    try:
        found = json.loads(beside.read_text())
        value, unit = float(found["voxel_size"]), unit_name(str(found["voxel_unit"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return VoxelSize(value, unit, f"sidecar {beside.name}") if unit and value > 0 else None
