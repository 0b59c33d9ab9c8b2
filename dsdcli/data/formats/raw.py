"""Bare voxels: raw files, and text of numbers."""

import math
import re
import warnings
from pathlib import Path
from typing import Literal

import numpy as np

from dsdcli.data.formats.limits import check_claim, in_words
from dsdcli.data.formats.raster import Raster, plain_raster
from dsdcli.data.large import in_file, is_large
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, UsageError

ENDINGS = (".raw", ".dat", ".bin", ".vol", ".img", "")  # of files that often hold bare voxels
ENDIANS: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
_SHAPE_IN_NAME = re.compile(r"(?<!\d)(\d{1,9})x(\d{1,9})(?:x(\d{1,9}))?(?!\d)", re.IGNORECASE | re.ASCII)
_TYPES: dict[str, type[np.number]] = {
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
    "uint64": np.uint64,
    "int64": np.int64,
    "float32": np.float32,
    "float64": np.float64,
    "float": np.float32,
    "double": np.float64,
}
_TEXT = frozenset(b"0123456789 \t\r\n,;.+-eE")
_SPACES = bytes.maketrans(b",;", b"  ")
_HEAD = 4096  # bytes that tell text from voxels


def shape_in_name(path: Path) -> tuple[int, ...] | None:
    """(Z, Y, X) or (Y, X) from a name such as ``rock_300x200x100.raw``, which has x first; None without."""
    match = _SHAPE_IN_NAME.search(path.stem if path.suffix.lower() in ENDINGS else path.name)
    return tuple(int(side) for side in reversed(match.groups()) if side) if match else None


def looks_like_text(path: Path) -> bool:
    """Whether the file begins with digits and what stands between numbers, and nothing else."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return bool(head) and set(head) <= _TEXT and any(byte in b"0123456789" for byte in head)


def read_raw(
    path: Path, shape: tuple[int, ...] | None, dtype: str | None, offset: int = 0, endian: str = "little"
) -> Raster:
    """Read bare voxels.

    Args:
        path: the file; without ``shape`` its name gives the size, as in ``rock_300x200x100_2p25um.raw``: x first, as
            such names have it (x varies fastest in the file).
        shape: (Z, Y, X) or (Y, X).
        dtype: name of the type; by default from the file name or the size of the file.
        offset: bytes before the voxels.
        endian: "little" or "big", of types of several bytes.

    Raises:
        UsageError: unknown type or byte order.
        DataError: no shape, or a size that contradicts it.
    """
    if endian not in ENDIANS:
        raise UsageError(f"unknown `endian={endian!r}`; it is little or big")
    if offset < 0:
        raise UsageError(f"`offset={offset}` must be at least 0")
    shape, remarks = _shape(path, shape)
    named = dtype or next(
        (name for name in _TYPES if re.search(rf"(?<![a-z0-9]){name}(?![a-z0-9])", path.stem.lower())), None
    )
    if named is not None and named not in _TYPES:
        raise UsageError(f"unknown `dtype={named}`; known: {', '.join(_TYPES)}")
    voxels, size = math.prod(shape), path.stat().st_size
    left = size - offset
    if dtype is None and not offset and looks_like_text(path) and (size != voxels or path.read_bytes().isdigit()):
        return _numbers(path, shape, remarks)
    if named is None and voxels and left in (voxels, 2 * voxels):
        named = "uint8" if left == voxels else "uint16"
    itemsize = np.dtype(_TYPES[named]).itemsize if named else 1
    if named is None or left != voxels * itemsize or not voxels:
        behind = f" after the first {offset}" if offset else ""
        raise DataError(
            f"{path} has {max(0, left)} bytes{behind}, but {sides(shape)} voxels of {named or 'uint8 or uint16'} need "
            f"{voxels * itemsize}{'' if named else f' or {2 * voxels}'}; give the right `shape=(Z, Y, X)`, `dtype` and "
            "`offset`"
        )
    stored = np.dtype(_TYPES[named]).newbyteorder(ENDIANS[endian])
    if is_large(left) and stored.isnative and offset % itemsize == 0:
        array = in_file(path, shape, stored, offset)
    else:
        check_claim(shape, itemsize, str(path))
        array = np.fromfile(path, stored, offset=offset).reshape(shape)
    return plain_raster(array, str(path), remarks=remarks)


def read_text(path: Path) -> Raster:
    """Read numbers written as text, whose lines are the rows of one image unless the name has a shape.

    Raises:
        DataError: lines of different lengths, or another number of voxels than the name says.
    """
    shape = shape_in_name(path)
    return _numbers(path, *(_shape(path, None) if shape else (None, ())))


def _shape(path: Path, shape: tuple[int, ...] | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    if shape is not None:
        return shape, ()
    shape = shape_in_name(path)
    if shape is None:
        raise DataError(f"{path} has no shape in its name (like rock_300x300x300.raw); give `shape=(Z, Y, X)`")
    if len(set(shape)) == 1:
        return shape, ()
    return shape, (
        f"{path.name}: the name is read as x first, so as {sides(shape)} (ZxYxX); `shape=(Z, Y, X)` says otherwise",
    )


def _numbers(path: Path, shape: tuple[int, ...] | None, remarks: tuple[str, ...]) -> Raster:
    size = path.stat().st_size
    check_claim((size,), 8, f"{path}, as text of {in_words(size)},")
    content = path.read_bytes()
    if not _TEXT.issuperset(content):
        raise DataError(f"{path} begins as text of numbers and goes on as something else; give `dtype` if it is raw")
    values = _parse(content, str(path))
    voxels = math.prod(shape) if shape else values.size
    if shape is None:
        widths = {len(line.split()) for line in content.translate(_SPACES).splitlines()} - {0}
        if len(widths) != 1 or min(widths) < 2:
            raise DataError(
                f"{path} is text of {values.size} numbers, not in lines of one length; give `shape=(Z, Y, X)`"
            )
        shape = (values.size // min(widths), min(widths))
    elif values.size != voxels and len(digits := content.translate(None, b" \t\r\n,;")) == voxels and digits.isdigit():
        values = np.frombuffer(digits, np.uint8) - np.uint8(ord("0"))  # nothing stands between them
    if values.size != voxels:
        raise DataError(
            f"{path} is text of {values.size} numbers, but {sides(shape)} are {voxels} voxels; give the right "
            "`shape=(Z, Y, X)` (or `dtype`, if it is raw)"
        )
    if (values == (whole := values.astype(np.int64))).all():
        values = whole
    remark = f"{path.name} is text: its numbers are the labels"
    return plain_raster(values.reshape(shape), str(path), remarks=(*remarks, remark))


def _parse(content: bytes, name: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # what numpy says of text that is no number
        try:
            return np.fromstring(content.translate(_SPACES), sep=" ")
        except (DeprecationWarning, ValueError) as error:
            raise DataError(f"{name} is text, but not of numbers alone; save labels alone") from error
