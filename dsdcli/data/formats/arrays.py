"""NumPy files, and MATLAB files before 7.3: arrays without a word on what their axes are."""

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from dsdcli.data.formats.labels import without_idle_axes
from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.raster import AXES_OF, Raster, plain_raster
from dsdcli.data.large import is_large
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, UsageError


def read_npy(path: Path, inner: str | None) -> Raster:
    """Read a ``.npy`` file.

    Raises:
        UsageError: ``inner`` of a file without parts.
        DataError: damaged, or holding objects.
    """
    if inner is not None:
        raise UsageError(f"{path} holds one array only; leave out ':{inner}'")
    with path.open("rb") as file:
        shape, dtype = _header(file, str(path))
        size = dtype.itemsize * int(np.prod(shape, dtype=object))
        if size > path.stat().st_size - file.tell():
            raise DataError(f"cannot read {path}: damaged, it ends before the {sides(shape)} voxels that it claims")
    check_claim(shape, dtype.itemsize, str(path), spills=True)
    array = np.load(path, "r" if is_large(size) else None, allow_pickle=False)
    return plain_raster(array.view(np.ndarray), str(path))


def read_npz(path: Path, inner: str | None) -> Raster:
    """Read the array ``inner`` (or the only one that fits) of a ``.npz`` file.

    Raises:
        DataError: damaged, or several arrays to choose from (lists them).
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        for info, name in zip(archive.infolist(), names, strict=True):
            if inner not in (None, name):
                continue
            with archive.open(info) as member:
                shape, dtype = _header(member, f"{path}:{name}")
            if dtype.kind not in "biuf":
                continue
            wanted = dtype.itemsize * int(np.prod(shape, dtype=object))
            if wanted > info.file_size:
                raise DataError(f"cannot read {path}:{name}: damaged, it ends before the voxels that it claims")
            check_claim(shape, dtype.itemsize, f"{path}:{name}", info.compress_size)
            if len(shape) >= 2:
                with archive.open(info) as member:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    fits = {name: array for name, array in arrays.items() if without_idle_axes(array).ndim in AXES_OF}
    if len(fits) != 1:
        raise DataError(
            f"{path} holds {len(fits)} arrays that fit; say which one as {path}:NAME; found: {', '.join(names)}"
        )
    name, array = next(iter(fits.items()))
    return plain_raster(array, f"{path}:{name}")


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that the header claims; ``file`` stands behind it then."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise DataError(f"cannot read {name}: damaged, or holding objects instead of numbers")
    return shape, dtype


def read_matlab(path: Path, inner: str | None) -> Raster:
    """Read the variable ``inner`` (or the only one that fits) of a MATLAB file before 7.3.

    MATLAB's rows, columns and pages are y, x and z.

    Raises:
        UsageError: no such variable.
        DataError: damaged, or several variables to choose from (lists them).
    """
    from scipy.io import loadmat, whosmat

    found = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}
    fits = [
        name
        for name, (shape, kind) in found.items()
        if kind not in ("struct", "cell", "char", "object", "sparse", "function", "opaque", "unknown")
        and sum(side > 1 for side in shape) in AXES_OF
    ]
    listed = ", ".join(f"{name} ({sides(shape)} {kind})" for name, (shape, kind) in list(found.items())[:16])
    if inner is not None and inner not in found:
        raise UsageError(f"{path} has no variable {inner}; it holds {listed or 'nothing'}")
    if inner is None and len(fits) != 1:
        fix = f"say which one as {path}:NAME" if fits else "dsd needs a numeric array of 2 or 3 dimensions"
        raise DataError(f"{path} holds {len(fits)} variables that could be images; {fix}; found: {listed or 'nothing'}")
    name = inner or fits[0]
    check_claim(found[name][0], 1, f"{path}:{name}", path.stat().st_size)
    array = loadmat(str(path), variable_names=[name])[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise DataError(f"{path}:{name} is no array of numbers; found: {listed}")
    pages_first = array.transpose(*range(array.ndim - 1, 1, -1), 0, 1)
    return plain_raster(pages_first, f"{path}:{name}")
