"""NRRD and NIfTI, by the libraries that keep these formats: pynrrd and nibabel, of the extra "formats"."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.raster import Raster, cubic, plain_raster
from dsdcli.data.voxel import unit_name
from dsdcli.errors import DataError, UsageError


def extra(module: str, package: str, what: str) -> ModuleType:
    """A library of the extra "formats".

    Raises:
        UsageError: it is not installed; says how it gets here.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"{what} needs {package}, which is not installed; pip install {package}") from error


def read_nrrd(path: Path) -> Raster:
    """Read an NRRD of labels, ``.nrrd`` or a header ``.nhdr`` beside its voxels.

    Raises:
        DataError: damaged, of several channels, or with voxels outside the folder of the header.
    """
    nrrd = extra("nrrd", "pynrrd", f"the NRRD file {path}")
    header = nrrd.read_header(str(path))
    shape = tuple(int(side) for side in header["sizes"])
    files = [path, *_detached(path, header)]
    stored = sum(file.stat().st_size for file in files)
    check_claim(shape, 1, str(path), stored * (1 if header.get("encoding") in ("gzip", "gz", "bzip2", "bz2") else 8))
    array, header = nrrd.read(str(path))
    vectors = np.atleast_2d(np.asarray(header.get("space directions", np.zeros((0, 0))), float))
    spacing = np.sqrt((vectors**2).sum(1)) if vectors.size else np.asarray(header.get("spacings", ()), float)
    spacing = np.nan_to_num(np.pad(spacing[:3], (0, max(0, 3 - len(spacing)))))
    units = header.get("space units") or header.get("units") or [""]
    size = cubic(spacing.tolist(), unit_name(str(units[0]).strip('"')), "NRRD spacing", str(path))
    return plain_raster(array.T, str(path), size=size, files=tuple(files) if len(files) > 1 else ())


def _detached(path: Path, header: dict[str, Any]) -> list[Path]:
    """The files of voxels that a header names, which must lie beside it."""
    named = header.get("data file", header.get("datafile"))
    if named is None:
        return []
    if str(named).upper().startswith("LIST") or "%" in str(named):
        raise DataError(f"{path} spreads its voxels over many files; save it as one .nrrd file")
    whole = path.parent / str(named)
    if whole.resolve().parent != path.parent.resolve():
        raise DataError(f"{path} takes its voxels from {named}, outside its folder, which is not followed")
    if not whole.is_file():
        raise DataError(f"{path} takes its voxels from {named}, which is not there; put it beside {path.name}")
    return [whole]


def is_nifti(path: Path, head: bytes) -> bool:
    """Whether it is NIfTI 1 or 2 in one file, packed or not."""
    if head.startswith(b"\x1f\x8b"):
        return path.name.lower().endswith(".nii.gz")
    return head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c") and _nifti_magic(path)


def _nifti_magic(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(348)
    return start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0"


def read_nifti(path: Path) -> Raster:
    """Read a NIfTI of labels; its axes x, y, z, t become (T, Z, Y, X).

    Raises:
        DataError: damaged, or no labels.
    """
    nibabel = extra("nibabel", "nibabel", f"the NIfTI file {path}")
    image = nibabel.load(str(path))
    packed = path.suffix.lower() == ".gz"
    stored = path.stat().st_size
    check_claim(image.shape, image.get_data_dtype().itemsize, str(path), stored if packed else None)
    array = np.asanyarray(image.dataobj)
    unit, _ = image.header.get_xyzt_units()
    spacing = [float(zoom) for zoom in image.header.get_zooms()[:3]] + [0.0] * 3
    size = cubic(spacing[:3], unit_name(unit), "NIfTI header", str(path))
    return plain_raster(array.T, str(path), size=size)
