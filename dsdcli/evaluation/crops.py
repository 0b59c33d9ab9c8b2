"""Real crops to compare with: random ones, or ones whose volume fractions are like those of the samples."""

from dataclasses import dataclass

import numpy as np

from dsdcli.data.dataset import Dataset

_POOL = 4096  # random crops looked at for one block of samples
_BLOCK = 256  # matched crops drawn from one pool
_POOL_VOXELS = 2**29
_CHUNK_VOXELS = 2**25


@dataclass(frozen=True)
class RealCrops:
    """``stack``: phase indices (n * repeats, *L), the crops of sample i at [i * repeats, (i + 1) * repeats).

    ``residual``: mean over crops of the largest difference of a volume fraction from that of their sample; None when
    the crops were not matched.
    """

    stack: np.ndarray
    residual: float | None


def fractions(stack: np.ndarray, phases: int) -> np.ndarray:
    """Volume fractions, float64 (n, K), of each image of ``stack`` (n, *L)."""
    flat = stack.reshape(len(stack), -1)
    return np.stack([(flat == index).mean(axis=1) for index in range(phases)], axis=1)


def disjoint_boxes(dataset: Dataset, split: str, size: tuple[int, ...]) -> int:
    """How many volumes of a size lie side by side, without overlap, in the volumes of a split."""
    volumes = [image.array.shape for image in dataset.images(split) if image.axes == "ZYX" and len(size) == 3]
    return sum(int(np.prod([full // side for full, side in zip(shape, size, strict=True)])) for shape in volumes)


def random_crops(dataset: Dataset, split: str, size: tuple[int, ...], n: int, rng: np.random.Generator) -> RealCrops:
    """``n`` crops anywhere in the split.

    Raises:
        DataError: no image of the split holds such a crop.
    """
    return RealCrops(dataset.crops(split, n, size, rng), None)


def matched_crops(
    dataset: Dataset, split: str, samples: np.ndarray, repeats: int, rng: np.random.Generator
) -> RealCrops:
    """For every sample the ``repeats`` real crops of like volume fractions, out of a few thousand random ones.

    The crops are assigned so that the sum over samples and phases of the differences is the least, and none is used
    twice within a block of samples.

    Args:
        dataset: real images.
        split: "train" or "heldout".
        samples: phase indices (n, *L).
        repeats: crops per sample.
        rng: source of randomness.

    Raises:
        DataError: no image of the split holds a crop of this shape.
    """
    wanted = np.repeat(fractions(samples, len(dataset.phases)), repeats, axis=0)
    parts = [
        _match(dataset, split, samples.shape[1:], wanted[start : start + _BLOCK], rng)
        for start in range(0, len(wanted), _BLOCK)
    ]
    stack = np.concatenate(parts)
    residual = np.abs(fractions(stack, len(dataset.phases)) - wanted).max(axis=1).mean()
    return RealCrops(stack, float(residual))


def _match(
    dataset: Dataset, split: str, size: tuple[int, ...], wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    voxels = int(np.prod(size))
    pool = min(_POOL, max(4 * len(wanted), _POOL_VOXELS // voxels))
    chunk = max(1, min(pool, _CHUNK_VOXELS // voxels))
    seeds = rng.integers(2**63, size=-(-pool // chunk))
    # A pool of volumes would not fit into memory: look at the fractions first, then draw the chosen crops again.
    found = np.concatenate([fractions(_draw(dataset, split, chunk, size, seed), len(dataset.phases)) for seed in seeds])
    cost = np.abs(wanted[:, None] - found[None]).sum(axis=2)
    _, chosen = linear_sum_assignment(cost)
    stack = np.empty((len(wanted), *size), np.uint8)
    for number, seed in enumerate(seeds):
        here = chosen // chunk == number
        if here.any():
            stack[here] = _draw(dataset, split, chunk, size, seed)[chosen[here] % chunk]
    return stack


def _draw(dataset: Dataset, split: str, n: int, size: tuple[int, ...], seed: np.int64) -> np.ndarray:
    return dataset.crops(split, n, size, np.random.default_rng(int(seed)))
