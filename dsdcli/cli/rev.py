"""`dsd rev`: how representative an image is."""

from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import emit, emit_json, progress, say, set_quiet
from dsdcli.cli.options import AsJson, Quiet
from dsdcli.cli.parse import parse_phase, parse_size


def rev(
    images: Annotated[str | None, typer.Argument(metavar="IMAGE|DATASET", help="Segmented image, folder of slices, or dataset, of which both parts count. Default: the newest dataset here.", show_default=False)] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Measure this too against the size of windows, such as two-point, interface or diffusivity; repeatable.", show_default=False)] = None,
    error: Annotated[float, typer.Option(metavar="E", help="Relative error of a volume fraction (half a 95 % interval over the fraction) that the needed side is for.")] = 0.05,
    crop: Annotated[str | None, typer.Option(metavar="HxW", help="Training crop to judge; DxHxW for 3D models. Default: what dsd train would take.", show_default=False)] = None,
    phase: Annotated[list[str] | None, typer.Option(metavar="NAME=LABEL", help="Name a label of an image; once per label. Repeat a name to merge labels.", show_default=False)] = None,
    pore: Annotated[int | None, typer.Option(metavar="LABEL", help="The label of the pore of an image. Default: the smallest.", show_default=False)] = None,
    axes: Annotated[str | None, typer.Option(metavar="AXES", help="t: a stack is one of independent 2D images. Default: from the file, else one volume.", show_default=False)] = None,
    voxel_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Voxel size of an image, like 5.3um. Default: from the file.", show_default=False)] = None,
    ignore: Annotated[list[int] | None, typer.Option(metavar="LABEL", help="Leave out the voxels of an image with this label; repeatable.", show_default=False)] = None,
    ignore_mask: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Leave out the voxels that are not 0 in this image of the same shape or of one slice; repeatable.", show_default=False)] = None,
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it: .png, .svg or .pdf.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the choice of windows for --metric.")] = 0,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes for --metric. Default: as many as cores, where the work is worth it.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to solve for diffusion: cpu, or cuda or auto for large windows on a GPU.")] = "cpu",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say how representative an image is of its material.

    Of each phase a 95 % interval of the material's volume fraction, from this one image; the integral range, and the
    side that an image needs for a given error; mean and spread against the size of windows; and whether the training
    crop is large enough.
    """
    set_quiet(quiet)
    size = parse_size(crop) if crop else None
    named = [parse_phase(text) for text in phase or []]

    from dsdcli.pipeline.rev import rev as run

    with progress("measuring") as update:
        done = run(
            images,
            metrics=metric or (),
            error=error,
            crop=size,
            phases=named,
            pore=pore,
            axes=axes,
            voxel_size=voxel_size,
            ignore=ignore or (),
            ignore_masks=ignore_mask or (),
            figure=figure,
            seed=seed,
            jobs=jobs,
            device=device,
            note=say,
            progress=update,
        )
    if as_json:
        emit_json(done.to_json())
    else:
        for line in done.lines():
            emit(line)
