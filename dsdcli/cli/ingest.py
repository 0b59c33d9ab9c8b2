"""`dsd ingest`: segmented images in, one dataset file out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import AsJson, Quiet, emit, say, set_quiet
from dsdcli.errors import UsageError


def ingest(
    sources: Annotated[list[str], typer.Argument(metavar="SRC...", help="TIFF file")],
    phase: Annotated[list[str] | None, typer.Option(metavar="NAME=LABEL", help="Name a label.")] = None,
    pore: Annotated[int | None, typer.Option(metavar="LABEL", help="The label of the pore.")] = None,
    voxel_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Like 5.3um.")] = None,
    axes: Annotated[str | None, typer.Option(metavar="AXES", help="Slices.")] = None,
    downsample: Annotated[int, typer.Option(metavar="K", min=1, help="Coarsen.")] = 1,
    holdout: Annotated[float, typer.Option(metavar="F", help="Share held out.")] = 0.2,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Output.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn segmented images into a dataset."""
    from dsdcli.data.ingest import ingest as run
    from dsdcli.data.voxel import parse_voxel_size

    set_quiet(quiet)
    named = []
    for text in phase or []:
        name, _, label = text.rpartition("=")
        if not name or not label.lstrip("-").isdigit():
            raise UsageError(f"cannot read --phase '{text}'; write NAME=LABEL, like --phase pore=0")
        named.append((name, int(label)))
    voxel = parse_voxel_size(voxel_size) if voxel_size else None
    done = run(
        sources,
        out,
        named=named,
        pore=pore,
        voxel=voxel,
        axes=axes,
        downsample=downsample,
        holdout=holdout,
        argv=sys.argv,
    )
    for remark in done.remarks:
        say(f"note: {remark}")
    emit(str(done.dataset.path))
