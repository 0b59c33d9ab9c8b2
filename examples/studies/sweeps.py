"""Volumes from models of images: which schedule of sweeps comes closest to true volumes, and what it costs.

    python examples/studies/sweeps.py nmc-2d nmc.dsd.h5 --size 32 -n 4 default sweeps=24 dose_last=0.2,dose_end=0.05

Every variant names fields of `dsdcli.sampling.sweeps.PlaneSweeps`. Volumes take the counts of held-out cubes, the same
for all variants and with the same seeds, and are compared with held-out cubes of like volume fractions. Columns, means
over the phases in %: distances as of `dsd evaluate` (two-point correlation, chords, pore size, interface, Euler number,
percolation); the interface of planes across z / y / x relative to real ones; specks, pieces of a phase of three
voxels or fewer, in 10^4 voxels; CPU seconds a volume. The first line are training cubes, as many as volumes: the floor.
A second table has the power of the first phase in bands of wavelengths (voxels) over that of the held-out cubes: of
training cubes, of what the volumes begin with, and of every variant.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from shared import counts_of, options, print_row, print_table, slashed, to_model
from skimage.measure import label

from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.compare import mean_vector
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.measures.surfaces import interfaces
from dsdcli.evaluation.metrics import METRICS, measure
from dsdcli.network.calibration import BANDS, band_power
from dsdcli.network.catalogue import shipped_models
from dsdcli.network.checkpoint import load_model
from dsdcli.process.image import one_hot
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.generate import sample_seed, stack_of
from dsdcli.sampling.sweeps import PlaneSweeps, begin, sweep

NAMES = ("two-point", "chords", "pore-size", "interface", "euler", "percolation")
REPEATS = 8  # held-out cubes for each volume


def variant(text: str) -> PlaneSweeps:
    """The schedule that a word such as sweeps=24,leaps=2 stands for."""
    default = PlaneSweeps()
    pairs = [] if text == "default" else [pair.split("=") for pair in text.split(",")]
    return replace(default, **{name: type(getattr(default, name))(value) for name, value in pairs})


def along_axes(stack: np.ndarray, phases: int) -> np.ndarray:
    """Interface of all phases in the planes across every axis, (3,): length per area."""
    planes = [np.moveaxis(stack, axis + 1, 1).reshape(-1, *np.delete(stack.shape[1:], axis)) for axis in range(3)]
    return np.array([np.mean([interfaces(plane, phases).sum() / 2 for plane in each]) for each in planes])


def specks(stack: np.ndarray, phases: int) -> float:
    """Pieces of a phase of three voxels or fewer, in 10^4 voxels."""
    pieces = (np.bincount(label(image == k, connectivity=1).ravel())[1:] for image in stack for k in range(phases))
    return 1e4 * sum(int((sizes <= 3).sum()) for sizes in pieces) / stack.size


def power(stack: np.ndarray, phases: int) -> np.ndarray:
    """Of the first phase in the bands of `dsdcli.network.calibration`, over f (1 - f)."""
    one = one_hot(torch.from_numpy(stack.astype(np.int64)), phases).double()
    return band_power(one, Lattice(stack.shape[1:]))[:, 0].numpy()


class Beside:
    """Held-out cubes, and how far others are from them."""

    def __init__(self, dataset: Dataset, like: np.ndarray) -> None:
        self.names = [phase.name for phase in dataset.phases]
        rng = np.random.default_rng(1)
        self.cubes = matched_crops(dataset, "heldout", like, REPEATS, rng).stack
        self.train = matched_crops(dataset, "train", like, 1, rng).stack
        self.real = self.means(self.cubes)

    def means(self, stack: np.ndarray) -> dict:
        found = [measure(image, self.names, NAMES) for image in stack]
        return {key: mean_vector(np.array([vectors[key] for vectors in found], float)) for key in found[0]}

    def row(self, stack: np.ndarray) -> list[str]:
        own = self.means(stack)
        distances = {key: float(METRICS[key[0]].kind(3).distance(own[key], self.real[key])) for key in own}
        cells = [np.mean([d for key, d in distances.items() if key[0] == name]) for name in NAMES]
        phases = len(self.names)
        ratio = along_axes(stack, phases) / along_axes(self.cubes, phases).mean()
        return [*(f"{100 * cell:.1f}" for cell in cells), slashed(ratio, ".3f"), f"{specks(stack, phases):.1f}"]


def main() -> None:
    parser = options(__doc__, "seed")
    parser.add_argument("model", help="a folder, or the name of a shipped model")
    parser.add_argument("dataset")
    parser.add_argument("variants", nargs="+", type=variant, metavar="VARIANT", help="as above")
    parser.add_argument("--size", type=int, default=32, help="side of the cubes (default 32)")
    parser.add_argument("-n", type=int, default=4, help="volumes of each variant (default 4)")
    chosen = parser.parse_args()
    dataset, shipped = Dataset.open(Path(chosen.dataset)), shipped_models()
    model = load_model(shipped.get(chosen.model, Path(chosen.model)))
    size = (chosen.size,) * 3
    like = dataset.crops("heldout", chosen.n, size, np.random.default_rng(chosen.seed))
    beside = Beside(dataset, like)
    phases = to_model(dataset, model.config)
    totals = counts_of(phases[like], len(phases))
    print_table(["variant", "evaluations", *NAMES, "planes z / y / x", "specks", "s"])
    print_row(["training cubes", "", *beside.row(beside.train), ""])
    print_row(["held-out cubes", "", *beside.row(beside.cubes), ""])
    free = np.ones(size, bool)
    seeds = (sample_seed(chosen.seed, index) for index in range(chosen.n))
    begun = [
        begin((model,) * 3, own / free.size, own, Lattice(size), free, seed).reshape(size)
        for own, seed in zip(totals, seeds, strict=True)
    ]
    powers = {"training cubes": beside.train, "beginning": np.argsort(phases)[np.stack(begun)]}
    for sweeps in chosen.variants:
        began = time.process_time()
        stack = stack_of(sweep((model,) * 3, totals, Lattice(size), sweeps, chosen.seed))
        took = (time.process_time() - began) / chosen.n
        words = ", ".join(f"{k}={v:g}" for k, v in vars(sweeps).items() if v != getattr(PlaneSweeps(), k)) or "default"
        powers[words] = np.argsort(phases)[stack]
        print_row([words, sweeps.evaluations, *beside.row(powers[words]), f"{took:.0f}"])
    print()
    real, columns = power(beside.cubes, len(phases)), [power(stack, len(phases)) for stack in powers.values()]
    print_table(["wavelength", *powers])
    for band, k in enumerate(BANDS):
        if 2 * np.pi / k < 2 * chosen.size:
            print_row([f"{2 * np.pi / k:.0f}", *(f"{column[band] / real[band]:.2f}" for column in columns)])


if __name__ == "__main__":
    main()
