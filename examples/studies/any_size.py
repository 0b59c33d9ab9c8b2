"""A model trained on small crops makes samples of any size: are they as good when they are large, and seamless?

    python examples/studies/any_size.py berea-2d --real berea.dsd.h5 -o any-size.png

For each kind of walls and each size, as many samples as make up the same area (one of the largest) are compared with
held-out crops of that size and of like volume fractions, or of the largest size before it that the dataset holds:

- two-point: distance of the two-point correlation of each phase, at the lags up to half the training crop;
- pore size: difference in the mean radius of each phase by local thickness;
- interface: difference in interface per area, for each pair of phases;
- local: standard deviation of each phase's volume fraction between windows as large as the training crop.

In brackets, what as many training crops give in the place of the samples: the noise floor. Then the seam test: across
the border of periodic samples neighbours should differ as often as elsewhere. The picture is a periodic sample of
512x512 (or the largest), shifted by half its size, so that its border runs through the middle.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from shared import options, print_row, print_table, samples, slashed, to_model, typical_totals

from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.errors import DataError
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.measures.correlation import two_point
from dsdcli.evaluation.measures.surfaces import interfaces
from dsdcli.evaluation.measures.thickness import local_thickness
from dsdcli.evaluation.statistics import Correlation
from dsdcli.files import atomic
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.view.sheet import colours

REAL_CROPS = 64  # held-out crops of each size, or more
PICTURE = 512


@dataclass(frozen=True)
class Statistics:
    """Of a stack of images. ``correlation``: (subjects, m), as `Correlation` takes it; ``radius``: (phases,), mean;
    ``interface``: (pairs,); ``local``: (subjects,), NaN where an image is one window. The subjects are the phases; one
    of two is enough."""

    correlation: np.ndarray
    radius: np.ndarray
    interface: np.ndarray
    local: np.ndarray

    @classmethod
    def of(cls, stack: np.ndarray, phases: int, window: int) -> "Statistics":
        subjects = range(phases if phases > 2 else 1)
        s2 = [[two_point(image == phase)[1][: window // 2] for phase in subjects] for image in stack]
        mean = np.mean(s2, axis=0)  # (subjects, window // 2), from lag 0 on, which is phi
        sizes = np.sum([[local_thickness(image == phase) for phase in range(phases)] for image in stack], axis=0)
        radius = sizes @ np.arange(sizes.shape[1]) / sizes.sum(axis=1)
        surface = np.mean([interfaces(image, phases)[np.triu_indices(phases, 1)] for image in stack], axis=0)
        correlation = np.concatenate([mean[:, :1] ** 2, mean], axis=1)
        return cls(correlation, radius, surface, local_deviation(stack, subjects, window))

    def differences(self, real: "Statistics") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Relative distances from real: two-point correlation (subjects,), radius (phases,), interface (pairs,)."""
        distance = Correlation().distance(self.correlation, real.correlation)
        return distance, self.radius / real.radius - 1, self.interface / real.interface - 1


