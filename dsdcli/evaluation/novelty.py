"""Are the samples new, and do they differ from each other? Both asked of real held-out crops too, as the measure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.compare import Row, resampling_weights
from dsdcli.evaluation.crops import fractions
from dsdcli.evaluation.neighbours import Neighbour, nearest_crops

Nearest = Callable[[np.ndarray, Dataset], list[Neighbour]]
Pairwise = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

MOST = 256  # samples searched for in the training images
_REPEATS = 2  # held-out crops searched for, per sample
_COPY = 0.5  # a sample less than this many times as far from training as a like held-out crop counts as a copy
_CERTAIN = 0.1  # and is one without doubt below this
_TWIN = 0.25  # two images that differ this many times as much as their volume fractions let expect count as twins
_NOTABLE = 1.1  # ratio from which a shift of the whole ensemble is named


@dataclass(frozen=True)
class Novelty:
    """Memorisation or diversity of the samples.

    ``distances`` and ``real`` are shares of differing voxels: to the nearest training crop, of the samples and of
    held-out crops, or between all pairs of samples and of held-out crops. ``counted`` samples are suspicious (copies of
    training crops; samples with a twin), ``expected`` ones would be if they were real. ``pair`` is the closest pair:
    number of the sample, and the training crop (turned to lie like it) or the other sample.
    """

    row: Row
    distances: np.ndarray
    real: np.ndarray
    counted: int
    expected: float
    pair: tuple[int, np.ndarray]


def memorisation(
    stack: np.ndarray, heldout: np.ndarray, dataset: Dataset, rng: np.random.Generator, nearest: Nearest = nearest_crops
) -> Novelty:
    """Compare the distances of samples to their nearest training crops with those of held-out crops.

    Crops are searched over all positions and symmetries, for the first `MOST` samples.

    Args:
        stack: samples, phase indices (n, *L).
        heldout: real crops of like volume fractions, (n * r, *L), those of sample i at [i * r, (i + 1) * r).
        dataset: the training images.
        rng: of the bootstrap.
        nearest: finds the nearest training crops.

    Raises:
        DataError: the training images hold no crop of this size.
    """
    repeats = len(heldout) // len(stack)
    crops = heldout.reshape(len(stack), repeats, *heldout.shape[1:])[:MOST, :_REPEATS]
    stack = stack[:MOST]
    found = nearest(stack, dataset)
    distances = _distances(found)
    real = _distances(nearest(crops.reshape(-1, *stack.shape[1:]), dataset)).reshape(len(stack), -1)
    counted, expected = _count_copies(distances, real, _COPY)
    weights = resampling_weights(len(stack), rng)
    ratios = [_ratio(_median(real.mean(axis=1), w), _median(distances, w)) for w in weights]
    ratio = _ratio(np.median(real.mean(axis=1)), np.median(distances))
    low, high = np.quantile(ratios, [0.025, 0.975], method="closest_observation")
    if _excess(counted, expected) or _excess(*_count_copies(distances, real, _CERTAIN)):
        verdict = "memorised"
    else:
        verdict = "closer than real" if low > 1 and ratio > _NOTABLE else "novel"
    closest = int(np.argmin(distances / np.maximum(real.mean(axis=1), 1e-9)))
    row = _row("memorisation", np.median(distances), np.median(real), ratio, low, high, verdict)
    return Novelty(row, distances, real, counted, expected, (closest, found[closest].crop))


def diversity(
    stack: np.ndarray, heldout: np.ndarray, phases: int, rng: np.random.Generator, pairwise: Pairwise | None = None
) -> Novelty:
    """Compare the distances among samples with those among as many real crops.

    Args:
        stack: samples, phase indices (n, *L).
        heldout: real crops of like volume fractions, (n, *L).
        phases: their number.
        rng: of the bootstrap.
        pairwise: distances of images of another kind, and those of unrelated ones, (n, n) each.
    """
    n = len(stack)
    pairwise = pairwise or (lambda images: (_pairwise(images, phases), _by_chance(images, phases)))
    (ours, ours_by_chance), (theirs, theirs_by_chance) = pairwise(stack), pairwise(heldout)
    others = ~np.eye(n, dtype=bool)
    typical = theirs[others].mean()
    twins = [
        int(((distances < _TWIN * chance) & others).any(axis=1).sum())
        for chance, distances in ((ours_by_chance, ours), (theirs_by_chance, theirs))
    ]
    means = []
    for weight in resampling_weights(n, rng):
        pairs = np.outer(weight, weight) * others
        means.append(_ratio((pairs * theirs).sum(), (pairs * ours).sum()))
    ratio = _ratio(typical, ours[others].mean())
    low, high = np.quantile(means, [0.025, 0.975], method="closest_observation")
    if _excess(twins[0], twins[1]):
        verdict = "repetitive"
    else:
        verdict = "less than real" if low > 1 and ratio > _NOTABLE else "diverse"
    a, b = np.unravel_index(np.argmin(np.where(others, ours, np.inf)), ours.shape)
    row = _row("diversity", ours[others].mean(), typical, ratio, low, high, verdict)
    return Novelty(row, ours[others], theirs[others], twins[0], float(twins[1]), (int(a), stack[b]))


def _count_copies(distances: np.ndarray, real: np.ndarray, factor: float) -> tuple[int, float]:
    """Samples nearer than ``factor`` times all of their held-out crops, and how many those crops let expect."""
    counted = (distances[:, None] < factor * real).all(axis=1).sum()
    return int(counted), float((real[:, ::-1] < factor * real).mean(axis=1).sum())


def _distances(found: list[Neighbour]) -> np.ndarray:
    return np.array([neighbour.distance for neighbour in found])


def _pairwise(stack: np.ndarray, phases: int) -> np.ndarray:
    """Share of voxels in which images differ, (n, n)."""
    flat = stack.reshape(len(stack), -1)
    same = np.zeros((len(stack), len(stack)))
    for phase in range(phases):
        here = (flat == phase).astype(np.float32)
        same += here @ here.T
    return 1 - same / flat.shape[1]


def _by_chance(stack: np.ndarray, phases: int) -> np.ndarray:
    """Share of voxels in which unrelated images of these volume fractions differ, (n, n)."""
    found = fractions(stack, phases)
    return 1 - found @ found.T


def _excess(counted: int, expected: float) -> bool:
    """Whether more were counted than chance would give."""
    return counted > expected + 2 * np.sqrt(expected) + 0.5


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.median(np.repeat(values, weights.astype(int))))


def _ratio(real: float, generated: float) -> float:
    if real == generated:
        return 1.0
    return float(real / generated) if generated else np.inf


def _row(metric: str, generated: float, real: float, ratio: float, low: float, high: float, verdict: str) -> Row:
    return Row(
        metric,
        "all",
        generated=float(generated),
        real=float(real),
        distance=np.nan,
        floor=np.nan,
        ratio=ratio,
        low=float(low),
        high=float(high),
        p=np.nan,
        verdict=verdict,
    )
