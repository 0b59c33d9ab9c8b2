"""Filling holes window by window, here or on a cluster, every voxel checked."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dsdcli.data.scan import Scan
from dsdcli.data.voxel import sides
from dsdcli.device import free_memory, pick_device, require
from dsdcli.pipeline.audit import audit_record, decoding_record
from dsdcli.pipeline.cluster import Cluster, hand_out
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.output import Fillings
from dsdcli.pipeline.progress import Progress
from dsdcli.process.hole import Hole
from dsdcli.process.image import Decoded
from dsdcli.sampling.blocks import fitting_batch, peak_bytes
from dsdcli.sampling.generate import generate
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.windows import Window, windows

MARGIN = 32  # voxels around a hole that a window shows at least


@dataclass(frozen=True, eq=False)
class _Job:
    """All that a window is filled by; can be sent to a worker.

    Attributes:
        totals: voxels of each phase in each part of the hole, int64 (n, R, K).
        seeds: each window has one of its own, so that equal holes in equal surroundings are not filled alike.
    """

    model: LoadedModel
    image: np.ndarray
    totals: np.ndarray
    sampler: Sampler
    windows: Sequence[Window]
    seeds: Sequence[int]
    device: str

    def fill(
        self, number: int, members: range, batch: int, share: Callable[[float], None]
    ) -> Iterator[tuple[int, Decoded]]:
        """These fillings of a window; the share of them that is done is told."""
        window = self.windows[number]
        wanted, around = self.totals[members.start : members.stop, window.parts - 1], self.image[window.index]
        network, seed = self.model.network, self.seeds[number]
        for state in generate(network, wanted, window.hole, self.sampler, seed, batch, around, members):
            yield from state.finished
            share(state.evaluations / state.total if state.total else float(bool(state.finished)))


def fill(
    model: LoadedModel,
    scan: Scan,
    hole: Hole,
    totals: np.ndarray,
    sampler: Sampler,
    seed: int,
    cluster: Cluster | None,
    progress: Progress,
) -> Fillings:
    """Fill, window by window, and check every voxel.

    Windows around the parts of the hole show as much beyond it as half a training crop, and `MARGIN` at least.

    Args:
        totals: voxels of each phase in each part of the hole, int64 (n, R, K).
        cluster: where to compute; here if None.
    """
    config, names, began = model.config, [phase.name for phase in scan.phases], time.monotonic()
    around = windows(hole, max(MARGIN, max(config.size) // 2), config.architecture.multiple)
    device = torch.device(cluster.device) if cluster else model.device
    widest = max((window.hole for window in around), key=lambda hole: hole.sites)
    free = cluster.free if cluster else free_memory(device)
    what = f"the surroundings of a hole, {sides(widest.shape)},"
    require(peak_bytes(config, widest, device, 1), free, what, "a smaller hole")
    seeds = [int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) for number in range(len(around))]
    job = _Job(model, scan.image, totals, sampler, around, seeds, device.type)
    stack = np.repeat(scan.image[None], len(totals), axis=0)
    decoding: list[list[dict[str, float]]] = [[{} for _ in around] for _ in totals]
    for number, index, decoded in _filled_on(cluster, job, progress) if cluster else _filled_here(job, progress):
        stack[index][around[number].index] = decoded.image
        decoding[index][number] = decoding_record(decoded)
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
    return Fillings(stack, *of, audit | {"device": str(device)}, scan.image, hole.mask, scan.unknown)


def _filled_here(job: _Job, progress: Progress) -> Iterator[tuple[int, int, Decoded]]:
    """Window, index and content of every filling; ``progress`` is told percents."""
    work, members, device = np.cumsum([0, *_sites(job)]), range(len(job.totals)), job.model.device
    progress(0, 100, "")
    for number, window in enumerate(job.windows):
        batch = min(len(members), fitting_batch(job.model.config, window.hole, device, free_memory(device)))

        def share(done: float, number: int = number) -> None:
            progress(100 * float((work[number] + done * (work[number + 1] - work[number])) / work[-1]), 100, "")

        for index, decoded in job.fill(number, members, batch, share):
            yield number, index, decoded


def _filled_on(cluster: Cluster, job: _Job, progress: Progress) -> Iterator[tuple[int, int, Decoded]]:
    """The same on a cluster, all of whose threads get some of a window."""
    work, device, tasks = _sites(job), torch.device(cluster.device), []
    for number, window in enumerate(job.windows):
        batch = fitting_batch(job.model.config, window.hole, device, cluster.free)
        batch = min(batch, -(-len(job.totals) // cluster.threads))
        every = range(len(job.totals))
        tasks += [(number, every[at : at + batch]) for at in range(0, len(every), batch)]
    total, done = sum(work) * len(job.totals), 0
    progress(0, 100, "")
    resting = replace(job, model=job.model.on(torch.device("cpu")))
    for number, filled in hand_out(cluster, _fill, resting, tasks):
        yield from ((number, index, decoded) for index, decoded in filled)
        done += work[number] * len(filled)
        progress(100 * done / total, 100, "")


def _fill(job: _Job, number: int, members: range) -> tuple[int, list[tuple[int, Decoded]]]:
    """Some fillings of a window, on a worker."""
    here = replace(job, model=job.model.on(pick_device(job.device)))
    return number, list(here.fill(number, members, len(members), lambda share: None))


def _sites(job: _Job) -> list[int]:
    return [window.hole.sites for window in job.windows]


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
