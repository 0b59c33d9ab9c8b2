"""Drawing the samples of a job on a dask cluster: a client hands out batches and takes what comes back."""

import copy
import itertools
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dsdcli.device import free_memory, pick_device
from dsdcli.errors import DsdError, UsageError
from dsdcli.pipeline.draw import Sample, draw
from dsdcli.pipeline.job import Job
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.order import Order
from dsdcli.pipeline.progress import Progress

_AHEAD = 2  # batches in hand or waiting for every thread of the cluster


@dataclass(frozen=True)
class Cluster:
    """A dask cluster whose workers compute alike.

    Attributes:
        address: of its scheduler.
        device: kind of device that all workers compute on, "cpu" or "cuda".
        free: bytes of memory that each thread of each worker may take.
    """

    address: str
    device: str
    free: int

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
        kinds = sorted({kind for kind, _ in found})
        if len(kinds) > 1:
            raise UsageError(f"some workers of {address} have GPUs, others have none: say `device='cpu'`")
        return cls(address, kinds[0], min(free for _, free in found))


def draw_on_cluster(
    cluster: Cluster, job: Job, order: Order, first: int, ranges: Sequence[range], progress: Progress
) -> Iterator[tuple[Sample, ...]]:
    """As `dsdcli.pipeline.draw.draw`, batches in whatever order they are done; ``progress`` is told the samples."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    batches = (part[at : at + job.batch] for part in ranges for at in range(0, len(part), job.batch))
    total, done = sum(map(len, ranges)), 0
    progress(0, total, "")
    with _connect(cluster.address) as client:
        # A task rather than scattered data: whatever worker dies, the scheduler can make it again.
        with warnings.catch_warnings(action="ignore"):  # that a network is large
            common = client.submit(_Common, _at_rest(job), order.part(0, 0), cluster.device, pure=False)

        def submit(members: range) -> Any:
            return client.submit(_draw, common, order.part(members.start - first, members.stop - first).totals, members)

        waiting = max(1, sum(client.nthreads().values())) * _AHEAD
        running = as_completed([submit(members) for members in itertools.islice(batches, waiting)])
        for future in running:
            try:
                samples = future.result()
            except KilledWorker as error:
                raise DsdError("workers of the cluster died over the same batch; give a smaller `batch`") from error
            except (OSError, CancelledError) as error:
                raise DsdError(f"lost the dask scheduler at {cluster.address} ({error})") from error
            future.release()  # or the workers would keep all that they made
            for members in itertools.islice(batches, 1):
                running.add(submit(members))
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


def _at_rest(job: Job) -> Job:
    return _moved(job, torch.device("cpu"))


def _moved(job: Job, device: torch.device) -> Job:
    """The same job with its networks on a device; they are copied if they lie elsewhere."""
    if job.loaded.device.type == device.type:
        return job
    planes = tuple(_model_on(model, device) for model in job.planes)
    return replace(job, loaded=_model_on(job.loaded, device), planes=planes)


def _model_on(model: LoadedModel, device: torch.device) -> LoadedModel:
    return LoadedModel(model.path, copy.deepcopy(model.network).to(device))


def _abilities(device: str, dask_worker: Any) -> tuple[str, int]:
    """Kind of device, and memory of each thread; on a worker."""
    chosen = pick_device(device)
    return chosen.type, free_memory(chosen) // max(1, dask_worker.state.nthreads)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("`scheduler` needs the package distributed: pip install distributed") from error
    try:
        return Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot reach a dask scheduler at {address} ({error}); check the address") from error
