"""VTK images as rasters; `dsdcli.data.formats.vtk_image` reads them in a process of its own."""

from pathlib import Path

from dsdcli.data.formats.apart import ReaderFault, read_apart
from dsdcli.data.formats.raster import Raster, cubic, plain_raster
from dsdcli.errors import DataError
from dsdcli.files import parse_json


def read_vtk(path: Path, inner: str | None) -> Raster:
    """Read the array ``inner`` of a VTK image, or the only one.

    Raises:
        UsageError: no such array.
        DataError: damaged, no image, or several arrays to choose from (lists them).
    """
    try:
        array, found = read_apart("vtk", path, inner)
        if array is None:
            raise ReaderFault("its reader gave no voxels")
    except ReaderFault as error:
        raise DataError(f"cannot read {path}: damaged VTK file ({error})") from error
    about = parse_json(found["about"]) if found["about"] else None
    unit = about.get("voxel_unit") if isinstance(about, dict) else None
    size = cubic(found["spacing"], unit, "VTK spacing", str(path))
    if about and inner is None:
        return plain_raster(
            array.reshape(about["shape"]), str(path), "TZYX"[4 - len(about["shape"]) :], size, about=about
        )
    return plain_raster(array, f"{path}:{found['name']}", {2: "YX", 3: "ZYX"}[array.ndim], size)
