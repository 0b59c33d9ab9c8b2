"""Used by the benchmarks beside it: what functions take, and the network in several set-ups side by side."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def finish() -> None:
    """Wait for the GPU, which computes on while Python goes ahead."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Stopwatch:
    """Seconds spent in the functions it wraps, less those that the stopwatches ``inside`` measured meanwhile."""

    def __init__(self, *inside: "Stopwatch") -> None:
        self.inside = inside
        self.seconds = 0.0

    def time(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            finish()
            within = sum(watch.seconds for watch in self.inside)
            began = time.perf_counter()
            result = function(*args, **options)
            finish()
            elapsed = time.perf_counter() - began
            self.seconds += elapsed - (sum(watch.seconds for watch in self.inside) - within)
            return result

        return timed


def side_by_side(work: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each of several works, done in turns, so that whatever else slows the machine hits them all.

    The first turn is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, function in work.items():
            watch = Stopwatch()
            watch.time(function)()
            seconds[name].append(watch.seconds)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


def print_ratios(seconds: Mapping[str, float]) -> None:
    """A table of times and of their ratios to the first."""
    first = next(iter(seconds.values()))
    print(f"{'':16}{'ms':>9}{'ratio':>8}")
    for name, value in seconds.items():
        print(f"{name:16}{value * 1000:9.1f}{value / first:8.2f}")


def channels_first(model: torch.nn.Module) -> None:
    """Lay out the weights as PyTorch does by default, in place."""
    for weight in model.parameters():
        weight.data = weight.data.contiguous()


def with_threads(threads: int, function: Callable[[], Any]) -> Callable[[], Any]:
    """``function`` on that many CPU threads."""

    def run() -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return function()
        finally:
            torch.set_num_threads(before)

    return run


def peak_memory(device: torch.device) -> str:
    """The most memory this process has held so far."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of the GPU"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.2f} GiB"
