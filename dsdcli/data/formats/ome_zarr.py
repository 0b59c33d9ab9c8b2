"""Zarr and OME-Zarr folders: one array, of a multiscale image the finest level; by zarr, of the extra "formats"."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.medical import extra
from dsdcli.data.formats.raster import Raster, cubic, plain_raster
from dsdcli.data.large import is_large, let_go, room
from dsdcli.data.voxel import convert, sides, unit_name
from dsdcli.errors import DataError, UsageError

OURS = "dsd"  # the attribute that holds what `write_samples` leaves
_MARKS = ("zarr.json", ".zgroup", ".zarray")
_DEEP = 4  # levels of groups that are searched


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group or array (versions 2 and 3)."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


def about_zarr(path: Path) -> dict[str, Any] | None:
    """What `write_samples` left in the folder, read without the library; None if it comes from elsewhere."""
    try:
        about = json.loads((path / ".zattrs").read_text(encoding="utf-8"))[OURS]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return about if isinstance(about, dict) and "phases" in about else None


def read_zarr(path: Path, inner: str | None) -> Raster:
    """Read the array or image ``inner`` of a zarr folder, or the only one.

    Raises:
        UsageError: no such part.
        DataError: damaged, several to choose from (lists them), or of several channels.
    """
    zarr = extra("zarr", "zarr", f"the Zarr folder {path}")
    root = zarr.open(store=str(path), mode="r")
    if inner is not None:
        try:
            item = root[inner.strip("/")]
        except (KeyError, TypeError) as error:
            raise UsageError(f"{path} has no part {inner}; it holds {_listed(_images(root))}") from error
    elif isinstance(root, zarr.Array) or _multiscale(root):
        item = root
    else:
        images = _images(root)
        if len(images) != 1:
            fix = f"say which one as {path}:NAME" if images else "dsd needs an array of 2 or 3 dimensions"
            raise DataError(f"{path} holds {len(images)} images; {fix}; found: {_listed(images)}")
        item = next(iter(images.values()))
    name = f"{path}:/{item.path}" if item.path else str(path)
    if isinstance(item, zarr.Array):
        return plain_raster(_load(item, path), name)
    scales = _multiscale(item)
    if scales is None:
        raise DataError(f"{name} is a group of arrays, no image; it holds {_listed(_images(item))}")
    array, axes, spacing, unit = _finest(item, scales, path, name)
    labels = item.get("labels")
    remarks: tuple[str, ...] = ()
    if isinstance(labels, zarr.Group):
        names = ", ".join(f"{path}:/{key}" for key in _images(labels))
        remarks = (f"{name} has label images beside it, which may be what you want: {names}",) if names else ()
    about = about_zarr(path) if item is root else None
    return plain_raster(array, name, axes, cubic(spacing, unit, "OME-Zarr scale", name), about=about, remarks=remarks)


def _multiscale(group: Any) -> dict[str, Any] | None:
    """The first multiscale image of a group: OME-NGFF 0.4 and before, or 0.5."""
    attributes = dict(group.attrs)
    found = attributes.get("multiscales") or (attributes.get("ome") or {}).get("multiscales")
    return found[0] if found else None


def _images(group: Any, depth: int = 0) -> dict[str, Any]:
    """Images and single arrays below a group, by path; the levels and labels of an image are not looked at."""
    found: dict[str, Any] = {}
    for _, item in sorted(group.members()):
        if hasattr(item, "shape"):
            if item.dtype.kind in "biuf" and sum(side > 1 for side in item.shape) in (2, 3, 4):
                found[item.path] = item
        elif _multiscale(item):
            found[item.path] = item
        elif depth < _DEEP:
            found |= _images(item, depth + 1)
    return found


def _listed(images: dict[str, Any]) -> str:
    return ", ".join(f"/{key}" for key in list(images)[:16]) or "nothing"


def _load(array: Any, path: Path) -> np.ndarray:
    name = f"{path}:/{array.path}"
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} holds values of type {array.dtype}; dsd needs integer labels")
    stored = sum(file.stat().st_size for file in (path / array.path).rglob("*") if file.is_file())
    check_claim(array.shape, array.dtype.itemsize, name, stored, spills=True)
    check_claim(array.chunks, array.dtype.itemsize, f"a chunk of {name}")
    if not is_large(array.nbytes):
        return np.asarray(array[...])
    whole, thick = room(array.shape, array.dtype), array.chunks[0]
    for start in range(0, len(whole), thick):
        whole[start : start + thick] = array[start : start + thick]
        let_go(whole)
    return whole


def _finest(
    group: Any, scales: dict[str, Any], path: Path, name: str
) -> tuple[np.ndarray, str, tuple[float, float, float], str | None]:
    """Voxels without idle axes, their axes, and the spacings along x, y, z in one unit."""
    level = scales["datasets"][0]
    array = group[level["path"]]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales.get("axes") or []]
    if not axes:
        axes = [{"name": letter} for letter in "tczyx"[-array.ndim :]]  # NGFF 0.1 and 0.2
    letters = "".join(str(axis["name"])[:1].lower() for axis in axes)
    if len(letters) != array.ndim:
        raise DataError(f"{name} is damaged: {array.ndim} axes, of which {len(letters)} have names")
    scale = np.ones(array.ndim)
    for step in (*level.get("coordinateTransformations", ()), *scales.get("coordinateTransformations", ())):
        if step.get("type") == "scale" and "scale" in step:
            scale = scale * np.asarray(step["scale"], float)
    if "c" in letters and array.shape[letters.index("c")] > 1:
        raise DataError(f"{name} has {array.shape[letters.index('c')]} channels; save the one with the labels alone")
    keep = [i for i, letter in enumerate(letters) if letter in "yx" or array.shape[i] > 1]
    left = "".join(letters[i] for i in keep)
    if left not in ("yx", "tyx", "zyx", "tzyx"):
        raise DataError(f"{name} has the axes {letters} ({sides(array.shape)}); dsd reads images, stacks and volumes")
    units = {letter: unit_name(str(axis.get("unit") or "")) for letter, axis in zip(letters, axes, strict=True)}
    along = dict(zip(letters, scale.tolist(), strict=True))
    unit = units.get("x")
    steps = [
        along.get(one, 0.0) if not unit else convert(along[one], known, unit) if (known := units.get(one)) else 0.0
        for one in "xyz"
    ]
    voxels = _load(array, path)
    return voxels.reshape([array.shape[i] for i in keep]), left.upper(), (steps[0], steps[1], steps[2]), unit
