"""MetaImage: a text header (.mhd) beside its voxels, or before them in one file (.mha)."""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.raster import Raster, cubic, plain_raster
from dsdcli.data.voxel import sides, unit_name
from dsdcli.errors import DataError
from dsdcli.files import parse_json

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i8",
    "MET_ULONG": "u8",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
OURS = "dsd"  # the key under which `write_samples` leaves what the file is about
_MOST_HEADER = 2**24  # bytes, since ours hold the audit record's name and the phases


def is_metaimage(head: bytes, path: Path) -> bool:
    """Whether a file that begins with ``head`` is a MetaImage header: some begin with a comment or another key."""
    return path.suffix.lower() in (".mhd", ".mha") or re.match(rb"\s*(ObjectType|NDims) *= *\w", head) is not None


def read_metaimage(path: Path) -> Raster:
    """Read a MetaImage of labels; axes (x fastest) become (Z, Y, X), of four (T, Z, Y, X).

    Raises:
        DataError: damaged, of several channels, or with voxels outside the folder of the header.
    """
    name = str(path)
    header, end = _header(path)
    try:
        shape = tuple(int(word) for word in reversed(header["dimsize"].split()))
        kind = TYPES[header["elementtype"].upper()]
        data = header["elementdatafile"]
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} is no MetaImage that can be read here: {error} is missing or unknown") from error
    if int(header.get("elementnumberofchannels", 1)) != 1:
        raise DataError(f"{path} has several channels; save the one with the labels alone")
    big = any(_true(header.get(key)) for key in ("elementbyteordermsb", "binarydatabyteordermsb"))
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    files = [path] if data.upper() == "LOCAL" else [_beside(path, word) for word in _names(path, data, end, shape)]
    packed = _true(header.get("compresseddata")) or files[0].suffix == ".gz"
    stored = sum(file.stat().st_size for file in files)
    check_claim(shape, dtype.itemsize, name, stored if packed else stored * 8)
    skip = end if files[0] == path else int(header.get("headersize", 0))
    parts = [_voxels(file, skip, math.prod(shape) * dtype.itemsize // len(files), packed, header) for file in files]
    content = b"".join(parts) if len(parts) > 1 else parts[0]
    if header.get("binarydata", "true").lower() == "false":
        array = np.array(content.split(), dtype)
    else:
        array = np.frombuffer(content, dtype)
    if array.size != math.prod(shape):
        raise DataError(f"{path} claims {sides(shape)} voxels, but there are {array.size}: damaged or cut short")
    spacing = [float(word) for word in header.get("elementspacing", header.get("elementsize", "")).split()]
    spacing = (spacing + [0.0] * 3)[:3]
    size = cubic(spacing, unit_name(header.get("distanceunits", "")), "MetaImage spacing", name)
    about = parse_json(header[OURS]) if OURS in header else None
    array = array.reshape(about["shape"] if about else shape)
    files = [path, *(file for file in files if file != path)]
    axes = {3: "TYX", 4: "TZYX"}[array.ndim] if about else None
    return plain_raster(array, name, axes, size, about=about, files=tuple(files) if len(files) > 1 else ())


def about_metaimage(path: Path) -> dict[str, Any] | None:
    """What `write_samples` left in the header; None if there is none, or it comes from elsewhere."""
    try:
        about = parse_json(_header(path)[0][OURS])
    except (OSError, DataError, ValueError, KeyError):
        return None
    return about if isinstance(about, dict) and "phases" in about else None


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Keys in lower case, and where the header ends: ``ElementDataFile`` is its last line."""
    with path.open("rb") as file:
        content = file.read(_MOST_HEADER)
    last = re.search(rb"^\s*ElementDataFile *=[^\n]*(\n|$)", content, re.MULTILINE | re.IGNORECASE)
    if last is None:
        raise DataError(f"{path} is no MetaImage that can be read here: it names no ElementDataFile")
    lines = (line.partition("=") for line in content[: last.end()].decode(errors="replace").splitlines())
    return {key.strip().lower(): value.strip() for key, equals, value in lines if equals}, last.end()


def _true(text: str | None) -> bool:
    return (text or "").lower() in ("true", "1", "t")


def _names(path: Path, data: str, end: int, shape: tuple[int, ...]) -> list[str]:
    """The files of voxels: one, a list in the header, or a pattern with a range of slices."""
    words = data.split()
    if words and words[0].upper() == "LIST":
        with path.open("rb") as file:
            file.seek(end)
            return file.read(_MOST_HEADER).decode(errors="replace").split()
    if "%" in data and len(words) in (3, 4) and re.fullmatch(r"[^%]*%0?\d?d[^%]*", words[0]):
        first, last, step = int(words[1]), int(words[2]), int(words[3]) if len(words) == 4 else 1
        if step < 1 or (last - first) // step + 1 != shape[0]:
            raise DataError(f"{path} names another number of slices than its {shape[0]}")
        return [words[0] % number for number in range(first, last + 1, step)]
    return [data]


def _beside(path: Path, name: str) -> Path:
    whole = path.parent / name
    if whole.resolve().parent != path.parent.resolve():
        raise DataError(f"{path} takes its voxels from {name}, outside its folder, which is not followed")
    if not whole.is_file():
        raise DataError(f"{path} takes its voxels from {name}, which is not there; put it beside {path.name}")
    return whole


def _voxels(file: Path, skip: int, wanted: int, packed: bool, header: dict[str, str]) -> bytes:
    """The bytes of the voxels; a header size of -1 means that they end the file."""
    plain = header.get("binarydata", "true").lower() != "false"
    with file.open("rb") as stream:
        if skip < 0:
            skip = max(0, file.stat().st_size - wanted)
        stream.seek(skip)
        if not packed:
            return stream.read(wanted if plain else -1)
        if file.suffix == ".gz":
            stream.seek(0)
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return unpacked.read(wanted + 1)
        return zlib.decompressobj().decompress(stream.read(), wanted + 1)
