"""`dsd train`: learn one model from a dataset, in a run folder that can be resumed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import emit, emit_json, progress, say, set_quiet
from dsdcli.cli.options import AsJson, Device, Quiet
from dsdcli.cli.parse import parse_duration, parse_size
from dsdcli.ranks import ranks_here

DIMENSIONS = {"2d": 2, "3d": 3}
ASKED = (signal.SIGINT, signal.SIGTERM)
ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # the last one: SLURM's warning; Windows has the first two


def train(
    dataset: Annotated[Path | None, typer.Argument(metavar="DATASET", help="Dataset file made by dsd ingest. Default: the newest *.dsd.h5 here.", show_default=False)] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="NAME|PATH", help="Begin with the weights of this model (shipped, run or folder); none: with random ones. Default: of the shipped models with as many phases, the one that foretells held-out crops best.", show_default=False)] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Network size: tiny (CPU), small or base (GPU). Default: tiny on a CPU, small on a GPU.", show_default=False)] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the training crops in voxels; DxHxW makes a 3D model, and 3d one of a size that fits. Default: 64x64, or what structure and images ask for.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser steps. Default: 12000 (tiny), 20000 (small), 50000 (base).", show_default=False)] = None,
    max_time: Annotated[str | None, typer.Option(metavar="TIME", help="Training time after which to stop, such as 90s, 30m or 2h; the learning rate decays over it.", show_default=False)] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", min=1, help="Crops per step. Default: as many as 16 (tiny) or 32 (small, base) of 64x64 have voxels.", show_default=False)] = None,
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="Peak learning rate. Default: 0.002 (tiny), 0.001 (small, base).", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of weights, crops and noise. Default: 0.", show_default=False)] = None,
    boundary: Annotated[str | None, typer.Option(metavar="KIND", help="Walls of the crops: noflux (crops of a larger scan) or periodic (data that repeats). Default: noflux.", show_default=False)] = None,
    precision: Annotated[str | None, typer.Option(metavar="TYPE", help="Arithmetic of the network: float32 or bfloat16. Default: bfloat16 on a GPU, float32 on a CPU.", show_default=False)] = None,
    validate_every: Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps between validations, checkpoints and sample sheets. Default: 500.", show_default=False)] = None,
    condition: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Number of the crops that the model is told, so that dsd generate --target can ask for it: any that dsd evaluate measures on one image, such as interface or diffusivity.grain.x; repeatable.", show_default=False)] = None,
    accumulate: Annotated[int | None, typer.Option(metavar="N", min=1, help="Parts of the crops of a step that pass through the network one after another: less memory, the same training. Default: 1.", show_default=False)] = None,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder. Default: runs/<dataset>-001 and up.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped: that in --out, or named in the place of the dataset (default: the newest under runs/).")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Train a model on a dataset; prints the run folder.

    Ctrl-C, SIGTERM, SIGHUP (a lost connection) and SIGUSR1 (SLURM's warning) save the state and exit; --resume
    continues from there, with the settings of the run (only --steps and --max-time may be changed).

    torchrun --nproc-per-node 8 -m dsdcli train ... trains on eight GPUs, or processes, as on one.
    """
    first = ranks_here().first
    set_quiet(quiet or not first)
    ndim = DIMENSIONS.get((size or "").lower(), 2)
    crops = None if size is None or size.lower() in DIMENSIONS else parse_size(size)
    seconds = None if max_time is None else parse_duration(max_time)

    from dsdcli.pipeline.train import train as run

    with _signals() as signalled, progress("training, " + ("seconds" if seconds else "step")) as update:
        done = run(
            dataset,
            start_from=from_,
            preset=preset,
            size=crops,
            ndim=ndim,
            steps=steps,
            max_seconds=seconds,
            batch=batch,
            lr=lr,
            seed=seed,
            boundary=boundary,
            precision=precision,
            validate_every=validate_every,
            condition=condition,
            accumulate=accumulate,
            device=device,
            out=out,
            resume=resume,
            note=say,
            progress=update,
            stop=lambda: bool(signalled),
        )
    if not first:
        pass
    elif as_json:
        emit_json({**asdict(done), "run": str(done.run), "seconds": round(done.seconds, 1)})
    else:
        emit(str(done.run))
    if signalled or not done.finished:
        say(f"stopped at step {done.step}; go on with: dsd train --resume --out {done.run}")
        raise typer.Exit(128 + (signalled or [signal.SIGTERM])[0])  # this one, where another rank was asked to end


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the signals that ask a process to end instead of dying from them, so that the step in progress can end.

    SIGHUP says that the terminal is gone: what would be said to it is dropped from then on. `nohup` has it ignored.
    """
    caught: list[int] = []
    terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def catch(number: int, frame: object) -> None:
        caught.append(number)
        if number == getattr(signal, "SIGHUP", None):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for terminal in terminals:
                os.dup2(nowhere, terminal)
            os.close(nowhere)

    known = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    previous = {s: signal.signal(s, catch) for s in known if s in ASKED or signal.getsignal(s) != signal.SIG_IGN}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
