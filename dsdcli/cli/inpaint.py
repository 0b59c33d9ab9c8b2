"""`dsd inpaint`: fill a hole in an image with exact counts, and touch nothing outside."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dsdcli.cli.console import AsJson, Quiet, emit_written, progress, say, set_quiet
from dsdcli.cli.parse import parse_box, parse_disk, parse_fractions, parse_pairs, parse_phase, parse_slice
from dsdcli.errors import UsageError


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
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=1, help="Number of fillings.")] = 16,
    model: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="Shipped model, run or model folder, or weights file. Default: the newest run under ./runs, else berea-2d.", show_default=False)] = None,
    phase: Annotated[list[str] | None, typer.Option(metavar="NAME=LABEL", help="Label of a phase of the model in this image; once per phase. Default: those of the model.", show_default=False)] = None,
    plane: Annotated[str | None, typer.Option("--slice", metavar="[AXIS:]N", help="Plane of a volume to fill, for a 2D model: 120 or z:120, y:120, x:120.", show_default=False)] = None,
    boundary: Annotated[str, typer.Option(metavar="KIND", help="Walls of the image itself: noflux or periodic.")] = "noflux",
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Leaps of the reverse walk, two network evaluations each; one more decodes.")] = 31,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed. Default: a new one, reported.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Where to compute: auto, cpu or cuda.")] = "auto",
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
    fractions = parse_fractions(porosity, fraction or [])
    numbers = parse_pairs("--counts", counts or [], int)
    at = parse_slice(plane) if plane else None
    if keep and (fractions or numbers):
        raise UsageError("--keep takes the counts from the image; leave out --porosity, --fraction and --counts")
    if not (mask or boxes or disks or unknown is not None):
        raise UsageError(
            "nothing says what to fill; give --mask FILE, --box Y0:Y1,X0:X1, --disk Y,X,R or --unknown LABEL"
        )

    from dsdcli.data.writers import check_samples_name
    from dsdcli.device import pick_device
    from dsdcli.files import require_folder
    from dsdcli.pipeline.defaults import choose_model, free_name

    if out is None:
        out = free_name("inpainted.tif")
    require_folder(out)
    check_samples_name(out)
    path, remark = choose_model(model)
    if remark:
        say(remark)
    target = pick_device(device)

    import numpy as np

    from dsdcli.data.scan import box_mask, disk_mask, read_mask, read_scan
    from dsdcli.network.checkpoint import load_model
    from dsdcli.pipeline.generate import Job, pick_seed
    from dsdcli.pipeline.inpaint import make_hole, run_inpaint
    from dsdcli.sampling.counts import resolve_counts
    from dsdcli.sampling.hole_counts import drawn, kept, shared
    from dsdcli.sampling.trapezoidal import Trapezoidal

    network = load_model(path, target)
    config = network.config
    scan = read_scan(image, config.phases, config.ndim, named, at, unknown)
    shape = scan.image.shape
    masks = [read_mask(file, shape, at) for file in mask or []]
    masks += [box_mask(ranges, shape) for ranges in boxes] + [disk_mask(values, shape) for values in disks]
    hole = make_hole(np.logical_or.reduce([scan.unknown, *masks]), boundary)
    job = Job(path, network, hole, Trapezoidal(steps=steps), pick_seed(seed), number)
    parts, phases = hole.parts, len(config.phases)
    if fractions or numbers:
        wanted = resolve_counts(config.phases, int(hole.mask.sum()), fractions, numbers, config.fractions)
        totals = np.tile(shared(wanted, parts), (number, 1, 1))
    elif unknown is not None:
        if keep:
            raise UsageError(
                "--keep cannot know what lies under --unknown voxels; give --fraction, --counts or neither"
            )
        totals = drawn(scan.image, scan.unknown | hole.mask, parts, phases, number, job.seed)
        say("counts drawn from known places with like surroundings (see --fraction, --counts)")
    else:
        totals = np.tile(kept(scan.image, parts, phases), (number, 1, 1))
    with progress("filling, percent", 100) as update:
        written = run_inpaint(job, scan, totals, out, sys.argv, lambda share: update(100 * share))
    say(
        f"{number} fillings of {int(hole.mask.sum())} voxels in {int(parts.max())} "
        f"{'hole' if parts.max() == 1 else 'holes'}, exact counts, nothing else changed, seed {job.seed}, "
        f"{written.audit['seconds']:.1f} s"
    )
    emit_written(written, as_json)
