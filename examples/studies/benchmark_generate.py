"""How long does generation take, how much of it is the network, and what would make that faster?

python examples/studies/benchmark_generate.py                      (berea-2d, 64 samples of 64x64, 27 evaluations)
python examples/studies/benchmark_generate.py --size 256x256       (and how much memory)
python examples/studies/benchmark_generate.py --model nmc-2d --steps 31 --device cuda
python examples/studies/benchmark_generate.py --busy 2             (beside two processes that want a core each)
python examples/studies/benchmark_generate.py --compare            (the network alone, in several set-ups)
python examples/studies/benchmark_generate.py --parts 2            (two processes of one thread make a part each)
python examples/studies/benchmark_generate.py --model berea-3d --size 128x64x64 --steps 8 --ranks 2   (or of one volume)
"""

import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from shared import machine, options, print_row, print_table, typical_totals
from stopwatch import Stopwatch, channels_first, finish, peak_memory, print_ratios, side_by_side, with_threads

from dsdcli.cli.parse import parse_batch, parse_part, parse_size
from dsdcli.device import free_memory, pick_device
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_config, load_model
from dsdcli.network.model import UndoNet
from dsdcli.pipeline.parts import part_indices
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import scatter
from dsdcli.sampling.blocks import block_images, fitting_batch
from dsdcli.sampling.generate import generate
from dsdcli.sampling.trapezoidal import Trapezoidal

ROUNDS = 15
COMPARED_DOSE = 5.0
TURNS = 5  # of the set-ups of processes
VOLUME_TURNS = 3


def measure(name: str, model: UndoNet, lattice: Lattice, sampler: Trapezoidal, n: int, batch: int) -> None:
    """Time a whole job, and the network in it."""
    network = Stopwatch()
    model.net.forward = network.time(model.net.forward)
    totals = typical_totals(model.config, lattice, n)
    for _ in generate(model, totals[:batch], lattice, Trapezoidal(1), 0, batch):
        pass  # warm up: the first evaluation also sets up the device
    network.seconds = 0.0
    finish()
    began = time.perf_counter()
    for state in generate(model, totals, lattice, sampler, 0, batch):
        evaluations = state.evaluations
    seconds = time.perf_counter() - began
    device = next(model.parameters()).device
    size = "x".join(map(str, lattice.shape))
    print(f"{n} samples of {size} with {name} on {machine(device)}, {batch} at a time")
    print(f"{seconds:.2f} s in all, {seconds / n * 1000:.0f} ms a sample; peak memory {peak_memory(device)}")
    print(f"{sampler.evaluations} evaluations a sample, {evaluations} batches through the network")
    if device.type == "cpu" and torch.get_num_threads() > 1:
        print("blocks run side by side: --threads 1 says which share of the time is the network's")
        return
    outside = 100 * (1 - network.seconds / seconds)
    print(f"network {100 - outside:.1f} % of the time, walk, rates and decoding the other {outside:.1f} %")


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Other processes on the machine, each of which wants a core."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()


def compare(model: UndoNet, lattice: Lattice) -> None:
    """Time one block of the network in several set-ups, in turns."""
    device = next(model.parameters()).device
    images = block_images(lattice, device)
    generators = [torch.Generator(device).manual_seed(i) for i in range(images)]
    totals = torch.from_numpy(typical_totals(model.config, lattice, images)).to(device)
    counts = scatter(totals, lattice, generators).occupancy(lattice, images, model.phases)
    dose = torch.full((images,), COMPARED_DOSE, dtype=torch.float64, device=device)

    def evaluate(network: torch.nn.Module, bfloat16: bool = False) -> Callable[[], torch.Tensor]:
        @torch.inference_mode()
        def run() -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                return network.undo(counts, dose, lattice)

        return run

    contiguous, compiled = copy.deepcopy(model), copy.deepcopy(model)
    channels_first(contiguous)
    compiled.net = torch.compile(compiled.net)
    work = {
        "as it is": evaluate(model),
        "channels first": evaluate(contiguous),
        "bfloat16": evaluate(model, bfloat16=True),
    }
    if device.type == "cpu":
        work |= {f"{n} threads": with_threads(n, evaluate(model)) for n in (1, 2)}
    try:
        began = time.perf_counter()
        evaluate(compiled)()
        print(f"compiling took {time.perf_counter() - began:.0f} s")
        work["compiled"] = evaluate(compiled)
    except torch._dynamo.exc.BackendCompilerFailed as error:  # no C++ compiler
        print(f"torch.compile does not work here: {str(error).splitlines()[0]}")
    print(f"one block of {images} images on {machine(device)}, median of {ROUNDS} turns")
    print_ratios(side_by_side(work, ROUNDS))
    first = work["as it is"]()
    off = ((work["bfloat16"]() - first).norm() / first.norm()).item()
    print(f"bfloat16 changes the undo counts by {100 * off:.1f} %")


