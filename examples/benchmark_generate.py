"""How long does generation take, and how much of it is the network?

python examples/benchmark_generate.py                      (berea-2d, 64 samples of 64x64, 63 evaluations)
python examples/benchmark_generate.py --model nmc-2d --steps 16 --device cuda
"""

import argparse
import time
from collections.abc import Callable

import torch

from dsdcli.cli.parse import parse_size
from dsdcli.device import pick_device
from dsdcli.network.shipped import find_model
from dsdcli.sampling.job import Job, make_totals
from dsdcli.sampling.reverse import SamplerSettings
from dsdcli.sampling.sampler import generate


class Stopwatch:
    """Seconds spent in the functions it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self, function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def timed(*args: object) -> torch.Tensor:
            finish()
            began = time.perf_counter()
            result = function(*args)
            finish()
            self.seconds += time.perf_counter() - began
            return result

        return timed


def finish() -> None:
    """Wait for the GPU, which computes on while Python goes ahead."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="berea-2d", help="name or path (default berea-2d)")
    parser.add_argument("-n", type=int, default=64, help="samples (default 64)")
    parser.add_argument("--size", type=parse_size, help="HxW (default: that of the training crops)")
    parser.add_argument("--steps", type=int, default=SamplerSettings().steps, help="leaps, of two evaluations each")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options = parser.parse_args()
    device = pick_device(options.device)
    settings = SamplerSettings(steps=options.steps)
    job = Job.prepare(find_model(options.model), options.size, None, settings, 0, options.batch, device)
    network = Stopwatch()
    job.model.undo, job.model.clean = network.time(job.model.undo), network.time(job.model.clean)
    totals = make_totals(job, options.n, {}, {}, None)
    for _ in generate(job.model, totals[: options.batch], job.lattice, SamplerSettings(steps=1), 0, options.batch):
        pass  # warm up: the first evaluation also sets up the device
    network.seconds = 0.0
    finish()
    began = time.perf_counter()
    for state in generate(job.model, totals, job.lattice, job.settings, job.seed, job.batch):
        evaluations = state.evaluations
    seconds = time.perf_counter() - began
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{options.n} samples of {'x'.join(map(str, job.lattice.shape))} with {job.path.name} on {where}")
    print(f"{seconds:.2f} s in all, {seconds / options.n * 1000:.0f} ms a sample")
    print(f"{settings.evaluations} evaluations a sample, {evaluations} batches through the network")
    print(f"network {100 * network.seconds / seconds:.0f} % of the time, walk and decoding the rest")


if __name__ == "__main__":
    main()
