"""Samples as TIFF: ImageJ's, or OME's where ImageJ's cannot hold the labels or the size."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from dsdcli.data.phases import Phase, to_labels
from dsdcli.files import atomic

_IMAGEJ_BYTES = 2**31  # ImageJ's format stops at 4 GiB


def write_tif(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    """Axes TYX or TZYX; what the file is about stands in ImageJ's Info or OME's Description."""
    labels = to_labels(stack, phases)
    axes = "TYX" if stack.ndim == 3 else "TZYX"
    size, unit = about["voxel_size"], about["voxel_unit"]
    with atomic(path) as temporary:
        if labels.dtype.char in "BHh" and labels.nbytes < _IMAGEJ_BYTES:
            metadata: dict[str, Any] = {"axes": axes, "Info": json.dumps(about)}
            metadata |= {"min": min(p.label for p in phases), "max": max(p.label for p in phases)}
            if size:
                metadata |= {"spacing": size, "unit": unit}
            tifffile.imwrite(
                temporary,
                labels,
                imagej=True,
                photometric="minisblack",
                resolution=(1 / size, 1 / size) if size and 1e-9 < size < 1e9 else None,  # a ratio of 32-bit numbers
                metadata=metadata,
                compression="zlib",
            )
        else:
            metadata = {"axes": axes, "Description": json.dumps(about)}
            if size:
                for axis in axes[1:]:
                    metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit.replace("um", "µm")}
            tifffile.imwrite(
                temporary,
                labels,
                ome=True,
                photometric="minisblack",
                metadata=metadata,
                compression="zlib",
                bigtiff=True,
            )
