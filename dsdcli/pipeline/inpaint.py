"""An in-painting job: fillings of a hole with exact counts, and not one voxel changed outside."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.scan import Scan
from dsdcli.device import free_memory
from dsdcli.errors import UsageError
from dsdcli.pipeline.generate import Job, Written, audit_record, decoding_record, write_all
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Boundary
from dsdcli.sampling.blocks import fitting_batch
from dsdcli.sampling.generate import generate
from dsdcli.sampling.windows import Window, windows
from dsdcli.view.sheet import write_filling_sheet

SHEET_FILLINGS = 30


def make_hole(mask: np.ndarray, boundary: Boundary) -> Hole:
    """The hole that a mask makes in an image.

    Raises:
        UsageError: the mask is empty, or leaves nothing outside.
    """
    if not mask.any():
        raise UsageError("the mask is empty: nothing is to be filled; mark the voxels to fill by non-zero values")
    if mask.all():
        raise UsageError("the mask covers the whole image, so nothing of it is left to fit; use dsd generate instead")
    return Hole(mask.shape, boundary, mask=mask)


def make_windows(job: Job) -> list[Window]:
    """Windows around the parts of the job's hole; they show as much beyond it as half a training crop."""
    config = job.model.config
    return windows(job.lattice, max(config.size) // 2, config.architecture.multiple)


def run_inpaint(
    job: Job, scan: Scan, totals: np.ndarray, out: Path, argv: list[str], on_progress: Callable[[float], None]
) -> Written:
    """Fill, check every voxel, and write fillings, sheet and audit record; nothing is written before all is done.

    Args:
        job: its lattice is the hole in the image.
        totals: voxels of each phase in each part of the hole, int64 (n, R, K).
        on_progress: is told the share that is done, 0 to 1.

    Raises:
        DsdError: a file could not be written.
    """
    hole, names = job.lattice, [phase.name for phase in scan.phases]
    stack = np.repeat(scan.image[None], len(totals), axis=0)
    decoding: list[list[dict[str, float]]] = [[] for _ in totals]
    began = time.monotonic()
    around = make_windows(job)
    device = next(job.model.parameters()).device
    work = np.cumsum([0, *(window.hole.sites for window in around)])
    for number, window in enumerate(around):
        # Each window has a seed of its own, so that equal holes in equal surroundings are not filled alike.
        seed = int(np.random.SeedSequence([job.seed, number]).generate_state(1)[0])
        wanted, surroundings = totals[:, window.parts - 1], scan.image[window.index]
        batch = min(job.batch, fitting_batch(job.model.config, window.hole, device, free_memory(device)))
        for state in generate(job.model, wanted, window.hole, job.settings, seed, batch, surroundings):
            for index, decoded in state.finished:
                stack[index][window.index] = decoded.image
                decoding[index].append(decoding_record(decoded))
            share = state.evaluations / state.total
            on_progress((work[number] + share * (work[number + 1] - work[number])) / work[-1])
    seconds = time.monotonic() - began
    samples = []
    for image, wanted, how in zip(stack, totals, decoding, strict=True):
        achieved = [np.bincount(image[hole.parts == r], minlength=len(names)) for r in range(1, len(wanted) + 1)]
        if not np.array_equal(achieved, wanted) or not np.array_equal(image[~hole.mask], scan.image[~hole.mask]):
            raise AssertionError("a filling missed its counts or changed a voxel outside the hole")
        samples.append(
            {
                "requested": dict(zip(names, wanted.sum(0).tolist(), strict=True)),
                "achieved": dict(zip(names, np.sum(achieved, axis=0).tolist(), strict=True)),
                "holes": [dict(zip(names, row.tolist(), strict=True)) for row in achieved],
                "decoding": how,
            }
        )
    about: dict[str, Any] = {
        "filled_voxels": int(hole.mask.sum()),
        "holes": int(hole.parts.max()),
        "windows": [list(window.hole.shape) for window in around],
    }
    phases = scan.phases
    audit = audit_record(job, out, argv, seconds, phases, scan.voxel_size, scan.voxel_unit, samples, **about)
    draw = partial(
        write_filling_sheet,
        original=scan.image,
        mask=hole.mask,
        unknown=scan.unknown,
        fillings=stack,
        phases=phases,
        shown=SHEET_FILLINGS,
    )
    return write_all(out, stack, phases, audit, draw)
