"""Drawing samples of a job, batch by batch, each checked against its order before it is handed out."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsdcli.data.phases import Phase, to_labels
from dsdcli.pipeline.audit import decoding_record
from dsdcli.pipeline.job import Job
from dsdcli.pipeline.order import Order
from dsdcli.pipeline.progress import Progress, unseen
from dsdcli.pipeline.walks import WalkFile
from dsdcli.process.image import Decoded
from dsdcli.sampling.generate import Progress as State
from dsdcli.sampling.generate import generate, sample_seed
from dsdcli.sampling.sweeps import PlaneSweeps, sweep


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a job; ``numpy.asarray`` gives its labels (*L).

    Attributes:
        index: its number in the job, which with the job's seed decides it.
        image: phase indices uint8 (*L).
        record: its entry in the audit record: seed, counts requested and achieved, how far the decoding went.
        evaluations: of the network, each for the whole batch that it came in.
        seconds: its share of the time that the batch took.
    """

    index: int
    image: np.ndarray
    phases: tuple[Phase, ...]
    record: dict[str, Any]
    evaluations: int = 0
    seconds: float = 0.0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        labels = to_labels(self.image, self.phases)
        return labels if dtype is None else labels.astype(dtype)


def draw(
    job: Job,
    order: Order,
    first: int,
    ranges: Sequence[range],
    progress: Progress = unseen,
    keeper: WalkFile | None = None,
) -> Iterator[tuple[Sample, ...]]:
    """The samples of these ranges of the job, in batches.

    Args:
        order: of the samples from ``first`` on.
        progress: is told the evaluations of the network, and how many there will be.
        keeper: of the walk that is under way.
    """
    batches = [-(-len(part) // job.batch) for part in ranges]
    each = None if job.steer else job.settings.evaluations
    progress(0, each and each * sum(batches), "")
    done = before = 0
    for part, own in zip(ranges, batches, strict=True):
        wanted = order.part(part.start - first, part.stop - first)
        began = time.monotonic()
        for state in _states(job, wanted, part, keeper):
            if state.finished:
                evaluations, before = done + state.evaluations - before, done + state.evaluations
                seconds = (time.monotonic() - began + (keeper.spent if keeper else 0.0)) / len(state.finished)
                yield tuple(
                    Sample(
                        index,
                        decoded.image,
                        job.loaded.phases,
                        _record(job, wanted, index - part.start, index, decoded),
                        evaluations,
                        seconds,
                    )
                    for index, decoded in state.finished
                )
                began = time.monotonic()
            progress(done + state.evaluations, state.total and state.total // own * sum(batches), "")
        done = before


def _states(job: Job, order: Order, indices: range, keeper: WalkFile | None) -> Iterator[State]:
    around, known = (order.known.image, order.known.mask) if order.known else (None, None)
    if isinstance(job.settings, PlaneSweeps):
        models = [model.network for model in job.planes]
        totals = order.totals[:, 0]
        return sweep(models, totals, job.lattice, job.settings, job.seed, indices, around, known, keeper)
    return generate(
        job.model,
        order.totals,
        job.lattice,
        job.settings,
        job.seed,
        job.batch,
        indices=indices,
        cells=order.cells,
        around=around,
        known=known,
        steering=job.steer.steering if job.steer else None,
        kind=job.kind,
        guidance=job.guidance,
        keeper=keeper,
        told=job.targets.told if job.targets else None,
    )


def _record(job: Job, order: Order, row: int, index: int, decoded: Decoded) -> dict[str, Any]:
    """The entry of a sample in the audit record.

    Raises:
        AssertionError: its counts are not those requested.
    """
    names = [phase.name for phase in job.loaded.phases]
    wanted, achieved = order.totals[row], order.check(decoded.image)
    if not np.array_equal(achieved, wanted):
        raise AssertionError("the decoding missed the requested counts")
    record = {
        "seed": sample_seed(job.seed, index),
        "requested": dict(zip(names, wanted.sum(0).tolist(), strict=True)),
        "achieved": dict(zip(names, achieved.sum(0).tolist(), strict=True)),
        "decoding": decoding_record(decoded),
    }
    if order.cells is not None:
        record["cells"] = {name: achieved[:, k].tolist() for k, name in enumerate(names)}
    if job.material is not None:
        record["class"] = job.material
    if job.steer is not None:
        record["steered"] = job.steer.achieved(decoded.image)
    if job.targets is not None:
        record["targeted"] = job.targets.achieved(decoded.image)
    return record
