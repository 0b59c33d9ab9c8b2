"""Amira and Avizo meshes (.am): the lattice of labels of a uniform grid."""

import math
import re
import zlib
from pathlib import Path

import numpy as np

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.raster import Raster, cubic, plain_raster
from dsdcli.data.voxel import sides, unit_name
from dsdcli.errors import DataError, UsageError

HEADS = (b"# AmiraMesh", b"# Avizo")
_TYPES = {
    "byte": "u1",
    "sbyte": "i1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "int32": "i4",
    "float": "f4",
    "double": "f8",
}
_MOST_HEADER = 2**24
_LATTICE = re.compile(
    r"^\s*Lattice\s*\{\s*(\w+)(\[\d+\])?\s+([\w.\-]+)\s*\}\s*=?\s*@(\d+)(?:\((\w+),\s*(\d+)\))?", re.MULTILINE
)


def read_amira(path: Path, inner: str | None) -> Raster:
    """Read the lattice ``inner``, or the only one, or else the one called Labels.

    Raises:
        UsageError: no such lattice.
        DataError: no uniform lattice of numbers, several to choose from, or damaged.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_HEADER)
    mark = re.search(rb"^@1[ \t]*\r?\n", content, re.MULTILINE)
    header = content[: mark.start() if mark else 0].decode("latin-1")
    order = ">" if re.match(r"# \w+ BINARY(?!-LITTLE)", header) else "<"
    text = re.match(r"# \w+ (3D )?ASCII", header) is not None
    name, kind, tag, packing, length, shape = _choose(path, header, inner)
    dtype = np.dtype(order + _TYPES[kind])
    stored = path.stat().st_size
    check_claim(shape, dtype.itemsize, str(path), stored if packing else stored * 8)
    voxels = math.prod(shape)
    data = _section(path, tag, length, voxels * dtype.itemsize, text)
    if text:
        array = np.array(data.split()[:voxels], float).astype(dtype)
    else:
        array = np.frombuffer(_unpacked(data, packing, voxels * dtype.itemsize, path), dtype)
    if array.size != voxels:
        raise DataError(f"{path} claims {sides(shape)} voxels, but there are {array.size}: damaged or cut short")
    return plain_raster(array.reshape(shape), f"{path}:{name}", size=_size(header, shape, str(path)))


def _choose(path: Path, header: str, inner: str | None) -> tuple[str, str, int, str | None, int, tuple[int, ...]]:
    """Name, type, number of the section, packing, packed bytes, and shape (Z, Y, X) of the lattice to read."""
    grid = re.search(r"^\s*define\s+Lattice\s+(\d+)\s+(\d+)(?:\s+(\d+))?", header, re.MULTILINE)
    found = [match for match in _LATTICE.finditer(header) if match[1] in _TYPES and match[2] in (None, "[1]")]
    if grid is None or not found:
        raise DataError(f"{path} is an Amira file without a lattice of numbers; export the label field as .am or TIFF")
    if re.search(r'CoordType\s+"(?!uniform)', header):
        raise DataError(f"{path} has a grid that is not uniform; resample it to cubic voxels first")
    names = [match[3] for match in found]
    if inner is not None and inner not in names:
        raise UsageError(f"{path} has no lattice {inner}; it holds {', '.join(names)}")
    fits = [match for match in found if match[3] == inner] if inner else found
    fits = fits if len(fits) == 1 else [match for match in fits if match[3].lower() == "labels"]
    if len(fits) != 1:
        raise DataError(f"{path} holds several lattices; say which one as {path}:NAME; found: {', '.join(names)}")
    kind, _, name, tag, packing, length = fits[0].groups()
    shape = tuple(int(side) for side in reversed(grid.groups()) if side)
    return name, kind, int(tag), packing, int(length or 0), shape


def _section(path: Path, tag: int, length: int, plain: int, text: bool) -> bytes:
    """The bytes behind the line ``@tag``."""
    whole = path.read_bytes()
    marks = list(re.finditer(rb"(?:^|\n)@%d[ \t]*\r?\n" % tag, whole))
    if not marks:
        raise DataError(f"{path} is damaged: its voxels are missing")
    start = marks[0].end()
    if text:
        stop = whole.find(b"\n@", start)
        return whole[start : stop if stop >= 0 else None]
    return whole[start : start + (length or plain)]


def _unpacked(data: bytes, packing: str | None, wanted: int, path: Path) -> bytes:
    if packing is None:
        return data
    if packing == "HxZip":
        return zlib.decompressobj().decompress(data, wanted + 1)
    if packing == "HxByteRLE":
        return _runs(data, wanted)
    raise DataError(f"{path} is packed as {packing}, which is not known here; export it as plain .am or TIFF")


def _runs(data: bytes, wanted: int) -> bytes:
    """A count below 128 repeats the byte after it; one above stands before so many bytes (less 128) as they are."""
    out = bytearray()
    at = 0
    while at + 1 < len(data) and len(out) < wanted:
        count = data[at]
        if count < 128:
            out += data[at + 1 : at + 2] * count
            at += 2
        else:
            out += data[at + 1 : at + 1 + count - 128]
            at += 1 + count - 128
    return bytes(out)


def _size(header: str, shape: tuple[int, ...], name: str) -> tuple:
    """The bounding box runs between the centres of the outermost voxels."""
    box = re.search(r"BoundingBox((?:\s+[-+\d.eE]+){6})", header)
    if box is None:
        return None, None, ()
    ends = [float(word) for word in box[1].split()]
    spans = [(ends[2 * axis + 1] - ends[2 * axis], side) for axis, side in enumerate(reversed(shape))]
    steps = [span / (side - 1) if side > 1 else 0.0 for span, side in spans] + [0.0]
    unit = re.search(r'Coordinates\s+"([^"]+)"', header)
    return cubic(steps[:3], unit_name(unit[1]) if unit else None, "Amira bounding box", name)
