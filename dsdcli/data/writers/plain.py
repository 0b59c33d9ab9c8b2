"""Samples as HDF5, and as the bare labels of a NumPy file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.hdf5 import new_hdf5
from dsdcli.data.phases import Phase, to_json, to_labels
from dsdcli.files import atomic


def write_h5(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    """The dataset ``/samples``, a chunk for each sample, with phases and voxel size as attributes."""
    labels = to_labels(stack, phases)
    with new_hdf5(path) as file:
        samples = file.create_dataset(
            "samples", data=labels, chunks=(1, *stack.shape[1:]), compression="gzip", compression_opts=4, shuffle=True
        )
        samples.attrs.update(axes="TYX" if stack.ndim == 3 else "TZYX", phases=to_json(phases))
        if about["voxel_size"]:
            samples.attrs.update(voxel_size=about["voxel_size"], voxel_unit=about["voxel_unit"])
        if about["extra"] is not None:  # a dataset, since attributes may not exceed 64 kB
            file["extra"] = json.dumps(about["extra"])


def write_npy(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    """Labels alone."""
    with atomic(path) as temporary:
        np.save(temporary, to_labels(stack, phases))
