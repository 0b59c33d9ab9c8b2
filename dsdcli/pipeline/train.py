"""Training: from a dataset to a run folder that can be resumed."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dsdcli.data.dataset import Dataset
from dsdcli.data.split import independent_images
from dsdcli.data.voxel import sides
from dsdcli.device import free_memory, pick_device, require
from dsdcli.errors import DsdError, UsageError
from dsdcli.evaluation.representative import doubt_fractions
from dsdcli.network.catalogue import MANIFEST
from dsdcli.network.config import ModelConfig
from dsdcli.network.config import preset as architecture_of
from dsdcli.pipeline.defaults import default_dataset, newest_run
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.pipeline.properties import measured_bank
from dsdcli.pipeline.trial import draw_like, draw_sheet
from dsdcli.process.lattice import as_boundary
from dsdcli.ranks import Ranks, connected, own_device, ranks_here
from dsdcli.training.intensity import make_counts_config, trainer_of
from dsdcli.training.kindred import choose_start, start_again
from dsdcli.training.lock import locked
from dsdcli.training.log import LOG
from dsdcli.training.recipes import TrainSettings, choose_settings, step_bytes
from dsdcli.training.run import Run, make_config
from dsdcli.training.told import Bank
from dsdcli.training.trainer import Report, Trainer

LOG_EVERY = 50


@dataclass(frozen=True)
class Trained:
    """A run folder, and how far its training went."""

    run: Path
    step: int
    seconds: float
    best_validation: float | None
    finished: bool


def train(
    dataset: Dataset | Path | str | None = None,
    *,
    start_from: Path | str | None = None,
    preset: str | None = None,
    size: Sequence[int] | None = None,
    ndim: int = 2,
    steps: int | None = None,
    max_seconds: float | None = None,
    batch: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    boundary: str | None = None,
    precision: str | None = None,
    validate_every: int | None = None,
    condition: Sequence[str] | None = None,
    accumulate: int | None = None,
    device: str = "auto",
    out: Path | str | None = None,
    resume: bool = False,
    note: Note = silent,
    progress: Progress = unseen,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a model on a dataset, or go on with a run; None takes the default for the network and the device, and of a
    run that is resumed what it was started with.

    Where `torchrun` has started several processes, they train one model together, as one process would; the first one
    speaks and writes.

    Args:
        dataset: by default the newest here.
        start_from: begin with the weights of this model (shipped, run or folder), or "none": with random ones. By
            default with those of the shipped model that foretells held-out crops best, if one has as many phases.
        preset: tiny (the default on a CPU), small (on a GPU) or base.
        size: sides of the training crops in voxels, such as (64, 64); three make a 3D model.
        ndim: dimension of the model where ``size`` does not say it.
        condition: numbers that the model is told of every crop, as `dsdcli.evaluation.quantity.Quantity.of` names them:
            the samples may then be asked for them, by ``target``.
        accumulate: parts of a step's crops that pass through the network one after another: less memory, the same
            training.
        max_seconds: training time after which to stop, if sooner than ``steps``.
        out: run folder; by default runs/<dataset>-001 and up.
        resume: go on with the run in ``out``, or in the place of the dataset (by default the newest under ./runs),
            where it stopped, with its settings: only ``steps`` and ``max_seconds`` may be changed.
        note, progress: are told what was picked and validated, and how far the training is.
        stop: asked after every step; where it says yes, on any of several processes, the state is saved and the
            training ends.

    Raises:
        UsageError: a request that contradicts itself, or no such dataset, model or run.
        DataError: the dataset is unreadable, holds a single phase or is smaller than the crops.
        DsdError: the training diverged, or a file could not be written.
    """
    given = {
        "preset": preset,
        "size": None if size is None else tuple(size),
        "steps": steps,
        "max_seconds": max_seconds,
        "batch": batch,
        "lr": lr,
        "seed": seed,
        "boundary": as_boundary(boundary) if boundary else None,
        "precision": precision,
        "validate_every": validate_every,
        "condition": tuple(condition) if condition else None,
        "accumulate": accumulate,
    }
    given = {name: value for name, value in given.items() if value is not None}
    folder, ranks = None if out is None else Path(out), ranks_here()
    target = own_device(pick_device(device), ranks)
    if not ranks.first:
        note, progress = silent, unseen
    with connected(ranks, target), contextlib.ExitStack() as held:
        with ranks.together():
            if resume:
                if start_from is not None:
                    raise UsageError("`resume=True` goes on with a run, `start_from` starts a new one; give one")
                run, data, settings = _resumed(folder, dataset, given, note)
            else:
                run, (data, settings) = None, _started(dataset, given, ndim, target, ranks, note)
        measured = ranks.once(functools.partial(measured_bank, data, settings, note, progress))
        with ranks.together():
            bank = measured if ranks.first else measured_bank(data, settings)  # which the first has left on disk
            config = run.config() if run else _config(data, settings, bank)
            trainer = trainer_of(config)(config, settings, data, target, ranks, bank)
            begun_with = None if resume else choose_start(trainer, start_from)
            if begun_with is not None:
                note(begun_with.said(config))
        if run is None:
            run = ranks.once(lambda: Run.create(folder, data, config, settings, begun_with and begun_with.manifest()))
            run = Run(Path(ranks.text_of_first(str(run.folder if run else ""))))
        ranks.once(lambda: held.enter_context(locked(run.folder)))
        if resume:
            with ranks.together():
                _restore(run, trainer, note)
        parameters = sum(p.numel() for p in trainer.model.parameters())
        workers = f"{ranks.count} x {target.type}" if ranks.count > 1 else target.type
        note(
            f"run {run.folder}: {settings.preset} ({parameters / 1e6:.2f} M parameters), crops "
            f"{sides(settings.size)}, {settings.batch} a step, {settings.boundary}, {workers}, {settings.precision}"
        )
        _drive(run, trainer, note, progress, stop)
    best = None if trainer.best == float("inf") else trainer.best
    return Trained(run.folder, trainer.step, trainer.seconds, best, trainer.finished())


