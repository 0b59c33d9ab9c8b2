"""Evaluation: samples beside the real images that the model never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.formats import split_inner
from dsdcli.data.phases import relabel
from dsdcli.data.samples import Samples, samples_of
from dsdcli.device import pick_device
from dsdcli.errors import UsageError
from dsdcli.evaluation.cache import Cache
from dsdcli.evaluation.evaluate import Evaluation
from dsdcli.evaluation.evaluate import evaluate as compare
from dsdcli.evaluation.metrics import FAST, INTENSITY, METRICS, VOLUME_ALL
from dsdcli.evaluation.workers import Workers
from dsdcli.files import check_outputs
from dsdcli.moves import settle
from dsdcli.pipeline.defaults import newest_dataset, newest_samples, of_class, recorded_dataset
from dsdcli.pipeline.evaluate_intensity import evaluate_intensities
from dsdcli.pipeline.gates import check_gates, failed_gates
from dsdcli.pipeline.inputs import differences, named_phases, open_real, read_stack, with_voxels_of
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.record import check_seed, provenance
from dsdcli.view import table
from dsdcli.view.report import comparison_table, is_report, write_report

MOST_CROPS = 10**6


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The comparison of samples with real images.

    Attributes:
        found: all numbers; ``found.rows`` is the table.
        context: files, phases, seed and provenance.
        failed: the rows whose ratio is above the limit that a gate set, by more than chance.
    """

    found: Evaluation
    samples: Samples
    dataset: Dataset
    context: dict[str, Any]
    failed: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """As `dsd evaluate --json` prints it."""
        return table.as_json(self.found, self.context)

    def cells(self) -> list[tuple[str, ...]]:
        """The table as text, in the order of `dsdcli.view.table.COLUMNS`."""
        axes, voxel, unit = len(self.found.size), self.dataset.voxel_size, self.dataset.voxel_unit
        return [table.cells(row, axes, voxel, unit) for row in self.found.rows]

    def permeabilities(self) -> list[str]:
        """Lines with the permeabilities in um^2 and mD; none where they, or the voxel size, are not known."""
        return table.permeability_lines(self.found, self.dataset.voxel_size, self.dataset.voxel_unit)

    def report(self, path: Path | str) -> None:
        """Write a page with sheets, curves and the table.

        Raises:
            UsageError: no such folder.
            DsdError: the system could not write.
        """
        write_report(Path(path), self.found, self.samples, self.dataset, self.context)

    def __str__(self) -> str:
        lines = table.summary(self.found), *table.plain(self.cells()), *table.novelty_lines(self.found)
        return "\n".join([*lines, *self.permeabilities()])

    def _repr_html_(self) -> str:
        return comparison_table(self.found, self.dataset)


def evaluate(
    samples: Samples | np.ndarray | Path | str | None = None,
    real: Dataset | Path | str | None = None,
    *,
    phases: Mapping[str, int] | Sequence[tuple[str, int]] = (),
    ignore: Sequence[int] = (),
    ignore_masks: Sequence[Path | str] = (),
    resample: bool = False,
    metrics: str | Sequence[str] = "all",
    match: bool = True,
    crops: int | None = None,
    seed: int = 0,
    report: Path | str | None = None,
    gates: Mapping[str, float] | None = None,
    skip_bad: bool = False,
    class_name: str | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    device: str = "cpu",
    note: Note = silent,
    progress: Progress = unseen,
) -> Evaluated:
    """Compare samples with real images.

    Every distance to the held-out part stands beside the noise floor: the same distance for as many real crops from the
    training part.

    Args:
        samples: samples, their labels (n, *L), or a file or folder of them; by default the newest file here.
        real: a dataset, or a segmented image; by default the dataset that the model was trained on, else the newest.
        phases: labels of phases of the real images in the samples, where these are a file, folder or array.
        ignore, ignore_masks: what is left out of ``real`` where that is an image; see `dsdcli.data.ignored`.
        resample: give the real images the voxel size of the samples, if that is the coarser one.
        metrics: "fast", "all", or names (of `dsdcli.evaluation.metrics.METRICS`).
        match: compare with crops of like volume fractions, not with any.
        crops: real crops from each of the two parts.
        report: write a page with sheets, curves and the table to this file.
        gates: largest ratio by metric ("all" for every one); see `Evaluated.failed`.
        skip_bad: leave out images of a folder that cannot be read.
        class_name: of the real images, in a dataset of several materials; by default that which the record of the
            samples names.
        jobs: processes; by default as many as cores, where the work is worth it.
        scheduler: address of a dask cluster to measure on.
        device: where to solve for diffusion: cpu, cuda or auto.
        note, progress: are told what was assumed, and how far the work is.

    Raises:
        UsageError: a request that contradicts itself, or no such file.
        DataError: samples or real images that cannot be used or compared.
    """
    chosen, _ = choose_metrics(metrics), check_seed(seed)
    if crops is not None and not 1 <= crops <= MOST_CROPS:
        raise UsageError(f"`crops={crops}`: it must lie between 1 and {MOST_CROPS}")
    check_gates(gates or {}, (*chosen, *INTENSITY) if metrics in ("all", "fast") else chosen)
    if samples is None:
        samples = _newest_samples(note)
    path = Path(samples) if isinstance(samples, Path | str) else None
    if report is not None:
        inputs = [source for source in (samples, real, *ignore_masks) if isinstance(source, Path | str)]
        check_outputs([(Path(report), is_report)], [split_inner(str(source))[0] for source in inputs])
    settle(path.parent if path else Path())
    if path and not path.exists():
        raise UsageError(f"there is no samples file {path}; make one with: dsd generate -o {path}")
    dataset = _open_real(real, samples, ignore, [str(mask) for mask in ignore_masks], note)
    if dataset.species:
        if resample or phases:
            raise UsageError("`resample` and `phases` are of segmented images; leave them out")
        wanted = INTENSITY if metrics in ("all", "fast") else chosen
        of = evaluate_intensities(samples, dataset, wanted, match, crops, seed, class_name, note, progress)
        return _reported(Evaluated(*of, failed_gates(gates or {}, of[0])), report, note)
    named = list(phases.items()) if isinstance(phases, Mapping) else list(phases)
    stack = _read(samples, dataset, named, skip_bad, note)
    dataset = of_class(dataset, class_name, stack.audit, note)
    remarks, unfair = differences(stack, dataset)
    resampled = None
    if resample:
        dataset, resampled = with_voxels_of(stack, dataset)
        remarks, unfair = [*remarks, resampled], []
    for line in unfair:
        note(f"WARNING: {line}")
    workers = Workers(jobs, scheduler, device if device == "cpu" else str(pick_device(device)))
    cache = None
    if path:
        partial = Path(f"{path.resolve().stem}.evaluate-partial.jsonl")
        cache = Cache(partial, [phase.name for phase in dataset.phases])
        if cache.found:
            note(f"going on with what an earlier run left in {partial}: {cache.found} measured images")
    try:
        found = compare(
            stack.stack,
            dataset,
            metrics=None if metrics == "all" else chosen,  # which "all" are is known once the samples are
            match=match,
            crops=crops,
            seed=seed,
            workers=workers,
            cache=cache,
            progress=lambda share, what: progress(100 * share, 100, f"({what})"),
        )
    except KeyboardInterrupt:
        if cache and cache.path.exists():
            note(f"what was measured is kept in {cache.path}; the same command goes on from there")
        raise
    for remark in remarks + found.remarks:
        note(f"note: {remark}")
    for line in found.warnings:
        note(f"WARNING: {line}")
    context = {
        "samples_file": str(path) if path else None,
        "real": str(dataset.path),
        "real_digest": dataset.digest,
        "phases": [phase.name for phase in dataset.phases],
        "voxel_size": dataset.voxel_size,
        "voxel_unit": dataset.voxel_unit,
        "resampled": resampled,
        "seed": seed,
        **provenance(),
    }
    result = _reported(Evaluated(found, stack, dataset, context, failed_gates(gates or {}, found)), report, note)
    if cache:
        cache.discard()
    return result


