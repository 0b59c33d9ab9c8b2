"""How ensembles are summed up and compared: curves, size distributions and plain numbers.

Each image gives one vector per quantity. An ensemble is represented by the mean of its vectors, and all functions here
take means with any leading axes, (..., m), so that many resampled ensembles are compared at once.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Kind(Protocol):
    """What a vector of numbers means."""

    @property
    def length(self) -> int:
        """Power of the unit of length in which `summary` is expressed: 1 voxel, -1 per voxel, ..."""
        ...

    def summary(self, mean: np.ndarray) -> np.ndarray:
        """One characteristic number of an ensemble, (...,), in voxels."""

    def distance(self, mean: np.ndarray, real: np.ndarray) -> np.ndarray:
        """Relative distance of ensembles to real ones, (...,), without unit; NaN where it does not exist."""


@dataclass(frozen=True)
class Correlation:
    """A two-point correlation: vector (phi^2, phi, S2 at every lag from 1 on).

    Distance: sum of |difference| over the lags, relative to the sum of S2 - phi^2 of the real ensemble. The summary is
    the correlation length: that sum over phi - phi^2.
    """

    length: int = 1

    def summary(self, mean: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._covariance(mean) / (mean[..., 1] - mean[..., 0])

    def distance(self, mean: np.ndarray, real: np.ndarray) -> np.ndarray:
        scale = self._covariance(real)
        # An ordered structure has as much negative covariance as positive: then its size is the scale.
        scale = np.where(scale > 0, scale, np.abs(real[..., 2:] - real[..., :1]).sum(-1))
        return _relative(np.abs(mean[..., 2:] - real[..., 2:]).sum(-1), scale)

    @staticmethod
    def _covariance(mean: np.ndarray) -> np.ndarray:
        return (mean[..., 2:] - mean[..., :1]).sum(-1)


@dataclass(frozen=True)
class LinealPath:
    """A lineal path function: vector (phi repeated per axis, then L at every length from 2 voxels on, axis by axis).

    Distance: sum of |difference| relative to the sum of the real curve. The summary is that sum per axis over phi.
    """

    axes: int
    length: int = 1

    def summary(self, mean: np.ndarray) -> np.ndarray:
        return _relative(mean.sum(-1), mean[..., : self.axes].sum(-1))

    def distance(self, mean: np.ndarray, real: np.ndarray) -> np.ndarray:
        return _relative(np.abs(mean - real)[..., self.axes :].sum(-1), real[..., self.axes :].sum(-1))


@dataclass(frozen=True)
class Sizes:
    """A histogram over lengths 0, 1, 2, ... voxels; images are pooled. The summary is the mean length.

    Distance: Wasserstein-1, the mean shift of the sizes, relative to the mean size of the real ensemble.
    """

    length: int = 1

    def summary(self, mean: np.ndarray) -> np.ndarray:
        return _relative((mean * np.arange(mean.shape[-1])).sum(-1), mean.sum(-1), empty=np.nan)

    def distance(self, mean: np.ndarray, real: np.ndarray) -> np.ndarray:
        shift = np.abs(_cumulative(mean) - _cumulative(real)).sum(-1)
        return _relative(shift, self.summary(real))


@dataclass(frozen=True)
class Spectrum:
    """Power in shells of wavenumbers from 1 on. The summary is its sum, the variance of the images.

    Distance: sum of |difference| relative to the sum of the real spectrum.
    """

    length: int = 0

    def summary(self, mean: np.ndarray) -> np.ndarray:
        return mean.sum(-1)

    def distance(self, mean: np.ndarray, real: np.ndarray) -> np.ndarray:
        return _relative(np.abs(mean - real).sum(-1), real.sum(-1))


@dataclass(frozen=True)
class Number:
    """A plain number: vector (x, |x|). Distance: |difference of the means| relative to the real mean of |x|."""

    length: int = 0

    def summary(self, mean: np.ndarray) -> np.ndarray:
        return mean[..., 0]

    def distance(self, mean: np.ndarray, real: np.ndarray) -> np.ndarray:
        return _relative(np.abs(mean[..., 0] - real[..., 0]), real[..., 1])


def _cumulative(mean: np.ndarray) -> np.ndarray:
    return _relative(np.cumsum(mean, axis=-1), mean.sum(-1, keepdims=True), empty=np.nan)


def _relative(difference: np.ndarray, scale: np.ndarray, empty: float = 0.0) -> np.ndarray:
    """``difference / scale``; ``empty`` where both are zero, infinite where only the scale is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((scale == 0) & (difference == 0), empty, difference / scale)
