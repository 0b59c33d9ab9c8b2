"""How many samples at a time: never more than fit, at least one, and of no consequence for the samples."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.device import free_memory
from dsdcli.network.config import PRESETS
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.blocks import BATCH_BLOCKS, BLOCK_SITES, USED_SHARE, block_images, fitting_batch, peak_bytes
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.trapezoidal import Trapezoidal
from tests.conftest import random_model

CPU = torch.device("cpu")
DEVICES = (CPU, torch.device("cuda"))  # nothing here computes on it
LATTICES = tuple(Lattice(shape) for shape in [(1, 9), (16, 16), (64, 64), (100, 100), (256, 256), (1024, 1024)])
CONFIG = replace(random_model(3, 2).config, architecture=PRESETS["tiny"][0])


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: "x".join(map(str, lattice.shape)))
def test_auto_takes_at_least_one_and_never_more_than_fit(lattice, device):
    batches = [fitting_batch(CONFIG, lattice, device, 2**power) for power in range(20, 45)]
    assert batches[0] == 1
    assert batches == sorted(batches)
    for power, batch in zip(range(20, 45), batches, strict=True):
        assert batch == 1 or peak_bytes(CONFIG, lattice, device, batch) <= USED_SHARE * 2**power
        assert batch < block_images(lattice, device) or batch % block_images(lattice, device) == 0
    assert batches[-1] * lattice.sites <= BATCH_BLOCKS * max(BLOCK_SITES[device.type], lattice.sites)


def test_more_work_needs_more_memory():
    for smaller, larger in itertools.pairwise(LATTICES[2:]):
        assert peak_bytes(CONFIG, smaller, CPU, 8) < peak_bytes(CONFIG, larger, CPU, 8)
    for batch in (1, 8, 64):
        assert peak_bytes(CONFIG, LATTICES[2], CPU, batch) < peak_bytes(CONFIG, LATTICES[2], CPU, batch + 1)
    wide, three_dimensional = replace(CONFIG, architecture=PRESETS["base"][0]), random_model(3, 3).config
    assert peak_bytes(CONFIG, LATTICES[2], CPU, 8) < peak_bytes(wide, LATTICES[2], CPU, 8)
    cube = Lattice((16, 16, 16))
    assert peak_bytes(three_dimensional, cube, CPU, 1) < peak_bytes(three_dimensional, cube, CPU, 2)


def test_the_samples_are_the_same_for_any_batch():
    """Three images of 100x100 are a block, in which each place rounds differently: batches of 1, 2 and 4."""
    model, lattice = random_model(2, 2), Lattice((100, 100))
    assert block_images(lattice, CPU) == 3
    totals = np.tile([3000, 7000], (4, 1))

    def images(batch: int) -> np.ndarray:
        return stack_of(generate(model, totals, lattice, Trapezoidal(steps=1), 3, batch))

    expected = images(4)
    for batch in (1, 2):
        assert np.array_equal(images(batch), expected)


@pytest.mark.parametrize("number", [1, 9])
def test_small_samples_are_the_same_for_any_number_of_threads(number):
    """Of one block, and of more."""
    model, lattice = random_model(3, 2), Lattice((64, 61))
    assert block_images(lattice, CPU) == 8
    totals, before, made = np.tile([1000, 1904, 1000], (number, 1)), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append(stack_of(generate(model, totals, lattice, Trapezoidal(steps=2), 3, number)))
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(made[0], other) for other in made[1:])


def test_threads_that_wait_sleep_unless_told_otherwise():
    script = "import dsdcli, os; print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT', ''))"
    for given, expected in (({}, "PASSIVE 2000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | given
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert run.stdout.strip() == expected


def test_free_memory_is_what_machine_and_control_groups_leave(tmp_path):
    """A container (version 2) or a batch job (version 1, limit on an outer group) may allow less than the machine."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert free_memory(CPU, tmp_path) == 8000 * 1024

    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    group = tmp_path / "sys/fs/cgroup/job"
    (group / "step").mkdir(parents=True)
    for folder, limit in ((group, "3000000"), (group / "step", "max")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("1000000\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 400000\n")
    assert free_memory(CPU, tmp_path) == 2_400_000

    (tmp_path / "proc/self/cgroup").write_text("4:memory:/job\n1:cpu:/\n")
    group = tmp_path / "sys/fs/cgroup/memory/job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("1500000\n")
    (group / "memory.usage_in_bytes").write_text("1600000\n")
    (group / "memory.stat").write_text("total_inactive_file 0\n")
    assert free_memory(CPU, tmp_path) == 0


def test_free_memory_of_this_machine():
    assert 2**20 < free_memory(CPU) < 2**50


def test_the_command_takes_auto_and_numbers_only(dsd):
    for word in ("0", "-1", "many"):
        code, _, err = dsd("generate", "--batch", word)
        assert code == 2
        assert "write auto, or a whole number" in err
