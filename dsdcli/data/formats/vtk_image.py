"""VTK images (.vti, and .vtk of structured points), by the library that comes with porespy."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.deadline import Slabs, more_time
from dsdcli.data.formats.limits import check_claim
from dsdcli.errors import DataError, UsageError

OURS = "dsd"  # the field that holds what `write_samples` leaves


def is_vtk(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is one of VTK's own formats."""
    return head.startswith(b"# vtk DataFile") or re.match(rb"\s*(<\?xml[^>]*>\s*)?<VTKFile", head) is not None


def says_ours(path: Path) -> bool:
    """Whether `write_samples` made this image, by its header."""
    with path.open("rb") as file:
        head = file.read(2**16)
    return is_vtk(head) and f'Name="{OURS}"'.encode() in head


def slabs(path: Path, inner: str | None) -> Slabs:
    """For the reading process: header (shape, dtype, spacing x y z, name, what is ours), then the voxels.

    Raises:
        UsageError: no such array.
        DataError: no image, or several arrays to choose from (lists them).
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy

    image = _load(path)
    extent = image.GetDimensions()
    arrays: dict[str, tuple[Any, tuple[int, ...]]] = {}
    cells = tuple(max(1, side - 1) for side in extent)
    for data, sides in ((image.GetCellData(), cells), (image.GetPointData(), extent)):
        for number in range(data.GetNumberOfArrays()):
            array = data.GetArray(number)  # None for texts
            if array is not None and array.GetNumberOfComponents() == 1:
                arrays.setdefault(array.GetName() or f"array{number}", (array, tuple(reversed(sides))))
    about = _ours(image)
    chosen = _choose(list(arrays), inner, bool(about), path)
    shape = arrays[chosen[0]][1]
    first = vtk_to_numpy(arrays[chosen[0]][0])
    kept = shape[1:] if shape[0] == 1 else shape
    yield {
        "shape": [len(chosen), *kept] if about and inner is None else kept,
        "dtype": first.dtype.str,
        "spacing": image.GetSpacing(),
        "name": chosen[0] if len(chosen) == 1 else None,
        "about": about,
    }
    for name in chosen:
        array, sides = arrays[name]
        values = vtk_to_numpy(array)
        if sides != shape or values.size != np.prod(shape) or values.dtype != first.dtype:
            raise DataError(f"{path}:{name} is damaged, or of another size than the others")
        yield values


def _load(path: Path) -> Any:
    """The image in memory, after a look at what it claims."""
    from vtkmodules.vtkCommonCore import vtkObject
    from vtkmodules.vtkIOLegacy import vtkStructuredPointsReader
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    vtkObject.GlobalWarningDisplayOff()
    with path.open("rb") as file:
        head = file.read(2**16)
    xml = not head.startswith(b"# vtk DataFile")
    kind = (re.search(rb"<VTKFile[^>]*\btype *= *[\"'](\w+)" if xml else rb"\bDATASET\s+(\w+)", head) or [b"", b"?"])[1]
    if kind.lower() not in (b"imagedata", b"structured_points"):
        raise DataError(
            f"{path} holds {kind.decode(errors='replace')}, no image of cubic voxels; save it as ImageData (.vti)"
        )
    if xml:
        extent = re.search(rb"WholeExtent *= *[\"']([-\d\s]+)", head)
        ends = [int(word) for word in extent[1].split()] if extent else []
        shape = [high - low + 1 for low, high in zip(ends[::2], ends[1::2], strict=False)]
    else:
        dimensions = re.search(rb"DIMENSIONS\s+(\d+)\s+(\d+)\s+(\d+)", head)
        shape = [int(word) for word in dimensions.groups()] if dimensions else []
    if len(shape) != 3:
        raise DataError(f"{path} is damaged: it does not say how large its image is")
    check_claim(shape, 1, str(path), path.stat().st_size * 8)
    more_time(8 * math.prod(shape))
    reader = vtkXMLImageDataReader() if xml else vtkStructuredPointsReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    if reader.GetErrorCode() or image is None or list(image.GetDimensions()) != shape:
        raise DataError(f"{path} is damaged: VTK cannot read it")
    return image


def _ours(image: Any) -> str | None:
    field = image.GetFieldData().GetAbstractArray(OURS)
    return field.GetValue(0) if field is not None and hasattr(field, "GetValue") and field.GetNumberOfValues() else None


def _choose(names: list[str], inner: str | None, ours: bool, path: Path) -> list[str]:
    listed = ", ".join(names[:16]) or "nothing"
    if inner is not None:
        if inner not in names:
            raise UsageError(f"{path} has no array {inner}; it holds {listed}")
        return [inner]
    if ours and names:
        return names
    if len(names) != 1:
        raise DataError(f"{path} holds {len(names)} arrays that fit; say which one as {path}:NAME; found: {listed}")
    return names
