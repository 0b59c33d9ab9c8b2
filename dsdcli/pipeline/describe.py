"""What is in a file, as plain values ready for JSON."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset, is_dataset
from dsdcli.data.formats import read_image
from dsdcli.data.intensity_files import read_intensities
from dsdcli.data.phases import count_labels
from dsdcli.data.samples import Samples, is_samples, read_samples, record_of_intensities
from dsdcli.data.species import species_from_json
from dsdcli.data.stored import SPLITS
from dsdcli.moves import settle
from dsdcli.network.catalogue import CONFIG, MANIFEST, shipped_models
from dsdcli.training.log import LOG, Log


def describe(file: str | Path) -> dict[str, Any]:
    """What a dataset, samples file, run, model (folder, weights file or shipped name) or image holds, as plain values.

    Raises:
        UsageError: there is no such file.
        DataError: it cannot be read.
    """
    path = Path(file)
    settle(path.parent)
    if not path.exists():
        path = shipped_models().get(str(file), path)
    if path.suffix == ".safetensors" or (path.is_dir() and _is_model(path)):
        return describe_model(path)
    if path.is_file() and is_dataset(path):
        return describe_dataset(Dataset.open(path))
    if audit := record_of_intensities(path):
        return describe_intensities(path, audit)
    if path.is_dir() or (path.is_file() and is_samples(path)):
        return describe_samples(read_samples(path), path)
    return describe_image(str(file))


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or any(folder.glob("*.safetensors"))


def describe_model(path: Path) -> dict[str, Any]:
    """What is in a model or run folder: config, weights, parameters, digest and training state."""
    from dsdcli.network.checkpoint import digest, load_config, load_tensors, locate

    config = load_config(path)
    config_path, weights = locate(path)
    folder = config_path.parent
    result: dict[str, Any] = {
        "kind": "run" if (folder / MANIFEST).is_file() else "model",
        "path": os.fspath(path),
        "weights": weights.name,
        "parameters": sum(t.numel() for t in load_tensors(weights).values()),
        "digest": digest(path),
        "config": config.to_json(),
    }
    if (folder / LOG).is_file():
        log = Log.read(folder / LOG)
        result["training"] = {"steps": max((entry["step"] for entry in log.entries), default=0), "log": LOG}
        if log.validations:
            result["training"]["best_validation"] = min(log.validations)
        if log.unreadable:
            result["training"]["unreadable_lines"] = log.unreadable
    return result


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
        **({"species": _species(dataset, whole, by_split)} if dataset.species else {}),
        "classes": list(dataset.classes),
        "images": {
            split: [{"axes": image.axes, "shape": list(image.array.shape)} for image in dataset.images(split)]
            for split in SPLITS
        },
        "ignored": dataset.ignored,
        "slice_axes": dataset.slice_axes,
        "downsample": dataset.downsample,
        "voxel_size": dataset.voxel_size,
        "voxel_unit": dataset.voxel_unit,
        "digest": dataset.digest,
        "provenance": dataset.provenance,
    }


def _species(dataset: Dataset, whole: np.ndarray, by_split: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Cap, type and mean count of every species."""
    return [
        {**asdict(each), "mean": float(whole[n]), **{split: float(means[n]) for split, means in by_split.items()}}
        for n, each in enumerate(dataset.species)
    ]


def describe_samples(samples: Samples, path: Path) -> dict[str, Any]:
    """Number and size of the samples, phases with their mean, least and greatest count, voxel size, audit record."""
    counts, fractions = samples.counts, samples.fractions.mean(0)
    return {
        "kind": "samples",
        "path": str(path),
        "samples": len(samples),
        "size": list(samples.stack.shape[1:]),
        "phases": [
            {
                "name": phase.name,
                "label": phase.label,
                "fraction": float(fractions[index]),
                "least_voxels": int(counts[:, index].min()),
                "most_voxels": int(counts[:, index].max()),
            }
            for index, phase in enumerate(samples.phases)
        ],
        "voxel_size": samples.voxel_size,
        "voxel_unit": samples.voxel_unit,
        "audit": samples.audit,
    }


def describe_intensities(path: Path, audit: dict[str, Any]) -> dict[str, Any]:
    """As `describe_samples`, of intensities: type and cap of every channel, and its mean, least and greatest total."""
    species = species_from_json(json.dumps(audit["species"]))
    stack = read_intensities(path, species, len(audit.get("size", ())) or None)
    totals = stack.reshape(*stack.shape[:2], -1).sum(2)
    return {
        "kind": "samples",
        "path": str(path),
        "samples": len(stack),
        "size": list(stack.shape[2:]),
        "species": [
            {
                **asdict(each),
                "mean": float(stack[:, n].mean()),
                "least_total": int(totals[:, n].min()),
                "most_total": int(totals[:, n].max()),
            }
            for n, each in enumerate(species)
        ],
        "voxel_size": audit.get("voxel_size"),
        "voxel_unit": audit.get("voxel_unit"),
        "audit": audit,
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