def compare_parts(parts: int, number: int, words: list[str]) -> None:
    """Samples a second of one process of one thread, of one of so many, and of so many of one that make a part each, in
    turns. All are there before the first turn, so that no start is counted."""
    setups = {"1 x 1 thread": (1, 1), f"1 x {parts} threads": (1, parts), f"{parts} x 1 thread": (parts, 1)}

    def start(part: int, of: int, threads: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, __file__, *words, "--as-part", f"{part}/{of}", "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(processes: list[subprocess.Popen[str]]) -> None:
        for process in processes:
            if not (process.stdout and process.stdout.readline()):
                raise SystemExit("a process ended")

    started = {name: [start(i + 1, of, threads) for i in range(of)] for name, (of, threads) in setups.items()}
    for processes in started.values():
        told(processes)
    seconds: dict[str, list[float]] = {name: [] for name in started}
    for _ in range(TURNS):
        for name, processes in started.items():
            began = time.perf_counter()
            for process in processes:
                print(file=process.stdin, flush=True)
            told(processes)
            seconds[name].append(time.perf_counter() - began)
    for process in (each for processes in started.values() for each in processes):
        process.communicate()
    print(f"{number} samples, median of {TURNS} turns; load of the machine {os.getloadavg()[0]:.1f}")
    print_table(["processes", "samples/s", "ratio"])
    for name, taken in seconds.items():
        speed, first = (number / statistics.median(each) for each in (taken, seconds["1 x 1 thread"]))
        print_row([name, f"{speed:.2f}", f"{speed / first:.2f}"])


def compare_ranks(ranks: int, words: list[str]) -> None:
    """Seconds of one volume by one process of one thread, one of so many, and so many of one, in turns, as the records
    tell them: from the loaded model to the decoded volume."""
    setups = {"1 x 1 thread": (1, 1), f"1 x {ranks} threads": (1, ranks), f"{ranks} x 1 thread": (ranks, 1)}
    seconds: dict[str, list[float]] = {name: [] for name in setups}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(VOLUME_TURNS):
            for name, (processes, threads) in setups.items():
                volume = Path(folder, f"{processes}x{threads}-{turn}.zarr")
                launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "dsdcli"]
                job = ["generate", *words, "-n", "1", "--slabs", "-q", "-o", str(volume)]
                subprocess.run(
                    [sys.executable, "-m", *launch, *job],
                    env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                    check=True,
                )
                seconds[name].append(json.loads(volume.with_suffix(".json").read_text())["seconds"])
    print(f"one volume, median of {VOLUME_TURNS} turns; load of the machine {os.getloadavg()[0]:.1f}")
    print_table(["processes", "s", "ratio"])
    for name, taken in seconds.items():
        first = statistics.median(seconds["1 x 1 thread"])
        print_row([name, f"{statistics.median(taken):.1f}", f"{first / statistics.median(taken):.2f}"])


def make_part(model: UndoNet, lattice: Lattice, sampler: Trapezoidal, indices: range, batch: int) -> None:
    """Make these samples whenever a line is read, and say so."""
    totals = typical_totals(model.config, lattice, len(indices))
    for _ in generate(model, totals[:batch], lattice, Trapezoidal(1), 0, batch):
        pass  # warm up
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in generate(model, totals, lattice, sampler, 0, batch, indices=indices):
            pass
        print("done", flush=True)


def main() -> None:
    parser = options(__doc__, "steps", "threads", "device")
    parser.add_argument("--model", default="berea-2d", help="name or path (default berea-2d)")
    parser.add_argument("-n", type=int, default=64, help="samples (default 64)")
    parser.add_argument("--size", type=parse_size, help="HxW (default: that of the training crops)")
    parser.add_argument("--batch", type=parse_batch, help="samples at a time (default auto)")
    parser.add_argument("--compare", action="store_true", help="time the network in several set-ups instead")
    parser.add_argument(
        "--parts", type=int, metavar="N", help="time N processes of one thread, one of N and one of one"
    )
    parser.add_argument("--ranks", type=int, metavar="N", help="the same for the slabs of one volume")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="beside N busy processes")
    parser.add_argument("--as-part", type=parse_part, help="be one of these processes")
    parser.set_defaults(steps=None)
    chosen = parser.parse_args()
    chosen.steps = chosen.steps or Trapezoidal.usual(load_config(find_model(chosen.model)).ndim).steps
    if chosen.parts or chosen.ranks:
        size = ["--size", "x".join(map(str, chosen.size))] if chosen.size else []
        words = ["--model", chosen.model, "--steps", str(chosen.steps), *size, "--device", "cpu"]
        if chosen.ranks:
            compare_ranks(chosen.ranks, words)
        else:
            compare_parts(chosen.parts, chosen.n, ["-n", str(chosen.n), *words])
        return
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = pick_device(chosen.device)
    model = load_model(find_model(chosen.model), device)
    lattice = Lattice(chosen.size or model.config.size, model.config.boundary)
    if chosen.compare:
        compare(model, lattice)
        return
    batch, sampler = (
        chosen.batch or fitting_batch(model.config, lattice, device, free_memory(device)),
        Trapezoidal(chosen.steps),
    )
    if chosen.as_part:
        make_part(model, lattice, sampler, part_indices(chosen.as_part, chosen.n), batch)
    else:
        with busy(chosen.busy):
            measure(Path(chosen.model).name, model, lattice, sampler, chosen.n, batch)


if __name__ == "__main__":
    main()
