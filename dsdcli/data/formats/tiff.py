"""TIFF: plain, multi-page, ImageJ and OME, in any compression."""

import logging
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from dsdcli.data.formats.apart import read_apart
from dsdcli.data.formats.deadline import Slabs, more_time
from dsdcli.data.formats.labels import as_labels, grey_of_colours
from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.raster import Raster, cubic
from dsdcli.data.large import in_file, is_large, room
from dsdcli.data.voxel import convert, sides, unit_name
from dsdcli.errors import DataError
from dsdcli.files import parse_json

_MOST_COMPLAINTS = 100  # of a file that is not worth going on with
_LZW = tifffile.COMPRESSION.LZW  # its decoder crashes on some damaged blocks
_BOUNDED = {tifffile.COMPRESSION[name] for name in ("NONE", "LZW", "DEFLATE", "ADOBE_DEFLATE", "PACKBITS")}
_MOST_CHANNELS = 4  # a longer "channel" axis is a stack that was never told what it is
_SCREEN_DPI = (72, 75, 90, 96, 100, 120, 150, 180, 200, 240, 300, 400, 600, 720, 1200)


def read_tiff(path: Path) -> Raster:
    """Read a TIFF file.

    Raises:
        DataError: damaged, several images of different sizes, channels, or no labels.
    """
    name = str(path)
    try:
        _check_chain(path)
        with _complaints() as complaints, tifffile.TiffFile(path) as tif:
            series = tif.series
            if len(series) > 1:
                sizes = ", ".join(sides(one.shape) for one in series[:6])
                raise DataError(f"{name} holds {len(series)} images of different kinds ({sizes}); save one per file")
            others = _check(tif, series[0], name)
            letters = series[0].axes
            apart = series[0].dataoffset is None and any(
                page is not None and page.compression == _LZW for page in series[0].pages
            )
            array = read_apart("tiff", path)[0] if apart else _voxels(series[0], path)
            about = left_in_tiff(tif)
            size, unit, source = _sizes(tif)
            voxel, depth, remarks = cubic((size.get(axis, 0.0) for axis in "XYZ"), unit, source, name)
            photometric = tif.pages.first.photometric
    except DataError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # tifffile and its decoders raise nearly every kind
        raise DataError(f"cannot read {name}: damaged or truncated TIFF ({_first_line(error)})") from error
    if complaints:
        raise DataError(f"cannot read {name}: damaged or truncated TIFF ({complaints[0]})")
    assert array is not None  # of this reader
    if photometric == tifffile.PHOTOMETRIC.PALETTE:
        remarks += (f"{name} has a palette of colours; labels are the stored numbers, whatever colours a viewer shows",)
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        remarks += (f"{name} is stored with 0 = white; labels are the stored numbers, whatever a viewer shows",)
    array, axes, more = _image_axes(array, letters, name)
    array, yet_more = as_labels(array, name)
    return Raster(array, axes, voxel, depth, about, remarks + more + yet_more, (path, *others) if others else ())


def _voxels(series: tifffile.TiffPageSeries, path: Path) -> np.ndarray:
    """Where they are many and lie in one piece, as they are in the file; or else what is decoded of them."""
    if not is_large(series.nbytes):
        return series.asarray()
    assert series.parent is not None  # its file is open
    stored = series.dtype.newbyteorder(series.parent.byteorder)
    if series.dataoffset is not None and stored.isnative and series.dataoffset % stored.itemsize == 0:
        return in_file(path, series.shape, stored, series.dataoffset)
    return series.asarray(out=room(series.shape, series.dtype))


def slabs(path: Path, inner: str | None) -> Slabs:
    """The voxels of a file that `read_tiff` has looked at, a page at a time, for `dsdcli.data.formats.reader`."""
    with _complaints() as complaints, tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        yield {"shape": series.shape, "dtype": series.dtype.str}
        for page in (page for page in series.pages if page is not None):
            more_time(page.nbytes)
            yield page.asarray()
            if complaints:
                raise ValueError(complaints[0])


def _check(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str) -> list[Path]:
    """See that what the series claims is there; the other files of a set that it is spread over.

    Raises:
        DataError: a file of the set is missing or lies in another folder, a page or a block is missing, or the memory
            does not suffice.
    """
    folder = Path(name).parent
    others = []
    for other in _other_files(tif, Path(name).name):
        whole = folder / other
        if Path(other).name != other or whole.resolve().parent != folder.resolve():
            raise DataError(f"{name} is one of a set of files; another, {other}, lies outside its folder: not followed")
        if not whole.is_file():
            raise DataError(f"{name} is one of a set of files, of which {other} is missing; put it beside this one")
        others.append(whole)
    pages = [page for page in series.pages if page is not None] if series.dataoffset is None else []
    bounded = all(page.compression in _BOUNDED for page in pages)
    stored = sum(path.stat().st_size for path in (Path(name), *others)) if bounded else None
    check_claim(series.shape, series.dtype.itemsize, name, stored, spills=True)
    if series.dataoffset is not None and series.dataoffset + series.nbytes > tif.filehandle.size:
        raise DataError(f"cannot read {name}: damaged or truncated TIFF, it ends before its last voxel")
    if series.dataoffset is None:
        missing = len(series.pages) - len(pages)
        missing += sum(0 in p.databytecounts or len(p.dataoffsets) < math.prod(p.chunked) for p in pages)
        if missing:
            raise DataError(
                f"{name} lacks the voxels of {missing} of its {len(series.pages)} pages: damaged or cut short"
            )
    return others


