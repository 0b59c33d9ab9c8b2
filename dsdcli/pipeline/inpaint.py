"""In-painting: fillings of holes with exact counts, and not one voxel changed outside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.scan import Labels, box_mask, disk_mask, doubt_scale, parse_plane, read_mask, read_scan
from dsdcli.data.voxel import sides
from dsdcli.device import free_ram, require
from dsdcli.errors import UsageError
from dsdcli.pipeline.cluster import Cluster
from dsdcli.pipeline.fill import fill
from dsdcli.pipeline.intensity import inpaint_intensities
from dsdcli.pipeline.intensity_samples import IntensitySamples
from dsdcli.pipeline.job import RECORD, choose_sampler, merge_porosity, pick_seed
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.output import Fillings
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import as_boundary
from dsdcli.sampling.counts import resolve_counts
from dsdcli.sampling.hole_counts import drawn, kept, shared
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.trapezoidal import Trapezoidal


def inpaint(
    model: LoadedModel,
    image: Labels | str | Path,
    n: int = 16,
    *,
    masks: Sequence[np.ndarray | str | Path] = (),
    boxes: Sequence[Sequence[tuple[int, int]]] = (),
    disks: Sequence[Sequence[float]] = (),
    unknown: int | None = None,
    keep: bool = False,
    porosity: float | None = None,
    fractions: Mapping[str, float] | None = None,
    counts: Mapping[str, int] | None = None,
    phases: Mapping[str, int] | Sequence[tuple[str, int]] = (),
    plane: str | int | None = None,
    boundary: str = "noflux",
    sampler: str | Sampler = "trapezoidal",
    steps: int | None = None,
    eta: float | None = None,
    seed: int | None = None,
    totals: Mapping[str, int] | None = None,
    means: Mapping[str, float] | None = None,
    class_name: str | None = None,
    guidance: float | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    note: Note = silent,
    progress: Progress = unseen,
) -> Fillings | IntensitySamples:
    """Fill holes in an image with exactly the requested voxels of each phase; nothing outside them is changed.

    Masks, boxes and disks add up. Holes that do not touch conserve their own counts; a requested total is shared among
    them in proportion to their sizes. Unknown voxels are filled by default with counts drawn from known places of the
    image whose surroundings resemble those of the hole.

    Args:
        image: file, or array of labels.
        n: number of fillings.
        masks: files or arrays of the image's shape: voxels that are not 0 are filled.
        boxes: [low, high) along each axis.
        disks: a centre, then a radius; a ball in 3D.
        unknown: fill the voxels with this label, which is that of no phase.
        keep: fill each hole with the counts that the image has there; the default, unless ``unknown``.
        porosity, fractions, counts: as for `dsdcli.pipeline.generate.stream`, in all holes together.
        phases: label of a phase of the model in this image; by default those of the model.
        plane: of a volume, for a 2D model: 120 or "z:120", "y:120", "x:120".
        boundary: walls of the image itself.
        sampler, steps, eta, seed, device, note, progress: as for `dsdcli.pipeline.generate.stream`.
        scheduler: address of a dask cluster that makes the fillings.
        totals, means, class_name, guidance: of intensities; as for
            `dsdcli.pipeline.intensity.inpaint_intensities`.

    Raises:
        UsageError: a request that cannot be met, or nothing to fill.
        DataError: an image that cannot be used.
    """
    if model.config.species:
        if scheduler is not None:
            raise UsageError("`scheduler` fills segmented images; leave it out for intensities")
        words: dict[str, Any] = {"masks": masks, "boxes": boxes, "disks": disks, "keep": keep, "boundary": boundary}
        words |= {"sampler": sampler, "steps": steps, "eta": eta, "seed": seed, "note": note, "progress": progress}
        words |= {"totals": totals, "means": means, "class_name": class_name, "guidance": guidance}
        words |= {"unknown": unknown is not None, "porosity": porosity is not None, "fractions": fractions}
        words |= {"counts": counts, "phases": phases, "plane": plane is not None}
        return inpaint_intensities(model, image, n, **words)
    if totals or means or class_name:
        raise UsageError("`totals`, `means` and `class_name` fill intensities; this is a model of segmented images")
    wanted, counts = merge_porosity(porosity, fractions), dict(counts or {})
    if keep and (wanted or counts):
        raise UsageError("`keep=True` takes the counts from the image; leave out `porosity`, `fractions` and `counts`")
    if keep and unknown is not None:
        raise UsageError("`keep=True` cannot know what lies under `unknown` voxels; give `fractions` or `counts`")
    if not (len(masks) or len(boxes) or len(disks) or unknown is not None):
        raise UsageError("nothing says what to fill; give `masks`, `boxes`, `disks` or `unknown`")
    config, at, seed = model.config, None if plane is None else parse_plane(plane), pick_seed(seed)
    chosen = choose_sampler(sampler, Trapezoidal.usual(config.ndim).steps, steps=steps, eta=eta)
    named = list(phases.items()) if isinstance(phases, Mapping) else phases
    scan = read_scan(image, config.phases, config.ndim, named, at, unknown)
    shape = scan.image.shape
    read = [read_mask(mask, shape, at) for mask in masks]
    for line in scan.notes:
        note(f"note: {line}")
    doubts = [*doubt_scale(scan, config.voxel_size, config.voxel_unit), *(line for _, lines in read for line in lines)]
    for line in doubts:
        note(f"WARNING: {line}")
    found = [marked for marked, _ in read]
    found += [box_mask(box, shape) for box in boxes] + [disk_mask(disk, shape) for disk in disks]
    if n < 1:
        raise UsageError(f"`n={n}`: at least 1 is needed")
    needed = n * (RECORD + 2 * scan.image.size)  # the fillings, and their labels
    require(needed, free_ram(), f"{n} fillings of {sides(shape)}", "fewer")
    hole = _hole(np.logical_or.reduce([scan.unknown, *found]), boundary)
    parts, number = hole.parts, len(config.phases)
    if wanted or counts:
        whole = resolve_counts(config.phases, int(hole.mask.sum()), wanted, counts, config.fractions)
        rows = np.tile(shared(whole, parts), (n, 1, 1))
    elif unknown is not None:
        rows = drawn(scan.image, scan.unknown | hole.mask, parts, number, n, seed)
        note("counts drawn from known places with like surroundings (see `fractions`, `counts`)")
    else:
        rows = np.tile(kept(scan.image, parts, number), (n, 1, 1))
    cluster = None if scheduler is None else Cluster.at(scheduler, device)
    return fill(model, scan, hole, rows, chosen, seed, cluster, progress)


def _hole(mask: np.ndarray, boundary: str) -> Hole:
    if not mask.any():
        raise UsageError("the mask is empty: nothing is to be filled; mark the voxels to fill by non-zero values")
    if mask.all():
        raise UsageError("the mask covers the whole image, so nothing of it is left to fit; use dsd generate instead")
    return Hole(mask.shape, as_boundary(boundary), mask=mask)
