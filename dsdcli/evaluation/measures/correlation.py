"""Two-point correlation S2(r): the probability that two points at distance r both lie in a phase.

Non-periodic and exact: every pair of voxels inside the image counts, none across its border. Lags are in voxels.
"""

import numpy as np
import scipy.fft


def largest_lag(shape: tuple[int, ...]) -> int:
    """The largest lag that is compared: half the shortest side."""
    return min(shape) // 2


def two_point(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S2 of a phase along every axis, and averaged over all directions.

    Args:
        mask: bool (*L), True in the phase; d = 2 or 3 axes.

    Returns:
        along the axes, float64 (d, R + 1), for the lags 0..R with R = min(L) // 2; and radial, float64 (R,): entry i
        averages over the lag vectors of length in [i, i + 1), as ``porespy.metrics.two_point_correlation`` does
        (its ``probability_scaled`` with ``bins=np.arange(R + 1)``).
    """
    shape, lags = mask.shape, largest_lag(mask.shape)
    # Padding by the largest lag is enough: pairs at lags up to R never meet around the end of the padded box.
    padded = [scipy.fft.next_fast_len(side + lags, real=True) for side in shape]
    power = np.abs(scipy.fft.rfftn(mask.astype(np.float64), s=padded)) ** 2
    pairs_in_phase = scipy.fft.irfftn(power, s=padded)
    for axis in range(mask.ndim):  # keep lags -R..R of each axis
        keep = np.r_[padded[axis] - lags : padded[axis], 0 : lags + 1]
        pairs_in_phase = pairs_in_phase.take(keep, axis=axis)
    # Counts are integers: rounding removes the noise of the transform.
    s2 = np.rint(pairs_in_phase) / _pairs(shape, lags)
    centre = (lags,) * mask.ndim
    along = [s2[(*centre[:axis], slice(lags, None), *centre[axis + 1 :])] for axis in range(mask.ndim)]
    bins = _radial_bins(mask.ndim, lags)
    inside = bins < lags
    total = np.bincount(bins[inside], weights=s2[inside], minlength=lags)
    return np.stack(along), total / np.bincount(bins[inside], minlength=lags)


def _pairs(shape: tuple[int, ...], lags: int) -> np.ndarray:
    """How many pairs of voxels lie inside the image at each lag vector in [-lags, lags]^d."""
    offsets = np.abs(np.arange(-lags, lags + 1))
    pairs = np.ones((1,) * len(shape))
    for axis, side in enumerate(shape):
        pairs = pairs * (side - offsets).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return pairs


def _radial_bins(ndim: int, lags: int) -> np.ndarray:
    """Whole part of the length of each lag vector in [-lags, lags]^d."""
    offsets = np.meshgrid(*[np.arange(-lags, lags + 1)] * ndim, indexing="ij", sparse=True)
    return np.floor(np.sqrt(sum(offset**2 for offset in offsets))).astype(np.int64)
