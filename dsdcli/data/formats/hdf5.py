"""HDF5: one dataset of a file, named or the only one that fits."""

from pathlib import Path
from typing import Any

import h5py

from dsdcli.data.formats.labels import as_labels, without_idle_axes
from dsdcli.data.formats.raster import Raster
from dsdcli.data.voxel import VoxelSize, unit_name
from dsdcli.errors import DataError, DsdError, UsageError

_AXES = ("YX", "TYX", "ZYX", "TZYX")
_SAME = 0.01  # relative difference of sizes that counts as none


def read_hdf5(path: Path, inner: str | None) -> Raster:
    """Read the dataset ``inner`` of an HDF5 file; None takes the only one that could be an image.

    Raises:
        UsageError: no such dataset.
        DataError: damaged file, or several to choose from (lists them).
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") == "dsd-dataset":
                raise DataError(f"{path} is already a dataset made by dsd ingest; use it as it is")
            stored = _choose(file, path, inner)
            name = f"{path}:{stored.name}"
            array = without_idle_axes(stored[...])
            axes = stored.attrs.get("axes")
            voxel, depth, flat = _voxel(stored.attrs) or _voxel(file.attrs) or (None, None, ())
    except DsdError:  # a usage error is a ValueError too
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"cannot read {path}: damaged HDF5 file, or a compression unknown here ({error})") from error
    if array.ndim not in (2, 3, 4):
        raise DataError(f"{name} has the shape {'x'.join(map(str, array.shape))}; dsd reads images, stacks and volumes")
    if axes not in _AXES or len(axes) != array.ndim:
        axes = {2: "YX", 3: None, 4: "TZYX"}[array.ndim]
    array, remarks = as_labels(array, name)
    return Raster(array, axes, voxel, depth, remarks=tuple(f"{name} has {text}" for text in flat) + remarks)


def _choose(file: h5py.File, path: Path, inner: str | None) -> h5py.Dataset:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    fits = [item for item in found if item.dtype.kind in "biuf" and sum(side > 1 for side in item.shape) in (2, 3, 4)]
    listed = ", ".join(f"{item.name} ({'x'.join(map(str, item.shape))} {item.dtype})" for item in (fits or found)[:16])
    if inner is not None:
        if inner not in file or not isinstance(file[inner], h5py.Dataset):
            raise UsageError(f"{path} has no dataset {inner}; it holds {listed or 'no dataset at all'}")
        return file[inner]
    if len(fits) != 1:
        fix = f"say which one as {path}:/NAME" if fits else "dsd needs a numeric array of 2 or 3 dimensions"
        raise DataError(f"{path} holds {len(fits)} datasets that could be images; {fix}; found: {listed or 'nothing'}")
    return fits[0]


def _voxel(attrs: h5py.AttributeManager) -> tuple[VoxelSize | None, float | None, tuple[str, ...]] | None:
    """From ``voxel_size`` + ``voxel_unit``, or ``element_size_um`` as Fiji writes it (z, y, x): the size within a
    slice, the distance of slices where it differs, and what is wrong with them."""
    for key, unit in (("voxel_size", attrs.get("voxel_unit")), ("element_size_um", "um")):
        sizes = _numbers(attrs.get(key))
        name = unit_name(unit.decode() if isinstance(unit, bytes) else str(unit))
        if sizes and name and min(sizes) > 0:
            across = sizes[-1]
            if any(abs(side - across) > _SAME * across for side in sizes[-2:]):
                text = f"pixels of {across:g} x {sizes[-2]:g} {name}: not square, so no voxel size is kept"
                return None, None, (f"{text}; resample them to squares",)
            differs = len(sizes) > 2 and abs(sizes[-3] - across) > _SAME * across
            return VoxelSize(across, name, f"HDF5 attribute {key}"), sizes[-3] if differs else None, ()
    return None


def _numbers(value: Any) -> list[float]:
    try:
        return [float(number) for number in (value if hasattr(value, "__len__") else [value])]
    except (TypeError, ValueError):
        return []