def _config(dataset: Dataset, settings: TrainSettings, bank: Bank | None) -> ModelConfig:
    """The model of a new run."""
    if dataset.species:
        return make_counts_config(dataset, settings)
    return replace(make_config(dataset, settings), properties=bank.properties if bank else ())


def _restore(run: Run, trainer: Trainer, note: Note) -> None:
    """Go on from the last checkpoint, or begin anew where a run was ended before its first one."""
    begun_with = run.manifest().get("start_from")
    unreadable = run.restore(trainer)
    if unreadable:
        note(f"note: dropped {unreadable} torn or garbled lines of {run.folder / LOG}")
    if not run.resumable():
        note(f"note: {run.folder} was ended before its first checkpoint; it begins anew")
        start_again(trainer, begun_with)


def _started(
    dataset: Dataset | Path | str | None,
    given: dict[str, Any],
    ndim: int,
    device: torch.device,
    ranks: Ranks,
    note: Note,
) -> tuple[Dataset, TrainSettings]:
    """The dataset and the settings of a new run."""
    data = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset or default_dataset(note))
    settings, notes = choose_settings(data, given, device.type == "cuda", ndim)
    what = f"training steps of {settings.batch} crops of {sides(settings.size)}"
    needed = step_bytes(architecture_of(settings.preset, len(settings.size)), settings, data, ranks.count)
    needed *= ranks.here if device.type == "cpu" else 1
    require(needed, free_memory(device), what, "`accumulate`, a smaller `size` or `batch`")
    # Of large ones ingest has said it.
    for material in () if data.species or not data.in_memory else data.materials:
        notes += doubt_fractions(independent_images(material), [phase.name for phase in data.phases])
    for line in notes:
        note(f"note: {line}")
    return data, settings


def _resumed(
    folder: Path | None, dataset: Dataset | Path | str | None, given: dict[str, Any], note: Note
) -> tuple[Run, Dataset, TrainSettings]:
    if folder is None and isinstance(dataset, Path | str) and (Path(dataset) / MANIFEST).is_file():
        folder, dataset = Path(dataset), None  # a run that is named in the place of its dataset
    folder = folder or newest_run()
    if folder is None:
        raise UsageError("`resume=True`: there is no run under ./runs; name one by `out`")
    run = Run(folder)
    manifest = run.manifest()
    settings = run.settings()
    changed = [n for n, v in given.items() if n not in ("steps", "max_seconds") and v != getattr(settings, n)]
    if changed:
        raise UsageError(f"`resume=True` keeps the run's settings; leave out {', '.join(changed)} or start a new run")
    data = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset or Path(manifest["dataset"]["path"]))
    if data.digest != manifest["dataset"]["digest"]:
        raise UsageError(f"{data.path} is not the dataset that {folder} was trained on; its content has changed")
    note(f"resuming {folder} on {data.path}")
    return run, data, replace(settings, **given)


def _drive(run: Run, trainer: Trainer, note: Note, progress: Progress, stop: Callable[[], bool]) -> None:
    """Train to the end, or until told to stop: log, checkpoint, draw."""
    limit, steps, ranks = trainer.settings.max_seconds, trainer.settings.steps, trainer.ranks
    progress(trainer.seconds if limit else trainer.step, limit or steps, "")
    try:
        for report in trainer.run():
            speed = report.step / report.seconds
            done = min(report.seconds, limit) if limit else report.step
            progress(done, limit or steps, f"step {report.step} loss {report.median:.4f} {speed:.2f} steps/s")
            if report.validation is not None:
                ranks.once(functools.partial(_keep, run, trainer, report, note))
            elif report.step % LOG_EVERY == 0:
                ranks.once(functools.partial(run.log, report))
            if ranks.any(stop()):
                ranks.once(lambda: run.checkpoint(trainer, best=False))
                return
    except FloatingPointError as error:  # on all ranks
        with ranks.together():
            raise DsdError(f"training diverged: {error}; lower `lr` and resume from the last checkpoint") from error
    draw = functools.partial(draw_like, stop=stop)
    note("finishing the best weights: what is beside known voxels, round trips of training crops, and samples")
    seed = trainer.settings.seed
    ranks.once(lambda: run.calibrate(trainer.dataset, trainer.device, seed, trainer.step, stop, draw))


def _keep(run: Run, trainer: Trainer, report: Report, note: Note) -> None:
    """What a validation leaves on disk."""
    run.log(report)
    run.checkpoint(trainer, report.best)
    note(_validated(report, draw_sheet(trainer, run.sheet(report.step))))


def _validated(report: Report, sheet: Path) -> str:
    return f"step {report.step}: validation {report.validation:.4f}{' (best)' if report.best else ''}, {sheet}"
