"""Samples as a VTK image for ParaView, by the library that comes with porespy: an array of cells for each sample."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.vtk_image import OURS
from dsdcli.data.phases import Phase, to_labels
from dsdcli.errors import DsdError
from dsdcli.files import atomic


def write_vti(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    """Arrays ``sample0000`` ... of labels; a voxel is a cell, and its side the spacing (1 if unknown).

    Raises:
        DsdError: the system could not write.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkStringArray
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    labels = to_labels(stack, phases)
    image = vtkImageData()
    corners = [side + 1 for side in reversed(labels.shape[1:])]
    image.SetDimensions(*[*corners, 1][:3])
    image.SetSpacing(*[about["voxel_size"] or 1.0] * 3)
    for number, sample in enumerate(labels):
        array = numpy_to_vtk(np.ascontiguousarray(sample).reshape(-1))
        array.SetName(f"sample{number:04d}")
        image.GetCellData().AddArray(array)
    image.GetCellData().SetActiveScalars("sample0000")
    field = vtkStringArray()
    field.SetName(OURS)
    field.InsertNextValue(json.dumps(about))
    image.GetFieldData().AddArray(field)
    with atomic(path) as temporary:
        writer = vtkXMLImageDataWriter()
        writer.SetFileName(str(temporary))
        writer.SetInputData(image)
        if not writer.Write() or writer.GetErrorCode():
            raise DsdError(f"cannot write {path}: VTK could not (disk full?); nothing was changed")
