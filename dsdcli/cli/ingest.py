"""`dsd ingest`: segmented images in, one dataset file out."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import emit, emit_json, say, set_quiet
from dsdcli.cli.options import AsJson, Quiet, as_options
from dsdcli.cli.parse import parse_phase, parse_size
from dsdcli.view import text


def ingest(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC",
            help="Image: TIFF, HDF5 (file.h5:/path), MATLAB, NumPy, NRRD, MetaImage, NIfTI, Amira, VTK, Zarr, PNG, "
            "raw voxels, or a folder of slices.",
        ),
    ],
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LABEL",
            help="Name a label; once per label. Repeat a name to merge labels.",
            show_default=False,
        ),
    ] = None,
    pore: Annotated[
        int | None,
        typer.Option(metavar="LABEL", help="The label of the pore. Default: the smallest.", show_default=False),
    ] = None,
    voxel_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Voxel size of the source, like 5.3um. Default: from the file.", show_default=False
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="AXES",
            help="Volume: axes across which slices are cut (z, or zyx where all directions are alike). "
            "t: the source is a stack of independent 2D images. Default: from the file, else z.",
            show_default=False,
        ),
    ] = None,
    downsample: Annotated[
        int,
        typer.Option(
            metavar="K",
            help="Coarsen blocks of K voxels by majority; of tied phases the block's first wins. With --intensity "
            "blocks hold the particles of all their voxels.",
        ),
    ] = 1,
    ignore: Annotated[
        list[int] | None,
        typer.Option(
            metavar="LABEL",
            help="Leave out the voxels with this label, such as those outside the field of view; repeatable.",
            show_default=False,
        ),
    ] = None,
    ignore_mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="LabelledImage of the shape of the source or of one slice: voxels that are not 0 are left out; repeatable.",
            show_default=False,
        ),
    ] = None,
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class of a source, once per source and in their order, for one model of several materials.",
            show_default=False,
        ),
    ] = None,
    intensity: Annotated[
        bool,
        typer.Option(
            "--intensity", help="The values are counts of particles, of one species a channel, and no labels of phases."
        ),
    ] = False,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With --intensity: name of a channel, once for each and in their order. Default: intensity, or "
            "channel1, channel2, ...",
            show_default=False,
        ),
    ] = None,
    levels: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --intensity: requantise to 0 .. N - 1.", show_default=False),
    ] = None,
    largest: Annotated[
        int | None,
        typer.Option(
            "--max",
            metavar="V",
            help="With --intensity: the most that a voxel can hold. Default: the largest value of each channel.",
            show_default=False,
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            metavar="F",
            help="Share kept from training, to judge by: the last slices, images or rows. Default: 0.2, or up to a "
            "third where crops need it.",
            show_default=False,
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="ZxYxX",
            help="Shape of raw voxels. Default: from the file name, where x comes first.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="Type of raw voxels, like uint8. Default: from the name and size of the file.",
            show_default=False,
        ),
    ] = None,
    offset: Annotated[int, typer.Option(metavar="BYTES", min=0, help="Bytes before the voxels of a raw file.")] = 0,
    endian: Annotated[
        str, typer.Option(metavar="ORDER", help="Byte order of raw voxels of several bytes: little or big.")
    ] = "little",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Dataset to write. Default: <source>.dsd.h5 here.", show_default=False
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn segmented images, or intensities, into a dataset; prints its path.

    The labels found, and what was assumed about them, are shown on stderr. An existing dataset is replaced if -o
    names it, or if it was made from the same source; no other file is.
    """
    set_quiet(quiet)
    from dsdcli.pipeline.describe import describe_dataset
    from dsdcli.pipeline.ingest import ingest as run

    done = run(
        sources,
        out,
        phases=[parse_phase(pair) for pair in phase or []],
        pore=pore,
        voxel_size=voxel_size,
        axes=axes,
        downsample=downsample,
        holdout=holdout,
        shape=None if shape is None else parse_size(shape),
        dtype=dtype,
        offset=offset,
        endian=endian,
        ignore=ignore or [],
        ignore_masks=ignore_mask or [],
        classes=class_name or [],
        intensity=intensity,
        channels=channel or [],
        levels=levels,
        largest=largest,
    )
    about = describe_dataset(done.dataset)
    rows = [[str(f.label), f.name, f"{f.fraction:.4f}", str(f.voxels)] for f in done.labels]
    for line in text.species_table(about) if intensity else text.table(["label", "phase", "fraction", "voxels"], rows):
        say(line)
    if about["ignored"]:
        total = about["ignored"] + int(done.dataset.counts().sum())
        say(f"left out {about['ignored']} voxels, {100 * about['ignored'] / total:.1f} %")
    size = text.voxel(about) + (f" after --downsample {downsample}" if downsample > 1 else "")
    source = done.dataset.provenance["voxel_size_source"]
    say(f"train {text.images(about['images']['train'])}; held out {text.images(about['images']['heldout'])}")
    say(f"{text.slices(about['slice_axes'])}; voxel size {size} ({source or 'not found'})")
    for note in done.notes:
        say(f"note: {note}")
    for warning in done.warnings:
        say(f"WARNING: {warning}")
    if as_json:
        notes, warnings = (list(map(as_options, lines)) for lines in (done.notes, done.warnings))
        emit_json({**about, "labels": [asdict(f) for f in done.labels], "notes": notes, "warnings": warnings})
    else:
        emit(str(done.dataset.path))
