"""Evaluation of intensities: reading them, and comparing them with real ones."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.intensity_files import read_intensities
from dsdcli.data.samples import Samples, read_audit
from dsdcli.errors import UsageError
from dsdcli.evaluation.evaluate import Evaluation
from dsdcli.evaluation.intensity import evaluate_counts
from dsdcli.evaluation.metrics import INTENSITY
from dsdcli.pipeline.defaults import of_class
from dsdcli.pipeline.progress import Note, Progress
from dsdcli.record import provenance


def evaluate_intensities(
    samples: Any,
    dataset: Dataset,
    metrics: Sequence[str],
    match: bool,
    crops: int | None,
    seed: int,
    class_name: str | None,
    note: Note,
    progress: Progress,
) -> tuple[Evaluation, Samples, Dataset, dict[str, Any]]:
    """The comparison of intensities with real ones: what was found, the samples, the real images, and the context.

    Args:
        samples: a file, an array (n, *L) or (n, C, *L), or `dsdcli.pipeline.intensity_samples.IntensitySamples`.
        metrics, match, crops, seed, class_name, note, progress: as of `dsdcli.pipeline.evaluate.evaluate`.

    Raises:
        UsageError: a metric of segmented images, or no such class.
        DataError: samples that cannot be compared.
    """
    if strange := [name for name in metrics if name not in INTENSITY]:
        raise UsageError(f"{strange[0]} is of segmented images; of intensities there are {', '.join(INTENSITY)}")
    if isinstance(samples, Path | str):
        audit = read_audit(Path(samples).with_suffix(".json"))
        stack = read_intensities(Path(samples), dataset.species)
    else:
        audit, array = getattr(samples, "audit", None), np.asarray(samples)
        stack = (array[:, None] if len(dataset.species) == 1 else array).astype(np.int64)
    made = Samples(stack, (), dataset.voxel_size, dataset.voxel_unit, audit)
    dataset = of_class(dataset, class_name, audit, note)
    found = evaluate_counts(
        stack, dataset, metrics, match, crops, seed, lambda share, what: progress(100 * share, 100, f"({what})")
    )
    context = {
        "samples_file": str(samples) if isinstance(samples, Path | str) else None,
        "real": str(dataset.path),
        "real_digest": dataset.digest,
        "species": [asdict(each) for each in dataset.species],
        "voxel_size": dataset.voxel_size,
        "voxel_unit": dataset.voxel_unit,
        "seed": seed,
        **provenance(),
    }
    return found, made, dataset, context
