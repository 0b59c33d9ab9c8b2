"""How long does a training step take, how much of it is the network, and what would make it faster?

python examples/studies/benchmark_train.py rocks.dsd.h5                 (tiny, 16 crops of 64x64, half of them in holes)
python examples/studies/benchmark_train.py rocks.dsd.h5 --compare       (whole steps, in several set-ups)
python examples/studies/benchmark_train.py rocks.dsd.h5 --memory 20000  (so many tiny steps: does the memory grow?)
python examples/studies/benchmark_train.py rocks.dsd.h5 --ranks 2       (two processes of one thread, one of two)
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from shared import machine, options, print_row, print_table
from stopwatch import Stopwatch, channels_first, finish, peak_memory, print_ratios, side_by_side, with_threads

from dsdcli.cli.parse import parse_size
from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.network.config import Architecture
from dsdcli.ranks import connected, own_device, ranks_here
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from dsdcli.training.trainer import Trainer

WARM_UP = 2
ROUNDS = 7
STARTS = 3  # of the processes of each kind
LR = 1e-4
SMALLEST = Architecture((8,), blocks=1, fine=4)


def make_eigenbases(trainer: Trainer) -> None:
    """Do what a run does once for each of its free-form holes, so that it does not count as part of the steps."""
    began = time.perf_counter()
    for domains in (trainer.domains, *(wide for _, wide in trainer.wide)):
        for hole in domains.pool:
            hole.mixing_dose()  # needs the modes of all parts, which are kept
    print(f"eigenbases of the holes, once for a run: {time.perf_counter() - began:.1f} s")


def measure(trainer: Trainer, steps: int) -> None:
    """Time steps, and the parts of them."""
    make_eigenbases(trainer)
    forward, walk = Stopwatch(), Stopwatch()
    loss = Stopwatch(forward)
    watches = {
        "crops from the dataset": (crops := Stopwatch(walk)),
        "forward walk and undo counts": walk,
        "rates and loss": loss,
        "network, forward": forward,
        "network, backward": (backward := Stopwatch()),
        "optimiser": (optimiser := Stopwatch()),
    }
    trainer.walk = walk.time(trainer.walk)
    trainer.losses = loss.time(trainer.losses)
    trainer.model.net.forward = forward.time(trainer.model.net.forward)
    trainer.draw = crops.time(trainer.draw)
    share_loss = trainer.share_loss

    def timed_loss(*words: Any) -> torch.Tensor:
        found = share_loss(*words)
        found.backward = backward.time(found.backward)
        return found

    trainer.share_loss = timed_loss
    trainer.optimizer.step = optimiser.time(trainer.optimizer.step)
    for _ in range(WARM_UP):
        trainer.train_step(LR)
    for watch in watches.values():
        watch.seconds = 0.0
    finish()
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_step(LR)
    finish()
    seconds = time.perf_counter() - began
    where = machine(trainer.device)
    print(f"{seconds / steps * 1000:.0f} ms a step on {where}; peak memory {peak_memory(trainer.device)}")
    parts = {name: watch.seconds for name, watch in watches.items()}
    parts["averaged weights, gradient norm"] = seconds - sum(parts.values())
    for name, part in parts.items():
        print(f"{name:34}{100 * part / seconds:6.1f} %")
    outside = crops.seconds + walk.seconds + loss.seconds
    print(f"{'outside the network (first three)':34}{100 * outside / seconds:6.1f} %")


def compare(make: Callable[..., Trainer]) -> None:
    """Time whole steps in several set-ups, in turns."""
    trainers = {
        "as it is": make(),
        "channels first": make(),
        "bfloat16": make(precision="bfloat16"),
        "compiled": make(),
    }
    channels_first(trainers["channels first"].model)
    trainers["compiled"].model.net = torch.compile(trainers["compiled"].model.net)
    work = {name: lambda t=trainer: t.train_step(LR) for name, trainer in trainers.items()}
    if trainers["as it is"].device.type == "cpu":
        work |= {f"{n} threads": with_threads(n, work["as it is"]) for n in (1, 2)}
    try:
        began = time.perf_counter()
        work["compiled"]()
        print(f"compiling took {time.perf_counter() - began:.0f} s")
    except torch._dynamo.exc.BackendCompilerFailed as error:  # no C++ compiler
        print(f"torch.compile does not work here: {str(error).splitlines()[0]}")
        del work["compiled"]
    print(f"one step on {machine(trainers['as it is'].device)}, median of {ROUNDS} turns")
    print_ratios(side_by_side(work, ROUNDS))


def compare_ranks(ranks: int, words: list[str]) -> None:
    """Time whole steps of so many processes of one thread, and of one process of as many threads, in turns."""
    setups = {f"1 x {ranks} threads": (1, ranks), f"{ranks} x 1 thread": (ranks, 1)}
    seconds: dict[str, list[float]] = {name: [] for name in setups}
    for _ in range(STARTS):
        for name, (processes, threads) in setups.items():
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            done = subprocess.run(
                [*launch, __file__, *words, "--as-rank", "--threads", str(threads)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            seconds[name].append(float(done.stdout.split()[-1]))
    print(f"one step, without holes, median of {STARTS} starts")
    print_ratios({name: statistics.median(taken) for name, taken in seconds.items()})


def time_steps(trainer: Trainer, steps: int) -> float:
    """Median seconds of a whole step of all ranks."""
    for _ in range(WARM_UP):
        trainer.train_step(LR)
    watch, taken = Stopwatch(), []
    for _ in range(steps):
        before = watch.seconds
        watch.time(trainer.train_step)(LR)
        taken.append(watch.seconds - before)
    return statistics.median(taken)


def watch_memory(trainer: Trainer) -> None:
    """Train to the end, and print the memory of the process (resident, Linux) on the way."""
    steps = trainer.settings.steps
    print_table(["steps", "MiB"])
    for report in trainer.run():
        if report.step in (steps // 20, steps // 4, steps // 2, steps):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print_row([report.step, f"{pages * resource.getpagesize() / 2**20:.1f}"])


def main() -> None:
    parser = options(__doc__, "threads", "device")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--size", type=parse_size, default=(64, 64))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--accumulate", type=int, default=1, metavar="N", help="parts of a batch (default 1)")
    parser.add_argument("--steps", type=int, default=30, help="steps to time (default 30)")
    parser.add_argument(
        "--memory", type=int, metavar="N", help="watch the memory over N steps of 2 crops of 8x8 instead"
    )
    parser.add_argument("--compare", action="store_true", help="time steps in several set-ups instead")
    parser.add_argument("--ranks", type=int, metavar="N", help="time N processes of one thread and one of N")
    parser.add_argument("--as-rank", action="store_true", help="be one of these processes")
    chosen = parser.parse_args()
    if chosen.ranks:
        size = "x".join(map(str, chosen.size))
        words = ["--preset", chosen.preset, "--size", size, "--batch", str(chosen.batch), "--steps", str(chosen.steps)]
        compare_ranks(chosen.ranks, [str(chosen.dataset), *words, "--device", "cpu"])
        return
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = pick_device(chosen.device)
    settings = TrainSettings(
        chosen.preset, chosen.size, 10**6, None, chosen.batch, 1e-3, 0, "noflux",
        "bfloat16" if device.type == "cuda" else "float32", accumulate=chosen.accumulate,
    )  # fmt: skip
    if chosen.memory:
        settings = replace(settings, size=(8, 8), batch=2, steps=chosen.memory, validate_every=chosen.memory)
    if chosen.as_rank:  # steps with free-form holes would first take the time that their eigenbases need
        settings = replace(settings, holes=0.0)
    dataset = Dataset.open(chosen.dataset)
    config = make_config(dataset, settings)

    def make(**changes: str) -> Trainer:
        return Trainer(config, replace(settings, **changes), dataset, device)

    if chosen.as_rank:
        ranks = ranks_here()
        device = own_device(device, ranks)
        with connected(ranks, device):
            seconds = time_steps(Trainer(config, settings, dataset, device, ranks), chosen.steps)
        if ranks.first:
            print(seconds)
    elif chosen.memory:
        config = replace(config, architecture=SMALLEST)
        watch_memory(make())
    elif chosen.compare:
        compare(make)
    else:
        measure(make(), chosen.steps)


if __name__ == "__main__":
    main()
