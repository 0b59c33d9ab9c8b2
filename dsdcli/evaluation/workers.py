"""Measuring many images: in this process, in several (dask), or on a dask cluster."""

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from dsdcli.device import cores
from dsdcli.errors import DsdError, UsageError
from dsdcli.evaluation.cache import Cache
from dsdcli.evaluation.metrics import Vectors, measure

_TRIAL = 3.0  # seconds of measuring here before more processes are considered
_WORTH = 15.0  # seconds of work left that are worth starting them, which takes some seconds each
_CHUNKS_PER_WORKER = 8
_MOST_JOBS = 1024
_CHUNK_VOXELS = 2**17  # so that results come every few seconds

Done = Callable[[int, Vectors], None]  # number of an image, its vectors


@dataclass(frozen=True)
class Workers:
    """Where to measure. ``jobs``: processes, None for as many as there are cores, if the work is worth it.

    ``scheduler``: address of a dask cluster, which replaces ``jobs``. ``device``: "cpu", or a CUDA device, which solves
    for the diffusivity and is used from this process alone.
    """

    jobs: int | None = None
    scheduler: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.jobs is not None and not 1 <= self.jobs <= _MOST_JOBS:
            raise UsageError(f"`jobs={self.jobs}`: it must lie between 1 and {_MOST_JOBS}")


def measure_all(
    images: Sequence[np.ndarray],
    phases: Sequence[str],
    metrics: Sequence[str],
    workers: Workers,
    cache: Cache | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Vectors]:
    """The vectors of each image, as `dsdcli.evaluation.metrics.measure` gives them.

    Args:
        images: phase indices.
        phases: their names.
        metrics: which.
        workers: where.
        cache: what was measured before, and where to keep what is measured now.
        progress: called with the images done and their number.

    Raises:
        UsageError: the cluster cannot be reached, or dask.distributed is missing.
        DsdError: a process died.
    """
    results: list[Vectors | None] = [cache.lookup(image, metrics) if cache else None for image in images]
    waiting: Sequence[int] = [number for number, vectors in enumerate(results) if vectors is None]

    def done(number: int, vectors: Vectors) -> None:
        results[number] = vectors
        if cache:
            cache.add(images[number], metrics, vectors)
        progress(sum(found is not None for found in results), len(images))

    try:
        if workers.scheduler:
            _on_cluster(images, waiting, phases, metrics, workers.scheduler, done)
        else:
            jobs = (workers.jobs or cores()) if workers.device == "cpu" else 1
            if workers.jobs is None or jobs == 1:
                waiting = _here(images, waiting, phases, metrics, jobs, workers.device, done)
            if waiting:
                _in_processes(images, waiting, phases, metrics, jobs, done)
    finally:
        if cache and any(vectors is None for vectors in results):
            cache.write()
    return [vectors for vectors in results if vectors is not None]


def _here(
    images: Sequence[np.ndarray],
    waiting: Sequence[int],
    phases: Sequence[str],
    metrics: Sequence[str],
    jobs: int,
    device: str,
    done: Done,
) -> Sequence[int]:
    """Measure one by one; return what is left for several processes, if that promises to be faster."""
    start = time.monotonic()
    for count, number in enumerate(waiting):
        if count == 1:
            start = time.monotonic()  # the first image also pays for imports and compilation
        spent = time.monotonic() - start
        if jobs > 1 and count > 1 and spent > _TRIAL and spent / (count - 1) * (len(waiting) - count) > _WORTH:
            return waiting[count:]
        done(number, measure(images[number], phases, metrics, device))
    return []


def _in_processes(
    images: Sequence[np.ndarray],
    waiting: Sequence[int],
    phases: Sequence[str],
    metrics: Sequence[str],
    jobs: int,
    done: Done,
) -> None:
    import dask
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed

    chunks = {f"measure-{chunk[0]}": chunk for chunk in _chunks(images, waiting, jobs)}
    call = delayed(_measure_chunk)
    calls = [
        call([images[number] for number in chunk], phases, metrics, dask_key_name=name)
        for name, chunk in chunks.items()
    ]

    def posttask(key: str, result: list[Vectors], dsk: object, state: object, worker: object) -> None:
        for number, vectors in zip(chunks[key], result, strict=True):
            done(number, vectors)

    with dask.config.set({"multiprocessing.initializer": _die_when_interrupted}), Callback(posttask=posttask):
        try:
            compute(*calls, scheduler="processes", num_workers=jobs, optimize_graph=False, traverse=False)
        except BrokenProcessPool as error:
            raise DsdError("a measuring process died, perhaps for lack of memory; use fewer `jobs`") from error


def _on_cluster(
    images: Sequence[np.ndarray],
    waiting: Sequence[int],
    phases: Sequence[str],
    metrics: Sequence[str],
    address: str,
    done: Done,
) -> None:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise UsageError("`scheduler` needs the package distributed: pip install distributed") from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError, MemoryError) as error:  # the last one: something else speaks there
        raise UsageError(f"cannot reach a dask scheduler at {address} ({error}); check the address") from error
    with client:
        workers = max(1, len(client.scheduler_info()["workers"]))
        chunks = _chunks(images, waiting, workers)
        futures = {
            client.submit(_measure_chunk, [images[n] for n in chunk], list(phases), list(metrics), pure=False): chunk
            for chunk in chunks
        }
        for future, result in as_completed(futures, with_results=True):
            for number, vectors in zip(futures[future], result, strict=True):
                done(number, vectors)


def _measure_chunk(images: Sequence[np.ndarray], phases: Sequence[str], metrics: Sequence[str]) -> list[Vectors]:
    return [measure(image, phases, metrics) for image in images]


def _chunks(images: Sequence[np.ndarray], numbers: Sequence[int], workers: int) -> list[Sequence[int]]:
    affordable = _CHUNK_VOXELS // images[0].size
    length = max(1, min(affordable, len(numbers) // (workers * _CHUNKS_PER_WORKER)))
    return [numbers[start : start + length] for start in range(0, len(numbers), length)]


def _die_when_interrupted() -> None:
    """Ctrl-C reaches the measuring processes too: let them go at once and without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
