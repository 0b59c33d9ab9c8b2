"""`dsd train`: learn one model from a dataset, in a run folder that can be resumed."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import AsJson, Quiet, emit, emit_json, progress, say, set_quiet
from dsdcli.cli.parse import parse_duration, parse_size
from dsdcli.errors import DsdError, UsageError


def train(
    dataset: Annotated[Path | None, typer.Argument(metavar="DATASET", help="Dataset file made by dsd ingest. Default: the newest *.dsd.h5 here.", show_default=False)] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="NAME|PATH", help="Start from the weights of this model (shipped, run or folder) instead of random ones.", show_default=False)] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Network size: tiny (CPU), small or base (GPU). Default: tiny on a CPU, small on a GPU.", show_default=False)] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the training crops in voxels; DxHxW makes a 3D model. Default: 64x64.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser steps. Default: 12000 (tiny), 20000 (small), 50000 (base).", show_default=False)] = None,
    max_time: Annotated[str | None, typer.Option(metavar="TIME", help="Training time after which to stop, such as 90s, 30m or 2h; the learning rate decays over it.", show_default=False)] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Crops per step. Default: 16 (tiny), 32 (small, base).", show_default=False)] = None,
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="Peak learning rate. Default: 0.002 (tiny), 0.001 (small, base).", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of weights, crops and noise. Default: 0.", show_default=False)] = None,
    boundary: Annotated[str | None, typer.Option(metavar="KIND", help="Walls of the crops: noflux (crops of a larger scan) or periodic (data that repeats). Default: noflux.", show_default=False)] = None,
    precision: Annotated[str | None, typer.Option(metavar="TYPE", help="Arithmetic of the network: float32 or bfloat16. Default: bfloat16 on a GPU, float32 on a CPU.", show_default=False)] = None,
    validate_every: Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps between validations, checkpoints and sample sheets. Default: 500.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to compute: auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder. Default: runs/<dataset>-001 and up.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out (default: the newest under runs/) where it stopped.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Train a model on a dataset; prints the run folder.

    Ctrl-C and SIGTERM save the state and exit; --resume continues from there, with the settings of the run (only
    --steps and --max-time may be changed).
    """
    set_quiet(quiet)
    given = {
        "preset": preset,
        "size": parse_size(size) if size else None,
        "steps": steps,
        "max_seconds": parse_duration(max_time) if max_time else None,
        "batch": batch,
        "lr": lr,
        "seed": seed,
        "boundary": boundary,
        "precision": precision,
        "validate_every": validate_every,
    }
    given = {name: value for name, value in given.items() if value is not None}

    from dataclasses import replace

    from dsdcli.data.dataset import Dataset
    from dsdcli.device import pick_device
    from dsdcli.network.catalogue import find_model
    from dsdcli.network.checkpoint import load_model
    from dsdcli.network.config import preset as check_preset
    from dsdcli.pipeline.defaults import newest_dataset, newest_run
    from dsdcli.training.recipes import RECIPES, TrainSettings
    from dsdcli.training.run import Run, make_config
    from dsdcli.training.trainer import Trainer

    target = pick_device(device)
    gpu = target.type == "cuda"
    if resume:
        if from_:
            raise UsageError("--resume goes on with a run, --from starts a new one; give one of them")
        folder = out or newest_run()
        if folder is None:
            raise UsageError("--resume: there is no run under ./runs; name one by --out")
        run = Run(folder)
        manifest = run.manifest()
        settings = run.settings()
        changed = [n for n, v in given.items() if n not in ("steps", "max_seconds") and v != getattr(settings, n)]
        if changed:
            raise UsageError(f"--resume keeps the run's settings; leave out {', '.join(changed)} or start a new run")
        settings = replace(settings, **given)
        data = Dataset.open(dataset or Path(manifest["dataset"]["path"]))
        if data.digest != manifest["dataset"]["digest"]:
            raise UsageError(f"{data.path} is not the dataset that {folder} was trained on; its content has changed")
        say(f"resuming {folder} on {data.path}")
    else:
        if dataset is None:
            dataset = newest_dataset()
            if dataset is None:
                raise UsageError("no dataset (*.dsd.h5) in this folder; make one with: dsd ingest IMAGE")
            say(f"dataset: {dataset} (the newest here)")
        data = Dataset.open(dataset)
        defaults = {
            "preset": "small" if gpu else "tiny",
            "size": (64, 64),
            "max_seconds": None,
            "seed": 0,
            "boundary": "noflux",
            "precision": "bfloat16" if gpu else "float32",
        }
        preset = given.get("preset", defaults["preset"])
        check_preset(preset)
        settings = TrainSettings(**{**defaults, **RECIPES[preset], **given})
        for split in ("train", "heldout"):
            _check_crops(data, split, settings.size)
        run = None

    config = make_config(data, settings) if run is None else run.config()
    trainer = Trainer(config, settings, data, target)
    if from_:
        trainer.start_from(load_model(find_model(from_), target))
    if run is None:
        run = Run.create(out, data, config, settings, sys.argv)
    elif run.resumable():
        trainer.restore(run.folder)
        run.trim_log(trainer.step)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    say(
        f"run {run.folder}: {settings.preset} ({parameters / 1e6:.2f} M parameters), crops "
        f"{'x'.join(map(str, settings.size))}, {settings.boundary}, {target.type}, {settings.precision}"
    )
    stopped = _loop(run, trainer)
    result = {
        "run": str(run.folder),
        "step": trainer.step,
        "seconds": round(trainer.seconds, 1),
        "best_validation": None if trainer.best == float("inf") else trainer.best,
        "finished": trainer.finished(),
    }
    if as_json:
        emit_json(result)
    else:
        emit(str(run.folder))
    if stopped:
        say(f"stopped at step {trainer.step}; go on with: dsd train --resume --out {run.folder}")
        raise typer.Exit(128 + stopped)


def _loop(run, trainer) -> int:
    """Drive the trainer: log, checkpoint, show. Returns the number of the signal that ended it, or 0."""
    settings = trainer.settings
    by_time = settings.max_seconds is not None
    total = settings.max_seconds if by_time else settings.steps
    label, before = ("training, seconds", trainer.seconds) if by_time else ("training, step", trainer.step)
    with _signals() as signalled, progress(label, total, before) as update:
        try:
            for report in trainer.run():
                speed = report.step / report.seconds
                done = min(report.seconds, total) if by_time else report.step
                update(done, f"step {report.step} loss {report.mean:.4f} {speed:.2f} steps/s")
                if report.validation is not None:
                    run.log(report)
                    run.checkpoint(trainer, report.best)
                    sheet = run.sheet(trainer)
                    best = " (best)" if report.best else ""
                    say(f"step {report.step}: validation {report.validation:.4f}{best}, {sheet}")
                elif report.step % 50 == 0:
                    run.log(report)
                if signalled:
                    run.checkpoint(trainer, best=False)
                    return signalled[0]
        except FloatingPointError as error:
            raise DsdError(f"training diverged: {error}; lower --lr and resume from the last checkpoint") from error
    return 0


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying from them, so that the step in progress can end."""
    caught: list[int] = []
    previous = {
        s: signal.signal(s, lambda number, frame: caught.append(number)) for s in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_crops(data, split: str, size: tuple[int, ...]) -> None:
    """Fail before training, not during it, if a split cannot give crops of this size."""
    import numpy as np

    data.crops(split, 1, size, np.random.default_rng(0))
