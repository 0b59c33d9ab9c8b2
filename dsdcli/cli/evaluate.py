"""`dsd evaluate`: how close samples are to real images."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dsdcli.cli.console import emit, emit_json, printable, progress, say, set_quiet
from dsdcli.cli.options import AsJson, Quiet
from dsdcli.cli.parse import parse_pairs, parse_phase
from dsdcli.errors import GateFailed

if TYPE_CHECKING:
    from dsdcli.pipeline.evaluate import Evaluated


def evaluate(
    samples: Annotated[Path | None, typer.Argument(metavar="SAMPLES", help="Samples: .tif, .h5, .npy or a folder of images, from dsd generate or any other source. Default: the newest that dsd generate wrote here.", show_default=False)] = None,
    real: Annotated[Path | None, typer.Option(metavar="FILE", help="Real images: a dataset, or a segmented image. Default: the dataset that the model was trained on, else the newest here.", show_default=False)] = None,
    metrics: Annotated[str, typer.Option(metavar="NAMES", help="fast, all, or names of metrics separated by commas.")] = "all",
    phase: Annotated[list[str] | None, typer.Option(metavar="NAME=LABEL", help="Label of a phase of the real images in the samples; once per phase. Default: by name, by label, else by order.", show_default=False)] = None,
    ignore: Annotated[list[int] | None, typer.Option(metavar="LABEL", help="Leave out the voxels with this label where --real is an image; repeatable.", show_default=False)] = None,
    ignore_mask: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Leave out the voxels that are not 0 in this image of the shape of --real or of one slice; repeatable.", show_default=False)] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Give the real images the voxel size of the samples, if that is the coarser one.")] = False,
    no_match: Annotated[bool, typer.Option("--no-match", help="Compare with crops anywhere, not with those of like volume fractions.")] = False,
    crops: Annotated[int | None, typer.Option(metavar="N", min=1, help="Real crops from each of the two parts. Default: at least 256 and twice the samples, fewer for volumes.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the choice of crops and of the bootstrap.")] = 0,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a report: one page with sheets, curves and the table.", show_default=False)] = None,
    gate: Annotated[list[str] | None, typer.Option(metavar="METRIC=RATIO", help="Exit with code 3 if a ratio is larger, by more than chance; repeatable; all=RATIO for every metric.", show_default=False)] = None,
    class_name: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Compare with this class of a dataset of several materials. Default: that of the samples, if their record says it.", show_default=False)] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out images of a folder that cannot be read, and name them.")] = False,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes. Default: as many as cores, where the work is worth it.", show_default=False)] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Measure on this dask cluster.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to solve for diffusion: cpu, or cuda or auto for large volumes on a GPU.")] = "cpu",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Compare samples with real images that the model never saw.

    Every distance to the held-out slab stands beside the noise floor: the same distance for as many real crops from the
    training slab. The ratio of the two says whether the samples can be told from the real thing.
    """
    set_quiet(quiet)
    gates = parse_pairs("--gate", gate or [], float)
    named = [parse_phase(text) for text in phase or []]

    from dsdcli.pipeline.evaluate import evaluate as run

    with progress("evaluating %") as update:
        done = run(
            samples,
            real,
            phases=named,
            ignore=ignore or (),
            ignore_masks=ignore_mask or (),
            resample=resample,
            metrics=metrics,
            match=not no_match,
            crops=crops,
            seed=seed,
            report=report,
            gates=gates,
            skip_bad=skip_bad,
            class_name=class_name,
            jobs=jobs,
            scheduler=scheduler,
            device=device,
            note=say,
            progress=update,
        )
    if as_json:
        emit_json(done.to_json())
    else:
        _show(done)
    if done.failed:
        raise GateFailed(f"gate failed: {', '.join(done.failed)}")


def _show(done: "Evaluated") -> None:
    from dsdcli.view import table

    say(table.summary(done.found))
    if sys.stdout.isatty():
        table.print_rich([[printable(cell) for cell in row] for row in done.cells()])
    else:
        for line in table.plain(done.cells()):
            emit(line)
    for line in [*table.novelty_lines(done.found), *done.permeabilities()]:
        say(line)
