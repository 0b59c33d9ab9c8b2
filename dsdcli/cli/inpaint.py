"""`dsd inpaint`: fill a hole in an image with exact counts, and touch nothing outside."""

from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import emit_written, progress, say, set_quiet, until_the_end
from dsdcli.cli.options import AsJson, Device, Model, Quiet, Seed
from dsdcli.cli.parse import parse_box, parse_disk, parse_pairs, parse_phase


def inpaint(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Segmented image: TIFF, HDF5 (file.h5:/path), npy, PNG.")],
    mask: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Image of the same shape: voxels that are not 0 are filled; repeatable.", show_default=False)] = None,
    box: Annotated[list[str] | None, typer.Option(metavar="Y0:Y1,X0:X1", help="Fill a box (Z0:Z1 first in 3D); repeatable.", show_default=False)] = None,
    disk: Annotated[list[str] | None, typer.Option(metavar="Y,X,R", help="Fill a disk (Z first in 3D: a ball); repeatable.", show_default=False)] = None,
    unknown: Annotated[int | None, typer.Option(metavar="LABEL", help="Fill the voxels with this label, which is that of no phase.", show_default=False)] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Fill each hole with the counts that the image has there. The default, unless --unknown.")] = False,
    porosity: Annotated[float | None, typer.Option(metavar="P", help="Volume fraction of the phase 'pore' in the holes.", show_default=False)] = None,
    fraction: Annotated[list[str] | None, typer.Option(metavar="NAME=V", help="Volume fraction of a phase in the holes; repeatable. Phases not named share the rest as in the training images.", show_default=False)] = None,
    counts: Annotated[list[str] | None, typer.Option(metavar="NAME=K", help="Voxels of a phase in all holes together; repeatable.", show_default=False)] = None,
    total: Annotated[list[str] | None, typer.Option(metavar="CHANNEL=N", help="Of intensities: particles of a channel in all holes together; repeatable.", show_default=False)] = None,
    mean: Annotated[list[str] | None, typer.Option(metavar="CHANNEL=V", help="Of intensities: mean count of a channel in the holes; repeatable.", show_default=False)] = None,
    class_name: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Of intensities: class of the fillings.", show_default=False)] = None,
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=1, help="Number of fillings.")] = 16,
    model: Model = None,
    phase: Annotated[list[str] | None, typer.Option(metavar="NAME=LABEL", help="Label of a phase of the model in this image; once per phase. Default: those of the model.", show_default=False)] = None,
    plane: Annotated[str | None, typer.Option("--slice", metavar="[AXIS:]N", help="Plane of a volume to fill, for a 2D model: 120 or z:120, y:120, x:120.", show_default=False)] = None,
    boundary: Annotated[str, typer.Option(metavar="KIND", help="Walls of the image itself: noflux or periodic.")] = "noflux",
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Leaps of the reverse walk, two network evaluations each; one more decodes. Default: 16 for images, 31 for volumes and intensities.", show_default=False)] = None,
    frequencies: Annotated[Path | None, typer.Option(metavar="FILE", help="Write how often each phase takes each voxel, and the entropy of that, as a TIFF.", show_default=False)] = None,
    seed: Seed = None,
    device: Device = "auto",
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Compute on this dask cluster.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Output: .tif, .h5, .npy, or .png for a sheet alone. Default: inpainted.tif here, or the next free inpainted-2.tif ...", show_default=False)] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fill holes in an image with exactly the requested voxels of each phase; nothing outside them is changed.

    Writes the fillings as a stack, a PNG sheet (original, mask, frequency of each phase, fillings) and an audit record
    next to each other, and prints the path of the fillings. Masks, boxes and disks add up. Holes that do not touch
    conserve their own counts; a requested total is shared among them in proportion to their sizes. Unknown voxels are
    filled by default with counts drawn from known places of the image whose surroundings resemble those of the hole.
    """
    set_quiet(quiet)
    named = [parse_phase(text) for text in phase or []]
    boxes, disks = [parse_box(text) for text in box or []], [parse_disk(text) for text in disk or []]
    fractions = parse_pairs("--fraction", fraction or [], float)
    voxels = parse_pairs("--counts", counts or [], int)

    from dsdcli.pipeline.intensity_samples import IntensitySamples
    from dsdcli.pipeline.load import load
    from dsdcli.pipeline.output import check_maps, output, save_maps

    reads = [image, *(mask or [])]
    out = until_the_end(output(out, "inpainted.tif", reads))
    maps = check_maps(frequencies, reads) if frequencies else None
    with progress("filling, percent") as update:
        fillings = load(model, "cpu" if scheduler else device, say).inpaint(
            image,
            number,
            masks=mask or (),
            boxes=boxes,
            disks=disks,
            unknown=unknown,
            keep=keep,
            porosity=porosity,
            fractions=fractions,
            counts=voxels,
            totals=parse_pairs("--total", total or [], int),
            means=parse_pairs("--mean", mean or [], float),
            class_name=class_name,
            phases=named,
            plane=plane,
            boundary=boundary,
            steps=steps,
            seed=seed,
            scheduler=scheduler,
            device=device,
            note=say,
            progress=update,
        )
        written = fillings.save(out)
    if maps and not isinstance(fillings, IntensitySamples):
        save_maps(maps, fillings.frequencies, fillings.phases, written.path)
    audit = written.audit
    say(
        f"{number} fillings of {audit['filled_voxels']} voxels in {audit['holes']} "
        f"{'hole' if audit['holes'] == 1 else 'holes'}, exact counts, nothing else changed, seed {audit['seed']}, "
        f"{audit['seconds']:.1f} s"
    )
    emit_written(written, as_json)
