"""What `inpaint_quality.py` measures of filled holes: their rims, their correlations inside and across, intervals."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

LAGS = 16
RESAMPLES = 1000


@dataclass(frozen=True)
class Statistics:
    """What is measured of every hole; the first axis are the images.

    Attributes:
        rim: how many neighbours across the rim differ, (n, 1 + pairs): all, then those of every pair of phases.
        faces: the same of neighbours inside.
        inside: covariance of each phase between voxels of the hole, (n, K, LAGS); NaN at lags without pairs.
        across: the same between a voxel in the hole and one outside.
    """

    rim: np.ndarray
    faces: np.ndarray
    inside: np.ndarray
    across: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, masks: np.ndarray, phases: int) -> "Statistics":
        """Measure images (n, *L) that have a hole each, masks (n, *L)."""
        rows = [
            (
                unlike(image, hole, ~hole, phases),
                unlike(image, hole, hole, phases),
                covariance(image, hole, hole, phases),
                covariance(image, hole, ~hole, phases),
            )
            for image, hole in zip(images, masks, strict=True)
        ]
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))


def unlike(image: np.ndarray, a: np.ndarray, b: np.ndarray, phases: int) -> np.ndarray:
    """Faces between unlike voxels, one in the set ``a``, one in ``b``: all, then by pairs of phases; (1 + pairs,).

    Within one set every face is counted from both sides.
    """
    found = np.zeros((phases, phases), np.int64)
    for axis in range(image.ndim):
        low, high = ((slice(None),) * axis + (s,) for s in (slice(None, -1), slice(1, None)))
        for one, other in ((low, high), (high, low)):
            both = a[one] & b[other]
            np.add.at(found, (image[one][both], image[other][both]), 1)
    pairs = (found + found.T)[np.triu_indices(phases, 1)]
    return np.append(pairs.sum(), pairs)


def covariance(image: np.ndarray, a: np.ndarray, b: np.ndarray, phases: int) -> np.ndarray:
    """S2 - phi_a phi_b of each phase between voxels of ``a`` and of ``b`` at lags of 1 .. LAGS voxels: (K, LAGS)."""
    padded = [scipy.fft.next_fast_len(side + LAGS + 1, real=True) for side in image.shape]
    steps = [np.minimum(np.arange(n), n - np.arange(n)) for n in padded]
    lag = np.sqrt(sum(step**2.0 for step in np.ix_(*steps))).astype(np.int64).clip(max=LAGS + 1).ravel()

    def pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        spectrum = np.conj(scipy.fft.rfftn(one, padded)) * scipy.fft.rfftn(other, padded)
        return np.bincount(lag, np.rint(scipy.fft.irfftn(spectrum, padded)).ravel())[1 : LAGS + 1]

    a, b = a.astype(float), b.astype(float)
    possible = pairs(a, b)
    rows = []
    for here in (image == phase for phase in range(phases)):
        with np.errstate(invalid="ignore"):
            rows.append(pairs(here * a, here * b) / possible - np.average(here, weights=a) * (here * b).sum() / b.sum())
    return np.array(rows)


def errors(found: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Relative L2 distance of the mean covariance of each phase, from (n, K, LAGS) and (m, K, LAGS): (K,)."""
    a, b = np.nanmean(found, 0), np.nanmean(real, 0)
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)


def floor(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`errors` between halves of the real holes, scaled to two sets as large as all of them: (K,)."""
    orders = [rng.permutation(len(real)) for _ in range(50)]
    return np.mean([errors(real[order[::2]], real[order[1::2]]) for order in orders], axis=0) / np.sqrt(2)


def ratios(found: np.ndarray, real: np.ndarray, crops: int, rng: np.random.Generator) -> list[str]:
    """Ratios of mean counts (n, m) and (n', m), both in the order of the crops, with intervals."""
    found, real = (x.reshape(crops, -1, x.shape[-1]).mean(1) for x in (found, real))
    chosen = rng.integers(crops, size=(RESAMPLES, crops))
    low, high = np.percentile(found[chosen].sum(1) / real[chosen].sum(1), [2.5, 97.5], axis=0)
    return [f"{r:.2f} [{a:.2f}, {b:.2f}]" for r, a, b in zip(found.sum(0) / real.sum(0), low, high, strict=True)]
