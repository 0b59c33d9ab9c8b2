"""`dsd generate`: images with exactly the wanted voxels of every phase."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import AsJson, Quiet, emit_written, progress, say, set_quiet
from dsdcli.cli.parse import parse_batch, parse_fractions, parse_pairs, parse_size
from dsdcli.errors import UsageError


def generate(
    model: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="Shipped model, run or model folder, or weights file. Default: the newest run under ./runs, else berea-2d.", show_default=False)] = None,
    porosity: Annotated[float | None, typer.Option(metavar="P", help="Volume fraction of the phase 'pore'.", show_default=False)] = None,
    fraction: Annotated[list[str] | None, typer.Option(metavar="NAME=V", help="Volume fraction of a phase; repeatable. Phases not named share the rest as in the training images.", show_default=False)] = None,
    counts: Annotated[list[str] | None, typer.Option(metavar="NAME=K", help="Voxels of a phase in every sample; repeatable.", show_default=False)] = None,
    like: Annotated[Path | None, typer.Option(metavar="DATASET", help="Draw every sample's counts from a random real crop of this dataset.", show_default=False)] = None,
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=1, help="Number of samples.")] = 16,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the samples in voxels, DxHxW in 3D. Default: that of the training crops.", show_default=False)] = None,
    boundary: Annotated[str | None, typer.Option(metavar="KIND", help="Walls of the samples: noflux, or periodic (opposite sides fit together). Default: as trained.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Leaps of the reverse walk, two network evaluations each; one more decodes. Default: 31.", show_default=False)] = None,
    eta: Annotated[float | None, typer.Option(metavar="X", min=0, help="Share of back-and-forth hops kept: 0 net flux, 1 the full process. Default: 0.", show_default=False)] = None,
    sampler: Annotated[str, typer.Option(metavar="NAME", help="trapezoidal: long leaps. cfl: the published tau-leaping, one hop per particle and step at most; thousands of evaluations, only a yardstick.")] = "trapezoidal",
    batch: Annotated[str, typer.Option(metavar="N", help="Samples computed at a time; changes memory and speed, not the samples. auto: as many as suit the free memory.")] = "auto",
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed. Default: a new one, reported.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to compute: auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Output: .tif, .h5, .npy, or .png for a sheet alone. Default: samples.tif here, or the next free samples-2.tif ...", show_default=False)] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Generate images with exactly the requested voxels of each phase.

    Writes the samples, a PNG sheet and an audit record (JSON) next to each other, and prints the path of the samples.
    Without a request the phases take their volume fractions in the training images.
    """
    set_quiet(quiet)
    fractions = parse_fractions(porosity, fraction or [])
    numbers = parse_pairs("--counts", counts or [], int)
    if like and (fractions or numbers):
        raise UsageError("--like draws the counts from real crops; leave out --porosity, --fraction and --counts")
    if sampler not in ("trapezoidal", "cfl"):
        raise UsageError(f"unknown sampler '{sampler}': use trapezoidal or cfl")
    chosen = {name: value for name, value in (("steps", steps), ("eta", eta)) if value is not None}
    if sampler == "cfl" and chosen:
        raise UsageError("--sampler cfl keeps every hop and finds its own steps; leave out --steps and --eta")
    sides = parse_size(size) if size else None
    at_a_time = parse_batch(batch)

    from dsdcli.data.writers import check_samples_name
    from dsdcli.files import require_folder
    from dsdcli.pipeline.defaults import choose_model, free_name

    if out is not None:
        require_folder(out)
        check_samples_name(out)
    else:
        out = free_name("samples.tif")
    path, remark = choose_model(model)
    if remark:
        say(remark)

    from dsdcli.device import pick_device
    from dsdcli.pipeline.generate import Job, make_totals, run_job
    from dsdcli.sampling.tau_leaping import TauLeaping
    from dsdcli.sampling.trapezoidal import Trapezoidal

    settings = TauLeaping() if sampler == "cfl" else Trapezoidal(**chosen)
    target = pick_device(device)
    job = Job.prepare(path, sides, boundary, settings, seed, at_a_time, target)
    totals = make_totals(job, number, fractions, numbers, like)
    if not (fractions or numbers or like):
        say("no phase requested: taking the volume fractions of the training images (see --porosity, --fraction)")
    with progress("generating", job.evaluations(number)) as update:
        written = run_job(job, totals, out, sys.argv, lambda state: update(state.evaluations))
    say(
        f"{number} samples of {'x'.join(map(str, job.lattice.shape))}, exact counts, seed {job.seed}, "
        f"{written.audit['evaluations_per_sample']} evaluations each, {written.audit['seconds']:.1f} s"
    )
    emit_written(written, as_json)
