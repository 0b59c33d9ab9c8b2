"""Files of intensities: samples with one or several channels, in the type of the images they were learned from."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from dsdcli.data.formats import guarded
from dsdcli.data.hdf5 import new_hdf5
from dsdcli.data.intensity import read_counts
from dsdcli.data.species import Species, channels, species_to_json, wide_dtype
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, UsageError
from dsdcli.files import atomic

ENDINGS = (".tif", ".tiff", ".h5", ".npy")


def squeezed(stack: np.ndarray, species: Sequence[Species]) -> np.ndarray:
    """Counts (n, C, *L) in the type of the species; (n, *L) of a single one."""
    stack = stack.astype(wide_dtype(species))
    return stack[:, 0] if len(species) == 1 else stack


def write_intensities(path: Path, stack: np.ndarray, species: Sequence[Species], about: dict[str, Any]) -> None:
    """Write counts (n, C, *L), all or nothing: ``.tif`` (ImageJ, axes T, Z, C, Y, X as there are; OME where a type is
    wider), ``.h5`` (dataset ``/samples``), ``.npy``.

    Args:
        about: voxel_size, voxel_unit and what else the file should say.

    Raises:
        UsageError: another ending.
        DsdError: the system could not write.
    """
    ending, array = path.suffix.lower(), squeezed(stack, species)
    about = {"phases": [], "species": [asdict(each) for each in species], **about}
    if ending == ".npy":
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)
    elif ending == ".h5":
        with new_hdf5(path) as file:
            samples = file.create_dataset("samples", data=array, chunks=(1, *array.shape[1:]), compression="gzip")
            samples.attrs.update(species=species_to_json(species), phases="[]")
            file["extra"] = json.dumps(about)
    elif ending in (".tif", ".tiff"):
        many, ndim = len(species) > 1, stack.ndim - 2
        if many and ndim == 3:
            array = np.moveaxis(array, 1, 2)  # ImageJ has the channels within a slice
        axes = "T" + "Z" * (ndim == 3) + "C" * many + "YX"
        size, unit = about.get("voxel_size"), about.get("voxel_unit")
        small = array.dtype.itemsize <= 2
        text = {"Info" if small else "Description": json.dumps(about)}
        with atomic(path) as temporary:
            tifffile.imwrite(
                temporary,
                array,
                imagej=small,
                ome=not small,
                photometric="minisblack",
                resolution=(1 / size, 1 / size) if size and small else None,
                metadata={"axes": axes, **text, **({"unit": unit, "spacing": size} if size and small else {})},
                compression="zlib",
            )
    else:
        raise UsageError(f"intensities are written as {', '.join(ENDINGS)}, not {path}; choose another name")


def read_intensities(path: Path, species: Sequence[Species], ndim: int | None = None) -> np.ndarray:
    """Counts (n, C, *L) of a file of samples.

    Args:
        ndim: dimension of the images, where a file from elsewhere does not say it: 2 by default.

    Raises:
        DataError: unreadable, of another number of channels, or beyond the cap of a channel.
    """
    number, ending = len(species), path.suffix.lower()
    with guarded(path):
        if ending == ".npy":
            array = np.load(path, allow_pickle=False)
            array = array if number > 1 else array[:, None]
        elif ending in (".h5", ".hdf5"):
            import h5py

            with h5py.File(path, "r", locking=False) as file:
                array = file["samples"][...]
            array = array if number > 1 else array[:, None]
        else:
            raster = read_counts(str(path), names=[each.name for each in species])
            single = raster.axes in ("YX", "ZYX") and raster.array.ndim == (ndim or raster.array.ndim)
            array = np.moveaxis(channels(raster.array[None] if single else raster.array), -1, 1)
    if array.ndim not in (4, 5) or array.shape[1] != number or array.dtype.kind not in "iu":
        raise DataError(f"{path} is {sides(array.shape)} {array.dtype}; samples with {number} channels are needed")
    caps = np.array([each.cap for each in species])
    if array.min() < 0 or (array.max((0, *range(2, array.ndim))) > caps).any():
        raise DataError(f"{path} holds counts below 0 or above the caps of the channels, {', '.join(map(str, caps))}")
    return array.astype(np.int64)
