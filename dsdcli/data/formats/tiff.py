"""TIFF: plain, multi-page, ImageJ and OME, in any compression."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from dsdcli.data.formats.labels import as_labels, grey_of_colours
from dsdcli.data.formats.raster import Raster
from dsdcli.data.voxel import VoxelSize, convert, unit_name
from dsdcli.errors import DataError

_MOST_CHANNELS = 4  # a longer "channel" axis is a stack that was never told what it is
_SAME = 0.01  # relative difference of sizes that counts as none
_SCREEN_DPI = (72, 75, 90, 96, 100, 120, 150, 180, 200, 240, 300, 400, 600, 720, 1200)


def read_tiff(path: Path) -> Raster:
    """Read a TIFF file.

    Raises:
        DataError: damaged, several images of different sizes, channels, or no labels.
    """
    name = str(path)
    try:
        with _complaints() as complaints, tifffile.TiffFile(path) as tif:
            series = tif.series
            if len(series) > 1:
                sizes = ", ".join("x".join(map(str, one.shape)) for one in series[:6])
                raise DataError(f"{name} holds {len(series)} images of different kinds ({sizes}); save one per file")
            array, letters = series[0].asarray(), series[0].axes
            about = left_in_tiff(tif)
            voxel, depth, remarks = _voxel(tif, name)
            photometric = tif.pages.first.photometric
    except DataError:
        raise
    except Exception as error:  # tifffile and its decoders raise nearly every kind
        raise DataError(f"cannot read {name}: damaged or truncated TIFF ({_first_line(error)})") from error
    if complaints:
        raise DataError(f"cannot read {name}: damaged or truncated TIFF ({complaints[0]})")
    if photometric == tifffile.PHOTOMETRIC.PALETTE:
        remarks += (f"{name} has a palette of colours; labels are the stored numbers, whatever colours a viewer shows",)
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        remarks += (f"{name} is stored with 0 = white; labels are the stored numbers, whatever a viewer shows",)
    array, axes, more = _image_axes(array, letters, name)
    array, yet_more = as_labels(array, name)
    return Raster(array, axes, voxel, depth, about, remarks + more + yet_more)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs: of a file cut short it reads the pages that are left and only logs an error."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                lines.append(_first_line(record.getMessage()))

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
        about = json.loads(text or "")
    except (ValueError, TypeError):
        return None
    return about if isinstance(about, dict) and "phases" in about else None


def _ome_nodes(tif: tifffile.TiffFile, tag: str) -> list[ElementTree.Element]:
    try:
        return [node for node in ElementTree.fromstring(tif.ome_metadata or "").iter() if node.tag.endswith(f"}}{tag}")]
    except ElementTree.ParseError:
        return []


def _voxel(tif: tifffile.TiffFile, name: str) -> tuple[VoxelSize | None, float | None, tuple[str, ...]]:
    """Size within a slice, distance of slices where it differs, remarks."""
    sizes, unit, source = _sizes(tif)
    across, down, depth = sizes.get("X"), sizes.get("Y"), sizes.get("Z")
    if not across or unit is None:
        return None, None, ()
    if down and abs(across - down) > _SAME * across:
        return None, None, (f"{name} has pixels of {across:g} x {down:g} {unit}: not square, so no voxel size is kept",)
    differs = depth and abs(across - depth) > _SAME * across
    return VoxelSize(across, unit, source), depth if differs else None, ()


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
