"""NumPy files, bare voxels (raw) and the pictures of everyday (PNG, BMP, GIF)."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.labels import as_labels, grey_of_colours, without_idle_axes
from dsdcli.data.formats.raster import Raster
from dsdcli.errors import DataError, DsdError, UsageError

_AXES_OF = {2: "YX", 3: None, 4: "TZYX"}
_SHAPE_IN_NAME = re.compile(r"(?<!\d)(\d+)x(\d+)(?:x(\d+))?(?!\d)", re.IGNORECASE)
_TYPES: dict[str, Any] = {
    "bool": np.uint8,
    "uint8": np.uint8,
    "u8": np.uint8,
    "8bit": np.uint8,
    "int8": np.int8,
    "uint16": np.uint16,
    "u16": np.uint16,
    "16bit": np.uint16,
    "int16": np.int16,
    "uint32": np.uint32,
    "int32": np.int32,
    "float32": np.float32,
}


def read_numpy(path: Path, inner: str | None) -> Raster:
    """Read a ``.npy`` file, or the array ``inner`` (or the only one that fits) of a ``.npz`` file.

    Raises:
        UsageError: ``inner`` of a file without parts.
        DataError: damaged, or several arrays to choose from (lists them).
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if inner is not None:
                raise UsageError(f"{path} holds one array only; leave out ':{inner}'")
            return _raster(loaded, str(path))
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files if inner in (None, name)}
            names = loaded.files
    except DsdError:  # a usage error is a ValueError too
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: damaged, or holding objects instead of numbers ({error})") from error
    fits = {name: array for name, array in arrays.items() if without_idle_axes(array).ndim in _AXES_OF}
    if len(fits) != 1:
        raise DataError(
            f"{path} holds {len(fits)} arrays that fit; say which one as {path}:NAME; found: {', '.join(names)}"
        )
    name, array = next(iter(fits.items()))
    return _raster(array, f"{path}:{name}")


def read_picture(path: Path) -> Raster:
    """Read a PNG, BMP or GIF picture; of a palette picture the indices are the labels.

    Raises:
        DataError: damaged, coloured, or of a lossy format.
    """
    from PIL import Image as Pictures
    from PIL import UnidentifiedImageError

    try:
        with Pictures.open(path) as picture:
            kind, software, coded = picture.format, picture.info.get("Software"), picture.mode == "P"
            array = np.asarray(picture)
    except UnidentifiedImageError as error:
        raise DataError(
            f"cannot tell what {path} is; dsd reads TIFF, HDF5, npy, npz, PNG, BMP, folders of slices, and raw voxels "
            "(with `shape=(Z, Y, X)` and `dtype`)"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"cannot read {path}: damaged picture ({error})") from error
    if software == "dsd contact sheet":
        raise DataError(f"{path} is a contact sheet, made for the eye; use the samples file (.tif, .h5) instead")
    if kind in ("JPEG", "WEBP"):
        raise DataError(f"{path} is a {kind} picture: lossy compression changes labels; save it as PNG or TIFF")
    remarks: tuple[str, ...] = ()
    if coded:
        remarks = (f"{path} has a palette of colours; labels are the stored numbers, whatever colours a viewer shows",)
    if array.ndim == 3:
        array, remarks = grey_of_colours(array, str(path))
    raster = _raster(array, str(path))
    return Raster(raster.array, raster.axes, remarks=remarks + raster.remarks)


def read_raw(path: Path, shape: tuple[int, ...] | None, dtype: str | None) -> Raster:
    """Read bare voxels, little-endian.

    Args:
        path: the file; without ``shape`` its name gives the size, as in ``rock_300x200x100_2p25um.raw``: x first, as
            such names have it (x varies fastest in the file).
        shape: (Z, Y, X) or (Y, X).
        dtype: name of the type; by default from the file name or the size of the file.

    Raises:
        UsageError: unknown type.
        DataError: no shape, or a size that contradicts it.
    """
    remarks: tuple[str, ...] = ()
    if shape is None:
        match = _SHAPE_IN_NAME.search(path.stem)
        if not match:
            raise DataError(f"{path} has no shape in its name (like rock_300x300x300.raw); give `shape=(Z, Y, X)`")
        shape = tuple(int(side) for side in reversed(match.groups()) if side)
        if len(set(shape)) > 1:
            remarks = (
                f"{path.name}: the name is read as x first, so as {'x'.join(map(str, shape))} (ZxYxX); "
                "`shape=(Z, Y, X)` says otherwise",
            )
    named = dtype or next(
        (name for name in _TYPES if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", path.stem.lower())), None
    )
    if named is not None and named not in _TYPES:
        raise UsageError(f"unknown `dtype={named}`; known: {', '.join(_TYPES)}")
    voxels = int(np.prod(shape, dtype=np.int64))
    size = path.stat().st_size
    if named is None and voxels and size in (voxels, 2 * voxels):
        named = "uint8" if size == voxels else "uint16"
    itemsize = np.dtype(_TYPES[named]).itemsize if named else 1
    if named is None or size != voxels * itemsize or not voxels:
        raise DataError(
            f"{path} has {size} bytes, but {'x'.join(map(str, shape))} voxels of {named or 'uint8 or uint16'} need "
            f"{voxels * itemsize}{'' if named else f' or {2 * voxels}'}; give the right `shape=(Z, Y, X)` and `dtype`"
        )
    array = np.fromfile(path, np.dtype(_TYPES[named]).newbyteorder("<")).reshape(shape)
    raster = _raster(array, str(path))
    return Raster(raster.array, raster.axes, remarks=remarks + raster.remarks)


def _type_in_name(stem: str) -> str | None:
    words = re.split(r"[^a-z0-9]+", stem)
    return next((word for word in words if word in _TYPES), None)


def _raster(array: np.ndarray, name: str) -> Raster:
    array = without_idle_axes(array)
    if array.ndim not in _AXES_OF:
        raise DataError(f"{name} has {array.ndim} dimensions; dsd reads images, stacks and volumes")
    array, remarks = as_labels(array, name)
    return Raster(array, _AXES_OF[array.ndim], remarks=remarks)
