"""Samples as MetaImage, which ITK, 3D Slicer, ParaView and Fiji read: a header and bare voxels."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.metaimage import OURS, TYPES
from dsdcli.data.phases import Phase, to_labels
from dsdcli.data.voxel import convert
from dsdcli.files import atomic

_UNITS = ("um", "mm", "cm")  # those that the format has


def write_mhd(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    """``<stem>.mhd``, and its voxels in ``<stem>.raw``."""
    labels = to_labels(stack, phases)
    voxels = path.with_suffix(".raw")
    with atomic(voxels) as temporary:
        _little(labels).tofile(temporary)
    with atomic(path) as temporary:
        temporary.write_text(_header(labels, about, voxels.name), encoding="utf-8")


def write_mha(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    """Header and voxels in one file."""
    labels = to_labels(stack, phases)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(_header(labels, about, "LOCAL").encode())
        _little(labels).tofile(file)


def _little(labels: np.ndarray) -> np.ndarray:
    return labels.astype(labels.dtype.newbyteorder("<"), copy=False)


def _header(labels: np.ndarray, about: dict[str, Any], data: str) -> str:
    """Sizes and spacings with x first; of one sample alone the axis of samples is left out."""
    shape = labels.shape[1:] if len(labels) == 1 else labels.shape
    size, unit = about["voxel_size"] or 1.0, about["voxel_unit"]
    if unit and unit not in _UNITS:
        size, unit = convert(size, unit, "um"), "um"
    spacing = [size] * (labels.ndim - 1) + [1.0] * (len(labels) > 1)
    kind = next(name for name, code in TYPES.items() if np.dtype(code) == labels.dtype)
    lines = {
        "ObjectType": "Image",
        "NDims": len(shape),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "ElementSpacing": " ".join(map(repr, spacing)),
        "DimSize": " ".join(map(str, reversed(shape))),
        **({"DistanceUnits": unit} if about["voxel_size"] else {}),
        OURS: json.dumps(about),  # on one line, in ASCII
        "ElementType": kind,
        "ElementDataFile": data,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())
