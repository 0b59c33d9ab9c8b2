"""Distances between ensembles, the noise floor of real against real, and what the two say together."""

from dataclasses import dataclass, replace

import numpy as np

from dsdcli.evaluation.metrics import METRICS, Key
from dsdcli.evaluation.statistics import Kind

Ensemble = dict[Key, np.ndarray]  # vectors of all images, (n, m)

_RESAMPLES = 500
_MATCHED = 0.05  # mean difference of volume fractions, relative to the real one, up to which crops count as matched
_LEAST_MATCHED = 0.005  # but at least this difference
_CLOSE = 2.0  # ratio to the noise floor up to which a difference that can be seen still counts as close
_CHANCE = 0.05  # what happens more often than this by exchange of samples and real crops shows no difference


@dataclass(frozen=True)
class Row:
    """One compared quantity. Lengths are in voxels; distances are relative, as the metric's kind defines them.

    ``floor`` is the distance that as many real training crops have on average, ``ratio`` distance over floor, with
    the 95 % interval [low, high]. ``p``: how often the distance is as large when samples and held-out crops change
    places at random. NaN marks what does not exist.
    """

    metric: str
    subject: str
    generated: float
    real: float
    distance: float
    floor: float
    ratio: float
    low: float
    high: float
    p: float
    verdict: str


