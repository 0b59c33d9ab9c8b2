"""Threads of the processor: pieces of work side by side, and loops kept to one of them."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def side_by_side(work: Callable[..., T], device: "torch.device", *columns: Sequence[Any]) -> Iterable[T]:
    """What ``work`` makes of each item, in their order; on a CPU as many at a time as PyTorch has threads, each on one.

    None waits for another within its piece, and the result does not depend on the number of threads nor of items.
    ``work`` must set what PyTorch keeps for each thread, such as the inference mode.
    """
    import torch

    number = torch.get_num_threads() if device.type == "cpu" else 1
    return map(work, *columns) if number == 1 else _pool(number).map(work, *columns)


@functools.cache
def _pool(number: int) -> ThreadPoolExecutor:
    import torch

    return ThreadPoolExecutor(number, "dsd", torch.set_num_threads, (1,))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep porespy's compiled loops and PyTorch on one thread: on small images, beside other work, several are 50 times
    slower. Afterwards both have as many as before; porespy leaves PyTorch, which runs on the same OpenMP, with one for
    each core, and all that follows in this process would wait for them.
    """
    import numba

    torch = sys.modules.get("torch")
    before, of_torch = numba.get_num_threads(), torch.get_num_threads() if torch else 0
    numba.set_num_threads(1)
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if torch:
            torch.set_num_threads(of_torch)