def _other_files(tif: tifffile.TiffFile, own: str) -> list[str]:
    """Names of the other files of an OME set, as its description lists them."""
    if not tif.is_ome:
        return []
    root = ElementTree.fromstring(tif.ome_metadata or "").get("UUID")
    named = [node.get("FileName") for node in _ome_nodes(tif, "UUID") if root is None or node.text != root]
    return list(dict.fromkeys(name for name in named if name and name.lower() != own.lower()))


def _check_chain(path: Path) -> None:
    """See that the chain of pages ends: the library follows one that bites its tail for ever.

    Raises:
        ValueError: it does not.
    """
    with path.open("rb") as file:
        order = "<" if file.read(2) == b"II" else ">"
        big = struct.unpack(f"{order}H", file.read(2))[0] == 43
        number, pointer, tag = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}H", f"{order}I", 12)
        file.seek(8 if big else 4)
        seen: set[int] = set()
        while len(at := file.read(struct.calcsize(pointer))) == struct.calcsize(pointer):
            page = struct.unpack(pointer, at)[0]
            if page in seen:
                raise ValueError("its chain of pages has no end")
            seen.add(page)
            file.seek(page)
            tags = file.read(struct.calcsize(number))
            if not page or len(tags) < struct.calcsize(number):
                return
            file.seek(tag * min(struct.unpack(number, tags)[0], 2**16), 1)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs: of a file cut short it reads the pages that are left, and only logs an error; of a
    set with missing parts it makes the rest zero, and only warns."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said = _first_line(record.getMessage())
            if record.levelno >= logging.ERROR or "zeroed" in said or "is missing" in said:
                lines.append(said)
            if len(lines) > _MOST_COMPLAINTS:
                raise ValueError(lines[0])

    logger = logging.getLogger("tifffile")
    handler, propagate = Collect(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _first_line(error: object) -> str:
    """For one line to the user, without tifffile's own object names."""
    return re.sub(r"<tifffile[^>]*> ?", "", (str(error).splitlines() or [type(error).__name__])[0])[:160]


def _image_axes(array: np.ndarray, axes: str, name: str) -> tuple[np.ndarray, str | None, tuple[str, ...]]:
    """Bring the axes that tifffile names to those of `Raster`."""
    remarks: tuple[str, ...] = ()
    keep = [i for i, axis in enumerate(axes) if axis in "YX" or array.shape[i] > 1]
    array, axes = array.reshape([array.shape[i] for i in keep]), "".join(axes[i] for i in keep)
    if "S" in axes:
        array, remarks = grey_of_colours(np.moveaxis(array, axes.index("S"), -1), name)
        axes = axes.replace("S", "")
    if "C" in axes and array.shape[axes.index("C")] <= _MOST_CHANNELS:
        raise DataError(f"{name} has {array.shape[axes.index('C')]} channels; save the channel with the labels alone")
    if not axes.endswith("YX") or len(axes) > 4:
        raise DataError(f"{name} has the axes {axes}; dsd reads images, stacks and volumes")
    kind = {2: "YX", 3: {"Z": "ZYX", "T": "TYX"}.get(axes[0]), 4: "TZYX"}[len(axes)]
    return array, kind, remarks


def left_in_tiff(tif: tifffile.TiffFile) -> dict[str, Any] | None:
    """What `write_samples` left in the file."""
    if tif.is_imagej:
        text = (tif.imagej_metadata or {}).get("Info", "")
    elif tif.is_ome:
        text = next((node.text for node in _ome_nodes(tif, "Description")), "")
    else:
        return None
    try:
        about = parse_json(text or "")
    except (ValueError, TypeError):
        return None
    return about if isinstance(about, dict) and "phases" in about else None


def _ome_nodes(tif: tifffile.TiffFile, tag: str) -> list[ElementTree.Element]:
    try:
        return [node for node in ElementTree.fromstring(tif.ome_metadata or "").iter() if node.tag.endswith(f"}}{tag}")]
    except ElementTree.ParseError:
        return []


def _sizes(tif: tifffile.TiffFile) -> tuple[dict[str, float], str | None, str]:
    """Sizes by axis in one unit, and where they come from: OME, then ImageJ, then the baseline tags."""
    if tif.is_ome:
        for pixels in _ome_nodes(tif, "Pixels"):
            found = {axis: float(pixels.get(f"PhysicalSize{axis}") or 0) for axis in "XYZ"}
            units = {axis: unit_name(pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XYZ"}
            unit = units["X"]
            sizes = {a: convert(found[a], one, unit) for a, one in units.items() if found[a] and one and unit}
            return sizes, unit, "OME PhysicalSize"
    tags = tif.pages.first.tags
    per_unit = {axis: _ratio(tags.get(f"{axis}Resolution")) for axis in "XY"}
    sizes = {axis: 1 / ratio for axis, ratio in per_unit.items() if ratio}
    if tif.is_imagej:
        metadata = tif.imagej_metadata or {}
        if metadata.get("spacing"):
            sizes["Z"] = abs(float(metadata["spacing"]))
        return sizes, unit_name(str(metadata.get("unit", ""))), "ImageJ"
    per = tags.get("ResolutionUnit")
    # Inches are those of a screen or a printer, and so are their equivalents in centimetres; 1 per cm says nothing.
    if sizes and per is not None and per.value == tifffile.RESUNIT.CENTIMETER and per_unit["X"] != 1:
        dots = per_unit["X"] * 2.54
        if not any(abs(dots - screen) < 0.02 * screen for screen in _SCREEN_DPI):
            return {axis: size * 1e4 for axis, size in sizes.items()}, "um", "TIFF resolution"
    return {}, None, ""


def _ratio(tag: tifffile.TiffTag | None) -> float:
    if tag is None or not isinstance(tag.value, tuple) or len(tag.value) != 2 or 0 in tag.value:
        return 0.0
    return tag.value[0] / tag.value[1]
