"""Properties of training crops, measured once: what a model of them is told, and may be asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.errors import UsageError
from dsdcli.evaluation.cache import Cache
from dsdcli.evaluation.quantity import Quantity
from dsdcli.evaluation.workers import Workers, measure_all
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.told import Bank, bank_crops, validation_crops


def measured_beside(dataset: Dataset) -> Path:
    """Where what was measured on crops of a dataset is kept: beside its file, which stays as it is."""
    return dataset.path.with_name(dataset.path.name + ".measured")


def check_condition(names: Sequence[str], dataset: Dataset, axes: int) -> list[Quantity]:
    """The quantities of these names, of crops with so many axes.

    Raises:
        UsageError: there is no such quantity, or one is named twice.
    """
    twice = [name for name in names if list(names).count(name) > 1]
    if twice:
        raise UsageError(f"`condition={twice[0]}` is given twice; once is enough")
    return [Quantity.of(name, [phase.name for phase in dataset.phases], axes) for name in names]


def measured_bank(
    dataset: Dataset, settings: TrainSettings, note: Note = silent, progress: Progress = unseen
) -> Bank | None:
    """The bank of a run whose model is told properties; None for one that is told none.

    What was measured before, for this or another run, is read from the file beside the dataset, and what is measured
    now is added there.

    Raises:
        UsageError: there is no such quantity, or crops do not differ in it.
    """
    if not settings.condition:
        return None
    if dataset.species:
        raise UsageError("`condition` is of segmented images, and these are intensities; leave it out")
    quantities = check_condition(settings.condition, dataset, len(settings.size))
    crops, kinds = bank_crops(dataset, settings.size, settings.seed)
    heldout, _ = validation_crops(dataset, settings.size, np.random.default_rng(0))
    images = [*crops, *heldout]
    path, names = measured_beside(dataset), [phase.name for phase in dataset.phases]
    cache = Cache(path, names)
    metrics, wanted = sorted({quantity.metric for quantity in quantities}), ", ".join(settings.condition)
    if missing := sum(cache.lookup(image, metrics) is None for image in images):
        note(f"measuring {wanted} on {missing} crops, once; kept in {path}")
    else:
        note(f"{wanted} of {len(images)} crops: measured before, from {path}")

    def counted(done: int, total: int) -> None:
        progress(done, total, "crops measured")

    vectors = measure_all(
        images,
        names,
        metrics,
        Workers(),
        cache,
        counted,
    )
    cache.write()
    values = np.array([[quantity.summary(found, len(settings.size)) for quantity in quantities] for found in vectors])
    return Bank.of(settings.condition, crops, kinds, values[: len(crops)], values[len(crops) :])