def _reported(result: Evaluated, report: Path | str | None, note: Note) -> Evaluated:
    """The result, with its page written if one is wanted."""
    if report is not None:
        result.report(report)
        note(f"report: {report}")
    return result


def choose_metrics(metrics: str | Sequence[str]) -> tuple[str, ...]:
    """ "fast", "all", or names in a sequence or between commas.

    Raises:
        UsageError: there is no such metric.
    """
    if metrics in ("all", "fast"):
        return VOLUME_ALL if metrics == "all" else FAST
    texts = metrics.split(",") if isinstance(metrics, str) else metrics
    names = tuple(name.strip() for name in texts if name.strip())
    strange = [name for name in names if name not in METRICS]
    if strange or not names:
        raise UsageError(f"there is no metric '{', '.join(strange)}'; there are fast, all, {', '.join(METRICS)}")
    return names


def _newest_samples(note: Note) -> Path:
    path = newest_samples()
    if path is None:
        raise UsageError("no samples in this folder; make some with dsd generate, or name a file: dsd evaluate SAMPLES")
    note(f"samples: {path} (the newest here)")
    return path


def _open_real(
    real: Dataset | Path | str | None,
    samples: Samples | np.ndarray | Path | str,
    ignore: Sequence[int],
    masks: Sequence[str],
    note: Note,
) -> Dataset:
    if isinstance(real, Dataset):
        return real
    phases = None
    if real is not None:
        phases = named_phases(Path(samples)) if isinstance(samples, Path | str) else getattr(samples, "phases", None)
    dataset, remarks = open_real(
        Path(real) if real is not None else _default_real(samples, note), phases, ignore, masks
    )
    for remark in remarks:
        note(f"note: {remark}")
    return dataset


def _default_real(samples: Samples | np.ndarray | Path | str, note: Note) -> Path:
    """The dataset that the samples' model was trained on, else the newest here."""
    trained_on = _recorded_dataset(samples, note)
    if trained_on and Path(trained_on).is_file():
        note(f"real: {trained_on} (the dataset that the model was trained on)")
        return Path(trained_on)
    path = newest_dataset()
    if path is None:
        missing = f"the dataset {trained_on} that the model was trained on is not at hand, and " if trained_on else ""
        raise UsageError(
            f"nothing real to compare with: {missing}there is no dataset here; "
            "make one with dsd ingest IMAGE, or name it (or a segmented image) with `real`"
        )
    note(f"real: {path} (the newest dataset here)")
    return path


def _recorded_dataset(samples: Samples | np.ndarray | Path | str, note: Note) -> str | None:
    if isinstance(samples, Samples):
        return (samples.audit or {}).get("dataset")
    return recorded_dataset(Path(samples).with_suffix(".json"), note) if isinstance(samples, Path | str) else None


def _read(
    samples: Samples | np.ndarray | Path | str,
    dataset: Dataset,
    named: Sequence[tuple[str, int]],
    skip_bad: bool,
    note: Note,
) -> Samples:
    """The samples in the phases of the dataset."""
    if isinstance(samples, np.ndarray):
        return samples_of(samples, relabel(dataset.phases, named))
    if isinstance(samples, Samples):
        return samples.as_phases(dataset.phases)
    stack, warnings = read_stack(Path(samples), dataset.phases, skip_bad, named)
    for line in warnings:
        note(f"WARNING: {line}")
    return stack
