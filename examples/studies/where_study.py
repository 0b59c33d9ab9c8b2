"""Counts of cells, profiles, images that are extended, and known slices: do seams show, and is the structure right?

    python examples/studies/where_study.py nmc-2d nmc.dsd.h5
    python examples/studies/where_study.py berea-3d berea.dsd.h5 --check cells slice -n 8
    python examples/studies/where_study.py nmc-2d nmc.dsd.h5 --check slice --planes -n 2

- plain: samples with the counts of real crops, and no cells; the seam is where the borders of cells would be.
- cells: samples with the counts of the cells of real crops. Seam: the share of unlike neighbours across the borders of
  cells, over that across all other planes of voxels.
- profile: the volume fraction of the first phase rises linearly by half of itself along the first axis.
- extend: a held-out crop goes on by 32 voxels on each side. Seam: that across its old border.
- slice: the middle plane across the first axis is that of a held-out crop, whose counts the sample has. Beside: the
  share of unlike neighbours between that plane and those beside it, over the same share in the crop itself.

Two-point and interface compare the parts that were drawn, in blocks of one side, with held-out crops that match them
block by block in volume fractions: the distance of the two-point correlation, and of the interface, for each phase or
pair. In brackets the noise floor: the same distance of as many matched crops of the training part. Intervals are 95 %,
by resampling of the samples.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from shared import options, print_row, print_table, say, slashed, to_model

from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.measures.correlation import two_point
from dsdcli.evaluation.measures.surfaces import interfaces
from dsdcli.evaluation.statistics import Correlation
from dsdcli.pipeline.load import load
from dsdcli.pipeline.model import LoadedModel

BEYOND = 32  # voxels of an extension on each side
FLOORS = 4  # times that the noise floor is drawn
TOGETHER = 32  # blocks that are matched out of a pool of crops: more would use up those that are like them
HEAD = ("check", "samples", "seam or beside", "two-point (%)", "interface (%)")


def unlike(stack: np.ndarray, axis: int) -> np.ndarray:
    """Share of unlike neighbours in images (n, *L) across each plane between voxels along an axis: (n, side - 1)."""
    lines = np.moveaxis(stack, axis + 1, 1)
    return (lines[:, 1:] != lines[:, :-1]).reshape(len(stack), lines.shape[1] - 1, -1).mean(2)


def ratio(above: np.ndarray, below: np.ndarray, rng: np.random.Generator) -> str:
    """Sum over sum of two numbers for each sample, with its interval."""
    chosen = rng.integers(len(above), size=(2000, len(above)))
    low, high = np.quantile(above[chosen].sum(1) / below[chosen].sum(1), [0.025, 0.975])
    return f"{above.sum() / below.sum():.3f} ({low:.3f} to {high:.3f})"


def seam(stack: np.ndarray, borders: Sequence[Sequence[int]], rng: np.random.Generator) -> str:
    """``borders``: along each axis the voxels that begin a cell."""
    across, elsewhere = [], []
    for axis, begin in enumerate(borders):
        found = unlike(stack, axis)
        at = np.isin(np.arange(1, found.shape[1] + 1), list(begin))
        across.append(found[:, at].mean(1))
        elsewhere.append(found[:, ~at].mean(1))
    return ratio(np.sum(across, 0), np.sum(elsewhere, 0), rng)


def tiles(stack: np.ndarray, side: int, keep: Callable[[tuple[int, ...]], bool] = lambda corner: True) -> np.ndarray:
    """The blocks of one side in images (n, *L), those whose corner is to be kept: (m, side, ...)."""
    counts = [length // side for length in stack.shape[1:]]
    corners = [tuple(int(i) * side for i in index) for index in np.ndindex(*counts)]
    return np.concatenate(
        [stack[(slice(None), *(slice(c, c + side) for c in corner))] for corner in corners if keep(corner)]
    )


def structure(blocks: np.ndarray, phases: int) -> tuple[np.ndarray, np.ndarray]:
    """Two-point correlation of each phase, as `Correlation` takes it, and interface of each pair: means."""
    subjects = range(phases if phases > 2 else 1)
    mean = np.mean([[two_point(block == phase)[1] for phase in subjects] for block in blocks], axis=0)
    surface = np.mean([interfaces(block, phases)[np.triu_indices(phases, 1)] for block in blocks], axis=0)
    return np.concatenate([mean[:, :1] ** 2, mean], axis=1), surface


def likeness(blocks: np.ndarray, dataset: Dataset, rng: np.random.Generator) -> tuple[str, str]:
    """Distances of blocks from held-out ones that match them, and in brackets those of training ones, in percent."""
    phases = len(dataset.phases)

    def matched(split: str, repeats: int) -> np.ndarray:
        parts = np.array_split(blocks, -(-len(blocks) // TOGETHER))
        return np.concatenate([matched_crops(dataset, split, part, repeats, rng).stack for part in parts])

    real = structure(matched("heldout", 2), phases)

    def away(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        correlation, surface = structure(some, phases)
        return 100 * Correlation().distance(correlation, real[0]), 100 * np.abs(surface / real[1] - 1)

    got = away(blocks)
    floors = [away(matched("train", 1)) for _ in range(FLOORS)]
    floor = [np.mean([one[i] for one in floors], axis=0) for i in (0, 1)]
    return tuple(f"{slashed(g)} ({slashed(f)})" for g, f in zip(got, floor, strict=True))


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("model", help="name or path of a model")
    parser.add_argument("dataset", type=Path, help="the dataset it was trained on")
    parser.add_argument("-n", type=int, default=32, help="samples (default 32)")
    parser.add_argument("--side", type=int, default=16, help="of cells and blocks (default 16)")
    checks = ["plain", "cells", "profile", "extend", "slice"]
    parser.add_argument("--check", nargs="+", choices=checks, default=checks[:4], help="what (default: all but slice)")
    parser.add_argument("--planes", action="store_true", help="volumes of planes, by a 2D model")
    chosen = parser.parse_args()
    dataset, rng = Dataset.open(chosen.dataset), np.random.default_rng(chosen.seed)
    model: LoadedModel = load(chosen.model, str(pick_device(chosen.device)))
    config, n, side = model.config, chosen.n, chosen.side
    size = (2 * BEYOND,) * 2 if config.ndim == 2 and not chosen.planes else (BEYOND,) * 3
    back = np.argsort(to_model(dataset, config))  # the dataset's index of every phase of the model
    labels = np.array([phase.label for phase in config.phases])[to_model(dataset, config)]
    unknown = int(labels.max()) + 1
    print_table(HEAD)

    def draw(number: int, seed: int, **request: object) -> np.ndarray:
        steps = {} if chosen.planes else {"steps": chosen.steps}
        return back[model.generate(number, seed=chosen.seed + seed, **steps, **request).stack].astype(np.uint8)

    for check in chosen.check:
        say(check)
        if check in ("plain", "cells"):
            stack = draw(n, 0, size=size, like=dataset, exact_in=side if check == "cells" else None)
            borders = [range(side, length, side) for length in size]
            print_row([check, n, seam(stack, borders, rng), *likeness(tiles(stack, side), dataset, rng)])
        elif check == "profile":
            typical = config.fractions[0]
            line = {config.phases[0].name: ("zyx"[-len(size)], [0.75 * typical, 1.25 * typical])}
            stack = draw(n, 0, size=size, profile=line, exact_in=side)
            borders = [range(side, length, side) for length in size]
            print_row([check, n, seam(stack, borders, rng), *likeness(tiles(stack, side), dataset, rng)])
        elif check == "extend":
            crops = dataset.crops("heldout", n, size, rng)
            beyond = dict.fromkeys("zyx"[-len(size) :], (BEYOND, BEYOND))
            stack = np.concatenate([draw(1, i, known=labels[crop], extend=beyond) for i, crop in enumerate(crops)])
            # The borders of the crop, where the crop is beside them; elsewhere in all that was drawn.
            across, elsewhere = [], []
            for axis in range(len(size)):
                beside = tuple(slice(None) if a == axis else slice(BEYOND, -BEYOND) for a in range(len(size)))
                lines, drawn = unlike(stack[(slice(None), *beside)], axis), unlike(stack, axis)
                across.append((lines[:, BEYOND - 1] + lines[:, -BEYOND]) / 2)
                elsewhere.append((drawn[:, : BEYOND - 1].mean(1) + drawn[:, 1 - BEYOND :].mean(1)) / 2)
            inner = [range(BEYOND, BEYOND + length) for length in size]
            new = tiles(stack, side, lambda corner: not all(c in r for c, r in zip(corner, inner, strict=True)))  # noqa: B023
            print_row([check, n, ratio(np.sum(across, 0), np.sum(elsewhere, 0), rng), *likeness(new, dataset, rng)])
        else:
            crops, middle = dataset.crops("heldout", n, size, rng), size[0] // 2
            made = []
            for i, crop in enumerate(crops):
                known = np.full(size, unknown)
                known[middle] = labels[crop[middle]]
                counts = {phase.name: int((crop == k).sum()) for k, phase in enumerate(dataset.phases)}
                made.append(draw(1, i, size=size, known=known, unknown=unknown, counts=counts))
                say(f"{i + 1} of {n}")
            stack = np.concatenate(made)
            beside = slice(middle - 1, middle + 1)
            found = ratio(*(unlike(some, 0)[:, beside].mean(1) for some in (stack, crops)), rng)
            print_row([check, n, found, *likeness(tiles(stack, side), dataset, rng)])


if __name__ == "__main__":
    main()