def alike(fractions: np.ndarray, crops: np.ndarray) -> bool:
    """Whether crops (n * r,) have the volume fractions of a phase that their samples (n,) have, on average."""
    missed = np.abs(np.repeat(fractions, len(crops) // len(fractions)) - crops).mean()
    return bool(missed <= max(_MATCHED * crops.mean(), _LEAST_MATCHED))


def judge(ratio: float, low: float, p: float) -> str:
    """The verdict from a ratio to the noise floor, the low end of its interval, and p.

    Returns:
        "indistinguishable", "close" or "off"; "undefined" where there is nothing to compare.
    """
    if np.isnan(ratio):
        return "undefined"
    if low <= 1 or p > _CHANCE:
        return "indistinguishable"
    return "close" if ratio <= _CLOSE else "off"


@dataclass(frozen=True)
class _Resamples:
    """Weights of images in resampled ensembles, (B, images)."""

    generated: np.ndarray
    heldout: np.ndarray
    train_subset: np.ndarray  # of the training crops, as many as samples, drawn without replacement
    exchanged: np.ndarray  # of samples followed by held-out crops: those that take the part of the samples


def compare(
    generated: Ensemble, heldout: Ensemble, train: Ensemble, axes: int, matched: bool, rng: np.random.Generator
) -> list[Row]:
    """Compare generated with held-out vectors, beside training vectors with held-out ones.

    Args:
        generated: of n samples.
        heldout: of n * r real crops, those of sample i at [i * r, (i + 1) * r).
        train: likewise, from the part of the real image that the model was trained on.
        axes: dimension of the images.
        matched: whether the crops were matched to the samples; if so, a sample and its crops are resampled together.
        rng: of the bootstrap.

    Returns:
        one row for each metric and subject, in the order of `METRICS`.
    """
    weights: dict[tuple[int, int, int], _Resamples] = {}
    rows = []
    order = list(METRICS)
    for key in sorted(generated, key=lambda key: order.index(key[0])):  # a stable sort
        vectors = generated[key]
        sizes = (len(vectors), len(heldout[key]), len(train[key]))
        if sizes not in weights:
            weights[sizes] = _resample(*sizes, matched, rng)
        row = _row(key, METRICS[key[0]].kind(axes), vectors, heldout[key], train[key], weights[sizes])
        if matched and row.metric in (
            "volume-fraction",
            "mean",
        ):  # equal by choice of the crops, if there are such
            if alike(vectors[:, 0], heldout[key][:, 0]):
                row = replace(row, floor=np.nan, ratio=np.nan, low=np.nan, high=np.nan, p=np.nan, verdict="matched")
            else:
                row = replace(row, verdict="unmatched")
        rows.append(row)
    return rows


def mean_vector(vectors: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of vectors (n, m), leaving out those with a NaN; with ``weights`` (B, n) of each resample, (B, m)."""
    valid = ~np.isnan(vectors).any(axis=1)
    weights = np.ones(len(vectors)) if weights is None else weights
    with np.errstate(invalid="ignore"):
        return (weights[..., valid] @ vectors[valid]) / weights[..., valid].sum(-1)[..., None]


def resampling_weights(images: int, rng: np.random.Generator) -> np.ndarray:
    """How often each image is drawn in each bootstrap resample, float (resamples, images)."""
    return rng.multinomial(images, np.full(images, 1 / images), size=_RESAMPLES).astype(float)


def _resample(samples: int, heldout: int, train: int, matched: bool, rng: np.random.Generator) -> _Resamples:
    generated = resampling_weights(samples, rng)
    resampled = generated if matched else resampling_weights(samples, rng)
    chosen = rng.integers(train // samples, size=(_RESAMPLES, samples))
    return _Resamples(
        generated=generated,
        heldout=np.repeat(resampled, heldout // samples, axis=1),
        train_subset=np.eye(train // samples)[chosen].reshape(_RESAMPLES, train),
        exchanged=_exchange(samples, heldout // samples, rng),
    )


def _exchange(samples: int, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """0/1 weights (resamples, samples * (1 + repeats)): out of each sample and its crops one, at random."""
    chosen = np.eye(1 + repeats)[rng.integers(1 + repeats, size=(_RESAMPLES, samples))]
    own, others = chosen[..., :1], chosen[..., 1:]
    return np.concatenate([own.reshape(_RESAMPLES, -1), others.reshape(_RESAMPLES, -1)], axis=1)


def _row(
    key: Key, kind: Kind, generated: np.ndarray, heldout: np.ndarray, train: np.ndarray, weights: _Resamples
) -> Row:
    real = mean_vector(heldout)
    distance = float(kind.distance(mean_vector(generated), real))
    floor = _mean(kind.distance(mean_vector(train, weights.train_subset), real))
    resampled = kind.distance(mean_vector(generated, weights.generated), mean_vector(heldout, weights.heldout))
    low, high = _interval(distance, resampled)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio, low, high = (float(np.divide(value, floor)) for value in (distance, low, high))
    everyone = np.concatenate([generated, heldout])
    sides = mean_vector(everyone, weights.exchanged), mean_vector(everyone, 1 - weights.exchanged)
    exchanged = _either_way(kind, *sides)
    p = float((1 + (exchanged >= _either_way(kind, mean_vector(generated), real)).sum()) / (1 + len(exchanged)))
    summaries = [float(kind.summary(mean)) for mean in (mean_vector(generated), real)]
    return Row(
        *key,
        generated=summaries[0],
        real=summaries[1],
        distance=distance,
        floor=floor,
        ratio=ratio,
        low=low,
        high=high,
        p=p,
        verdict="undefined" if np.isnan(summaries).any() else judge(ratio, low, p),
    )


def _either_way(kind: Kind, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The lesser of the distances of two ensembles, relative to the one or to the other: a measure that does not change
    when they change places, as its distribution under exchange must not."""
    return np.fmin(kind.distance(one, other), kind.distance(other, one))


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else np.nan


def _interval(distance: float, resampled: np.ndarray) -> tuple[float, float]:
    """95 % interval of a distance from its bootstrap.

    Resampling adds the noise of the ensembles once more, which only ever lengthens a distance: what it adds to the mean
    square is taken away again.
    """
    resampled = resampled[np.isfinite(resampled)]
    if not np.isfinite(distance) or not len(resampled):
        return distance, distance
    squares = resampled**2
    low, high = np.quantile(np.sqrt(np.maximum(squares - squares.mean() + distance**2, 0)), [0.025, 0.975])
    return float(low), float(high)
