"""A property against the size of the window that it is measured in: its mean and its spread."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.data.phases import IGNORED
from dsdcli.evaluation.metrics import METRICS, Key
from dsdcli.evaluation.representative import PhaseFraction, model_shares
from dsdcli.evaluation.workers import Workers, measure_all

SMALLEST = 8  # side in voxels
_FRACTION = "volume-fraction"
_MOST = 16  # windows of a size on which metrics are measured
_VOXELS = 2**22  # of all of these windows together


@dataclass(frozen=True)
class Spread:
    """Of one property over square or cubic windows of one size, side by side.

    Attributes:
        subject: phase, pair of phases, or phase and axis.
        windows: in how many the property exists.
        mean, deviation: over these; in voxels where the property has a length.
        expected: deviation by the integral range and the correlation lengths; NaN for all but fractions.
    """

    metric: str
    subject: str
    side: int
    windows: int
    mean: float
    deviation: float
    expected: float


def window_sides(images: Sequence[np.ndarray]) -> list[int]:
    """Sides of windows: 8 voxels and doubled from there, as long as some lie side by side in each image."""
    shortest = min(min(image.shape) for image in images)
    return [SMALLEST * 2**n for n in range(32) if SMALLEST * 2 ** (n + 1) <= shortest]


def fraction_spreads(images: Sequence[np.ndarray], found: Sequence[PhaseFraction]) -> list[Spread]:
    """Volume fractions over all disjoint windows without left-out voxels.

    Windows of one image differ less than those of the material do: the deviation is that of both, within the image
    and, by the image's own interval, between images.

    Args:
        images: phase indices (*L).
        found: what they say of each phase, in the order of the indices.
    """
    spreads = []
    ndim = images[0].ndim
    for (index, about), side in itertools.product(enumerate(found), window_sides(images)):
        values = np.concatenate([_fractions(image, index, side) for image in images])
        if len(values) < 2 or not about.volumes:
            continue
        spread = about.fraction * (1 - about.fraction)
        deviation = math.sqrt(float(values.var()) + spread / about.volumes)
        share = model_shares((side,) * ndim, about.lengths)[1]
        expected = math.sqrt(spread * about.integral_range / side**ndim / share)
        spreads.append(Spread(_FRACTION, about.phase, side, len(values), float(values.mean()), deviation, expected))
    return spreads


def metric_spreads(
    images: Sequence[np.ndarray],
    phases: Sequence[str],
    metrics: Sequence[str],
    workers: Workers,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Spread]:
    """Metrics of `dsdcli.evaluation.metrics` over disjoint windows, at most 16 of a size, drawn without replacement."""
    drawn = [(side, _draw(images, side, rng)) for side in window_sides(images)]
    windows = [window for _, some in drawn for window in some]
    vectors = iter(measure_all(windows, phases, metrics, workers, progress=progress))
    spreads: list[Spread] = []
    for side, some in drawn:
        measured = list(itertools.islice(vectors, len(some)))
        for key in measured[0] if measured else ():
            values = np.array([_summary(key, of_one[key], images[0].ndim) for of_one in measured])
            values = values[np.isfinite(values)]
            if len(values) > 1:
                mean, deviation = float(values.mean()), float(values.std(ddof=1))
                spreads.append(Spread(*key, side, len(values), mean, deviation, math.nan))
    return sorted(spreads, key=lambda spread: (metrics.index(spread.metric), spread.subject, spread.side))


def _summary(key: Key, vector: np.ndarray, axes: int) -> float:
    """The characteristic number of a metric on one image; NaN where it has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(METRICS[key[0]].kind(axes).summary(np.asarray(vector, float)))


def _fractions(image: np.ndarray, index: int, side: int) -> np.ndarray:
    """Fractions of a phase in disjoint windows without left-out voxels, (n,)."""
    blocks = _blocks(image, side)
    inner = tuple(range(1, 2 * image.ndim, 2))
    values = (blocks == index).mean(axis=inner)
    return values[blocks.max(axis=inner) != IGNORED]


def _blocks(image: np.ndarray, side: int) -> np.ndarray:
    """Disjoint windows of an image, a view (n, side, m, side, ...)."""
    numbers = [n // side for n in image.shape]
    cut = image[tuple(slice(n * side) for n in numbers)]
    return cut.reshape([size for n in numbers for size in (n, side)])


def _draw(images: Sequence[np.ndarray], side: int, rng: np.random.Generator) -> list[np.ndarray]:
    number = max(2, min(_MOST, _VOXELS // side ** images[0].ndim))
    places = [
        (image, np.array(corner) * side) for image in images for corner in np.ndindex(*(n // side for n in image.shape))
    ]
    chosen: list[np.ndarray] = []
    for at in rng.permutation(len(places)):
        image, corner = places[at]
        window = image[tuple(slice(start, start + side) for start in corner)]
        if window.max() != IGNORED:
            chosen.append(window)
        if len(chosen) == number:
            break
    return chosen
