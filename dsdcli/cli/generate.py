"""`dsd generate`: images with exactly the wanted voxels of every phase."""

from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import emit_written, progress, say, set_quiet, until_the_end
from dsdcli.cli.options import AsJson, Device, Model, Quiet, Seed
from dsdcli.cli.parse import parse_batch, parse_pairs, parse_size
from dsdcli.data.voxel import sides


def generate(
    model: Model = None,
    porosity: Annotated[float | None, typer.Option(metavar="P", help="Volume fraction of the phase 'pore'.", show_default=False)] = None,
    fraction: Annotated[list[str] | None, typer.Option(metavar="NAME=V", help="Volume fraction of a phase; repeatable. Phases not named share the rest as in the training images.", show_default=False)] = None,
    counts: Annotated[list[str] | None, typer.Option(metavar="NAME=K", help="Voxels of a phase in every sample; repeatable.", show_default=False)] = None,
    like: Annotated[Path | None, typer.Option(metavar="DATASET", help="Draw every sample's counts from a random real crop of this dataset.", show_default=False)] = None,
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=1, help="Number of samples.")] = 16,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the samples in voxels, DxHxW in 3D; for a 2D model too, which then makes volumes plane by plane. Default: that of the training crops.", show_default=False)] = None,
    boundary: Annotated[str | None, typer.Option(metavar="KIND", help="Walls of the samples: noflux, or periodic (opposite sides fit together). Default: as trained.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Leaps of the reverse walk, two network evaluations each; one more decodes. Default: 31.", show_default=False)] = None,
    eta: Annotated[float | None, typer.Option(metavar="X", min=0, help="Share of back-and-forth hops kept: 0 net flux, 1 the full process. Default: 0.", show_default=False)] = None,
    sampler: Annotated[str, typer.Option(metavar="NAME", help="trapezoidal: long leaps. cfl: the published tau-leaping, one hop per particle and step at most; thousands of evaluations, only a yardstick.")] = "trapezoidal",
    batch: Annotated[str, typer.Option(metavar="N", help="Samples computed at a time; changes memory and speed, not the samples. auto: as many as suit the free memory.")] = "auto",
    seed: Seed = None,
    device: Device = "auto",
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Output: .tif, .h5, .npy, or .png for a sheet alone. Default: samples.tif here, or the next free samples-2.tif ...", show_default=False)] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Generate images with exactly the requested voxels of each phase.

    Writes the samples, a PNG sheet and an audit record (JSON) next to each other, and prints the path of the samples.
    Without a request the phases take their volume fractions in the training images.
    """
    set_quiet(quiet)
    fractions = parse_pairs("--fraction", fraction or [], float)
    voxels = parse_pairs("--counts", counts or [], int)
    shape, at_a_time = parse_size(size) if size else None, parse_batch(batch)

    from dsdcli.pipeline.load import load
    from dsdcli.pipeline.output import output

    out = until_the_end(output(out, "samples.tif", [like] if like else []))
    loaded = load(model, device, say)
    samples = loaded.stream(
        number,
        porosity=porosity,
        fractions=fractions,
        counts=voxels,
        like=like,
        size=shape,
        boundary=boundary,
        sampler=sampler,
        steps=steps,
        eta=eta,
        batch=at_a_time,
        seed=seed,
        note=say,
    )
    with progress("generating") as samples.progress:
        written = samples.save(out)
    audit = written.audit
    say(
        f"{number} samples of {sides(audit['size'])}, exact counts, seed {audit['seed']}, "
        f"{audit['evaluations_per_sample']} evaluations each, {audit['seconds']:.1f} s"
    )
    emit_written(written, as_json)
