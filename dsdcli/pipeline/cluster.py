"""Working on a dask cluster: a client hands out batches of samples, or of fillings, and takes what comes back."""

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from dsdcli.device import free_memory, pick_device
from dsdcli.errors import DsdError, UsageError
from dsdcli.pipeline.draw import Sample, draw
from dsdcli.pipeline.job import Job
from dsdcli.pipeline.order import Order
from dsdcli.pipeline.progress import Progress

T = TypeVar("T")

_AHEAD = 2  # batches in hand or waiting for every thread of the cluster


@dataclass(frozen=True)
class Cluster:
    """A dask cluster whose workers compute alike.

    Attributes:
        address: of its scheduler.
        device: kind of device that all workers compute on, "cpu" or "cuda".
        free: bytes of memory that each thread of each worker may take.
        threads: of all workers.
    """

    address: str
    device: str
    free: int
    threads: int

    @classmethod
    def at(cls, address: str, device: str) -> "Cluster":
        """Ask the workers there what they compute on.

        Args:
            device: auto, cpu or cuda, as each of them has it.

        Raises:
            UsageError: the cluster cannot be reached, has no workers, or they differ.
        """
        with _connect(address) as client:
            found = list(client.run(_abilities, device).values())
        if not found:
            raise UsageError(f"the dask cluster at {address} has no workers; start some with: dask worker {address}")
        kinds = sorted({kind for kind, _, _ in found})
        if len(kinds) > 1:
            raise UsageError(f"some workers of {address} have GPUs, others have none: say `device='cpu'`")
        return cls(address, kinds[0], min(free for _, free, _ in found), sum(threads for _, _, threads in found))


def hand_out(cluster: Cluster, work: Callable[..., T], common: Any, tasks: Iterable[tuple[Any, ...]]) -> Iterator[T]:
    """What ``work(common, *task)`` returns for every task, on the workers, in whatever order they are done.

    Raises:
        DsdError: the workers died over a task, or the scheduler is gone.
    """
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    left = iter(tasks)
    with _connect(cluster.address) as client:
        # A task rather than scattered data: whatever worker dies, the scheduler can make it again.
        with warnings.catch_warnings(action="ignore"):  # that a network is large
            shared = client.submit(_same, common, pure=False)
        waiting = max(1, sum(client.nthreads().values())) * _AHEAD
        running = as_completed([client.submit(work, shared, *task) for task in itertools.islice(left, waiting)])
        for future in running:
            try:
                result = future.result()
            except KilledWorker as error:
                raise DsdError("workers of the cluster died over the same batch; give a smaller `batch`") from error
            except (OSError, CancelledError) as error:
                raise DsdError(f"lost the dask scheduler at {cluster.address} ({error})") from error
            future.release()  # or the workers would keep all that they made
            for task in itertools.islice(left, 1):
                running.add(client.submit(work, shared, *task))
            yield result


def draw_on_cluster(
    cluster: Cluster, job: Job, order: Order, first: int, ranges: Sequence[range], progress: Progress
) -> Iterator[tuple[Sample, ...]]:
    """As `dsdcli.pipeline.draw.draw`, batches in whatever order they are done; ``progress`` is told the samples."""
    batches = (part[at : at + job.batch] for part in ranges for at in range(0, len(part), job.batch))
    tasks = ((order.part(each.start - first, each.stop - first).totals, each) for each in batches)
    total, done = sum(map(len, ranges)), 0
    progress(0, total, "")
    common = _Common(_moved(job, torch.device("cpu")), order.part(0, 0), cluster.device)
    for samples in hand_out(cluster, _draw, common, tasks):
        yield samples
        done += len(samples)
        progress(done, total, "")


@dataclass(frozen=True, eq=False)
class _Common:
    """What all batches of a job share; on a worker."""

    job: Job
    order: Order
    device: str


def _draw(common: _Common, totals: np.ndarray, members: range) -> tuple[Sample, ...]:
    """One batch, on a worker."""
    job = _moved(common.job, pick_device(common.device))
    return next(draw(job, replace(common.order, totals=totals), members.start, [members]))


def _same(common: Any) -> Any:
    return common


def _moved(job: Job, device: torch.device) -> Job:
    """The same job with its networks on a device; they are copied if they lie elsewhere."""
    if job.loaded.device.type == device.type:
        return job
    planes = tuple(model.on(device) for model in job.planes)
    return replace(job, loaded=job.loaded.on(device), planes=planes)


def _abilities(device: str, dask_worker: Any) -> tuple[str, int, int]:
    """Kind of device, memory of each thread, and how many there are; on a worker."""
    chosen, threads = pick_device(device), max(1, dask_worker.state.nthreads)
    return chosen.type, free_memory(chosen) // threads, threads


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("`scheduler` needs the package distributed: pip install distributed") from error
    try:
        return Client(address, timeout=10)
    except (OSError, ValueError, MemoryError) as error:  # the last one: something else speaks there
        raise UsageError(f"cannot reach a dask scheduler at {address} ({error}); check the address") from error
