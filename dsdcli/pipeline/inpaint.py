"""In-painting: fillings of holes with exact counts, and not one voxel changed outside."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.scan import Labels, Scan, box_mask, disk_mask, doubt_scale, parse_plane, read_mask, read_scan
from dsdcli.data.voxel import sides
from dsdcli.device import free_memory, free_ram, require
from dsdcli.errors import UsageError
from dsdcli.pipeline.audit import audit_record, decoding_record
from dsdcli.pipeline.intensity import inpaint_intensities
from dsdcli.pipeline.intensity_samples import IntensitySamples
from dsdcli.pipeline.job import RECORD, choose_sampler, merge_porosity, pick_seed
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.output import Fillings
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import as_boundary
from dsdcli.sampling.blocks import fitting_batch, peak_bytes
from dsdcli.sampling.counts import resolve_counts
from dsdcli.sampling.generate import generate as draw
from dsdcli.sampling.hole_counts import drawn, kept, shared
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.windows import windows

MARGIN = 32  # voxels around a hole that a window shows at least


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
        sampler, steps, eta, seed, note, progress: as for `dsdcli.pipeline.generate.stream`.
        totals, means, class_name, guidance: of intensities; as for
            `dsdcli.pipeline.intensity.inpaint_intensities`.

    Raises:
        UsageError: a request that cannot be met, or nothing to fill.
        DataError: an image that cannot be used.
    """
    if model.config.species:
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
    chosen = choose_sampler(sampler, steps=steps, eta=eta)
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
    return _fill(model, scan, hole, rows, chosen, seed, progress)


def _hole(mask: np.ndarray, boundary: str) -> Hole:
    if not mask.any():
        raise UsageError("the mask is empty: nothing is to be filled; mark the voxels to fill by non-zero values")
    if mask.all():
        raise UsageError("the mask covers the whole image, so nothing of it is left to fit; use dsd generate instead")
    return Hole(mask.shape, as_boundary(boundary), mask=mask)


def _fill(
    model: LoadedModel,
    scan: Scan,
    hole: Hole,
    totals: np.ndarray,
    sampler: Sampler,
    seed: int,
    progress: Progress,
) -> Fillings:
    """Fill, window by window, and check every voxel.

    Windows around the parts of the hole show as much beyond it as half a training crop, and `MARGIN` at least.

    Args:
        totals: voxels of each phase in each part of the hole, int64 (n, R, K).
    """
    config, names = model.config, [phase.name for phase in scan.phases]
    stack = np.repeat(scan.image[None], len(totals), axis=0)
    decoding: list[list[dict[str, float]]] = [[] for _ in totals]
    began = time.monotonic()
    around = windows(hole, max(MARGIN, max(config.size) // 2), config.architecture.multiple)
    widest = max((window.hole for window in around), key=lambda hole: hole.sites)
    needed = peak_bytes(config, widest, model.device, 1)
    require(needed, free_memory(model.device), f"the surroundings of a hole, {sides(widest.shape)},", "a smaller hole")
    work = np.cumsum([0, *(window.hole.sites for window in around)])
    progress(0, 100, "")
    for number, window in enumerate(around):
        # Each window has a seed of its own, so that equal holes in equal surroundings are not filled alike.
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        wanted, surroundings = totals[:, window.parts - 1], scan.image[window.index]
        batch = min(len(totals), fitting_batch(config, window.hole, model.device, free_memory(model.device)))
        for state in draw(model.network, wanted, window.hole, sampler, own, batch, surroundings):
            for index, decoded in state.finished:
                stack[index][window.index] = decoded.image
                decoding[index].append(decoding_record(decoded))
            share = state.evaluations / state.total if state.total else float(bool(state.finished))
            progress(100 * float((work[number] + share * (work[number + 1] - work[number])) / work[-1]), 100, "")
    seconds = time.monotonic() - began
    samples = [
        _checked(image, scan.image, hole, wanted, names) | {"decoding": how}
        for image, wanted, how in zip(stack, totals, decoding, strict=True)
    ]
    about: dict[str, Any] = {
        "filled_voxels": int(hole.mask.sum()),
        "holes": int(hole.parts.max()),
        "windows": [list(window.hole.shape) for window in around],
    }
    of = scan.phases, scan.voxel_size, scan.voxel_unit
    audit = audit_record(model, hole, sampler, seed, seconds, *of, **about, samples=samples)
    return Fillings(stack, *of, audit, scan.image, hole.mask, scan.unknown)


def _checked(
    image: np.ndarray, original: np.ndarray, hole: Hole, wanted: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """What a filling holds, for the audit record; the counts are those wanted, and nothing else is changed."""
    achieved = [np.bincount(image[hole.parts == r], minlength=len(names)) for r in range(1, len(wanted) + 1)]
    if not np.array_equal(achieved, wanted) or not np.array_equal(image[~hole.mask], original[~hole.mask]):
        raise AssertionError("a filling missed its counts or changed a voxel outside the hole")
    return {
        "requested": dict(zip(names, wanted.sum(0).tolist(), strict=True)),
        "achieved": dict(zip(names, np.sum(achieved, axis=0).tolist(), strict=True)),
        "holes": [dict(zip(names, row.tolist(), strict=True)) for row in achieved],
    }
