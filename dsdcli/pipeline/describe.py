"""What is in a file, as plain values ready for JSON."""

from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import SPLITS, Dataset
from dsdcli.data.formats import read_image
from dsdcli.data.phases import count_labels
from dsdcli.data.samples import Samples


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Phases with fractions (whole and by split), image shapes, voxel size, provenance, digest."""
    whole = dataset.fractions()
    by_split = {split: dataset.fractions(split) for split in SPLITS if dataset.images(split)}
    return {
        "kind": "dataset",
        "path": str(dataset.path),
        "phases": [
            {
                "name": phase.name,
                "label": phase.label,
                "fraction": float(whole[index]),
                **{split: float(fractions[index]) for split, fractions in by_split.items()},
            }
            for index, phase in enumerate(dataset.phases)
        ],
        "images": {
            split: [{"axes": image.axes, "shape": list(image.array.shape)} for image in dataset.images(split)]
            for split in SPLITS
        },
        "slice_axes": dataset.slice_axes,
        "downsample": dataset.downsample,
        "voxel_size": dataset.voxel_size,
        "voxel_unit": dataset.voxel_unit,
        "digest": dataset.digest,
        "provenance": dataset.provenance,
    }


def describe_samples(samples: Samples, path: Path) -> dict[str, Any]:
    """Number and size of the samples, phases with their mean, least and greatest count, voxel size, audit record."""
    n = len(samples.stack)
    flat = samples.stack.reshape(n, -1)
    counts = np.stack([np.count_nonzero(flat == index, axis=1) for index in range(len(samples.phases))])
    return {
        "kind": "samples",
        "path": str(path),
        "samples": n,
        "size": list(samples.stack.shape[1:]),
        "phases": [
            {
                "name": phase.name,
                "label": phase.label,
                "fraction": float(counts[index].mean() / flat.shape[1]),
                "least_voxels": int(counts[index].min()),
                "most_voxels": int(counts[index].max()),
            }
            for index, phase in enumerate(samples.phases)
        ],
        "voxel_size": samples.voxel_size,
        "voxel_unit": samples.voxel_unit,
        "audit": samples.audit,
    }


def describe_image(source: str) -> dict[str, Any]:
    """Shape, axes (None if the file does not say), voxel size and labels of an image not made by this program.

    Raises:
        UsageError: there is no such file.
        DataError: it cannot be read.
    """
    raster = read_image(source)
    labels = count_labels(raster.array)
    return {
        "kind": "image",
        "path": source,
        "shape": list(raster.array.shape),
        "axes": raster.axes,
        "type": str(raster.array.dtype),
        "labels": [
            {"label": label, "voxels": voxels, "fraction": voxels / raster.array.size}
            for label, voxels in labels.items()
        ],
        "voxel_size": raster.voxel.value if raster.voxel else None,
        "voxel_unit": raster.voxel.unit if raster.voxel else None,
        "voxel_size_source": raster.voxel.source if raster.voxel else None,
        "notes": list(raster.remarks),
    }