def local_deviation(stack: np.ndarray, subjects: range, window: int) -> np.ndarray:
    """Standard deviation of the volume fractions between windows, (subjects,): from the unbiased variance within each
    image, since the total of an image is fixed."""
    rows, columns = (side // window for side in stack.shape[1:])
    if rows * columns < 2:
        return np.full(len(subjects), np.nan)
    tiles = stack[:, : rows * window, : columns * window].reshape(len(stack), rows, window, columns, window)
    local = np.stack([(tiles == phase).mean((2, 4)).reshape(len(stack), -1) for phase in subjects])
    return np.sqrt(local.var(axis=2, ddof=1).mean(axis=1))


def real_statistics(dataset: Dataset, samples: np.ndarray, window: int) -> tuple[Statistics, Statistics] | None:
    """Of held-out and of training crops like ``samples``; None where the dataset has none so large."""
    phases = len(dataset.phases)
    repeats = -(-REAL_CROPS // len(samples))
    try:
        heldout, train = (
            matched_crops(dataset, split, samples, n, np.random.default_rng(n)).stack
            for split, n in (("heldout", repeats), ("train", 1))
        )
    except DataError:
        return None
    return Statistics.of(heldout, phases, window), Statistics.of(train, phases, window)


def seam(stack: np.ndarray) -> tuple[float, float, float, float]:
    """Share of unlike neighbours across the border, and across any other line between rows and columns: its mean and
    standard deviation, and the share of lines that are as far from the mean as the border or farther."""
    lines = sum((stack != np.roll(stack, -1, axis)).mean(axis=(0, 3 - axis)) for axis in (1, 2)) / 2  # (side,)
    border, others = lines[-1], lines[:-1]
    mean = others.mean()
    return border, mean, others.std(), (np.abs(others - mean) >= abs(border - mean)).mean()


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("model", help="name or path of a 2D model")
    parser.add_argument("--real", type=Path, required=True, metavar="DATASET", help="the dataset it was trained on")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--walls", nargs="+", default=["noflux", "periodic"])
    parser.add_argument("--area", type=int, default=2**20, help="voxels of each size, or more (default 1024^2)")
    parser.add_argument("-o", "--out", type=Path, help="picture of a periodic sample")
    chosen = parser.parse_args()
    began = time.monotonic()
    dataset = Dataset.open(chosen.real)
    model = load_model(find_model(chosen.model), pick_device(chosen.device))
    window = max(model.config.size)
    order = np.argsort(to_model(dataset, model.config)).astype(np.uint8)  # the dataset's index of each phase
    names, phases = [phase.name for phase in dataset.phases], len(dataset.phases)
    pairs = [f"{names[a]}-{names[b]}" for a, b in zip(*np.triu_indices(phases, 1), strict=True)]
    print(f"in %; phases {' / '.join(names)} (one of two is enough), interfaces {' / '.join(pairs)}\n")
    columns = ("walls", "samples", "real", "two-point", "pore size", "interface", "local", "real local", "seconds")
    print_table(columns)
    seams, picture, real = [], None, {}
    for walls in chosen.walls:
        for side in sorted(chosen.sizes):
            lattice = Lattice((side, side), walls)
            start = time.monotonic()
            totals = typical_totals(model.config, lattice, max(1, chosen.area // side**2))
            stack = order[samples(model, totals, lattice, Trapezoidal(steps=chosen.steps), chosen.seed)]
            seconds = time.monotonic() - start
            if side not in real and (found := real_statistics(dataset, stack, window)):
                real[side] = found
            nearest = max(size for size in real if size <= side)
            heldout, train = real[nearest]
            made = Statistics.of(stack, phases, window)
            (s2, radius, surface), floor = made.differences(heldout), train.differences(heldout)
            print_row(
                (
                    walls,
                    f"{len(stack)} of {side}x{side}",
                    f"{nearest}x{nearest}",
                    f"{slashed(100 * s2)} ({slashed(100 * floor[0])})",
                    f"{slashed(100 * radius, '+.1f')} ({slashed(100 * floor[1], '+.1f')})",
                    f"{slashed(100 * surface, '+.1f')} ({slashed(100 * floor[2], '+.1f')})",
                    slashed(100 * made.local),
                    f"{slashed(100 * heldout.local)} ({slashed(100 * train.local)})",
                    f"{seconds:.0f}",
                )
            )
            if walls == "periodic":
                border, mean, deviation, farther = seam(stack)
                elsewhere = f"{100 * mean:.2f} ({100 * deviation:.2f})"
                seams.append((f"{side}x{side}", f"{100 * border:.2f}", elsewhere, f"{100 * farther:.0f}"))
                if picture is None or side <= PICTURE:
                    picture = stack[0]
    if seams:
        print()
        head = ("unlike across the border, %", "elsewhere, % (deviation)", "lines as far from the mean, %")
        print_table(("periodic", *head), seams)
    if chosen.out and picture is not None:
        shifted = np.roll(picture, [side // 2 for side in picture.shape], (0, 1))
        image = Image.fromarray(shifted, "P")
        image.putpalette(colours(dataset.phases).ravel().tolist())
        with atomic(chosen.out) as temporary:
            image.save(temporary, "PNG", optimize=True)
        print(f"\n{chosen.out}")
    print(f"\nevery count exact; {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
