"""How far an image can be trusted: what one image says about the volume fractions of the material it was cut from.

The fraction in an image of V voxels varies around that of the material as A f (1 - f) / V, where A is the integral
range (Matheron 1971, Lantuejoul 1991, Kanit et al. 2003). The covariance inside an image cannot give A: around the
image's own mean it sums to zero. Waves can: the slow cosines of an image are orthogonal to its mean, and their
coefficients have nearly the variance that the mean has, so that B of them give an interval by Student's t with B
degrees of freedom (Mueller 2007; Lazarus et al. 2018, for series in time). What they fall short, since they are not
infinitely slow, comes from an exponential covariance with the lengths of the image.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dsdcli.data.large import let_go, slabs
from dsdcli.data.phases import IGNORED

LEVEL = 0.95  # of all intervals
LEAST = 5.0  # independent volumes below which an image says nothing
NARROW = 3.0  # correlation lengths that it must be wide as well, unless there are many
SMALLEST = 24  # and voxels: below that fine structure by chance makes an image take itself for large
WIDE = 0.1  # half an interval over the fraction, from which a user is told of it without asking
UNEQUAL = 1.5  # ratio of correlation lengths from which a structure counts as anisotropic
_WAVES = {2: 8, 3: 10}  # slow cosines used, by dimension
_MANY = 10  # independent images from which their differences alone say how much a fraction varies
_CELLS = {2: 32, 3: 16}  # per axis, by dimension: slow waves are the same on blocks of voxels
_FEW = 5  # independent volumes along each axis up to which waves alone are not trusted to count them
_LINES = 4096  # lines along each axis that the covariance is measured on
_Z = 1.96


@dataclass(frozen=True)
class PhaseFraction:
    """What images say of the volume fraction of one phase of their material; NaN where they say nothing of it.

    Attributes:
        low, high: interval that holds the material's fraction in 95 of 100 cases.
        volumes: how many independent volumes (areas in 2D) the images are worth; of few a cautious count.
        integral_range: in voxels, with its 95 % interval.
        lengths: correlation length along each axis, in voxels: where the covariance is 1/e of its value at lag 0.
        widths: side of the narrowest image along each axis, in correlation lengths.
        freedom: degrees of freedom of the intervals.
        speaks: whether the images are large enough to say anything.
    """

    phase: str
    fraction: float
    low: float
    high: float
    volumes: float
    integral_range: float
    integral_low: float
    integral_high: float
    lengths: tuple[float, ...]
    widths: tuple[float, ...]
    freedom: int
    speaks: bool

    @property
    def error(self) -> float:
        """Half the width of the interval, relative to the fraction."""
        return (self.high - self.low) / 2 / self.fraction if self.fraction else math.nan

    @property
    def unequal(self) -> float:
        """The longest of the correlation lengths over the shortest."""
        return max(self.lengths) / min(self.lengths)

    def volume_for(self, error: float) -> float:
        """Voxels of an image whose fraction has, with a probability of 95 %, at most this relative error (Kanit et
        al. 2003, equation 10, with 1.96 in place of 2)."""
        return _Z**2 * self.integral_range * (1 - self.fraction) / self.fraction / error**2

    def side_for(self, error: float) -> float:
        """Side in voxels of that square or cube."""
        return self.volume_for(error) ** (1 / len(self.lengths))


def phase_fractions(images: Sequence[np.ndarray], phases: Sequence[str]) -> list[PhaseFraction]:
    """What independent images of one material, phase indices (*L) each, all 2D or all 3D, say of each phase."""
    known = [_known(image) for image in images]
    if len(phases) == 2:  # what one lacks the other has
        first = _phase_fraction(images, known, 0, phases[0])
        return [first, _complement(first, phases[1])]
    return [_phase_fraction(images, known, index, name) for index, name in enumerate(phases)]


def doubt_fractions(images: Sequence[np.ndarray], phases: Sequence[str]) -> list[str]:
    """A line for the user where the images leave the volume fraction of a phase of the material open."""
    found = [about for about in phase_fractions(images, phases) if 0 < about.fraction < 1]
    silent = [about.phase for about in found if not about.speaks]
    if silent:
        return [
            f"too small to say what the volume fraction of {silent[0]} in the material is: structure is nearly "
            "as large as the image (dsd rev shows more)"
        ]
    if not found or (worst := max(found, key=lambda about: about.error)).error <= WIDE:
        return []
    return [
        f"the volume fraction of {worst.phase} is {worst.fraction:.3f} here, and anything from {worst.low:.3f} to "
        f"{worst.high:.3f} in the material (95 %): dsd rev says what size of image would fix it"
    ]


def _complement(other: PhaseFraction, name: str) -> PhaseFraction:
    return replace(other, phase=name, fraction=1 - other.fraction, low=1 - other.high, high=1 - other.low)


def _phase_fraction(images: Sequence[np.ndarray], known: Sequence[np.ndarray], index: int, name: str) -> PhaseFraction:
    """``known``: how many voxels of each block of an image are not left out."""
    ndim = images[0].ndim
    parts = [_block_sums(image, lambda some: some == index) for image in images]
    inside = np.array([part.sum() for part in parts])
    voxels = np.array([part.sum() for part in known])
    fraction = float(inside.sum() / voxels.sum())
    unknown = (math.nan,) * ndim
    nan = math.nan
    nothing = PhaseFraction(name, fraction, nan, nan, 0.0, nan, nan, nan, unknown, unknown, 0, False)
    if not 0 < fraction < 1:
        return nothing
    between = (inside - fraction * voxels) ** 2 / voxels
    many = len(images) >= _MANY
    waves = [] if many else [_coefficients(*found) for found in zip(parts, known, images, strict=True)]
    freedom = len(images) - 1 + sum(map(len, waves))
    if not freedom:
        return nothing
    # Strength: variance of a fraction times voxels. That of the raw waves serves to correct the covariance.
    strength = float((between.sum() + sum((wave**2).sum() for wave in waves)) / freedom)
    lengths = _lengths(images, index, fraction, strength / float(voxels.mean()))
    shares = [model_shares(image.shape, lengths) for image in (images[:1] if many else images)]
    if waves:
        corrected = sum((wave**2).sum() / share for wave, (share, _) in zip(waves, shares, strict=True))
        strength = float((between.sum() + corrected) / freedom)
    variance = strength / float(voxels.sum())
    spread = fraction * (1 - fraction) + variance  # that within the images lacks the variance of their mean
    if not variance:
        return nothing
    by_waves = spread / variance
    grown = strength / spread * float(np.mean([beyond for _, beyond in shares]))
    widths = tuple(min(image.shape[axis] for image in images) / length for axis, length in enumerate(lengths))
    volumes = by_waves if many else _doubted(by_waves, len(images) * math.prod(w / 2 for w in widths), ndim)
    low, high = _interval(fraction, volumes, freedom)
    ranges = _range_interval(grown, freedom)
    speaks = by_waves >= LEAST and (
        many or (min(widths) >= NARROW and min(min(image.shape) for image in images) >= SMALLEST)
    )
    return PhaseFraction(name, fraction, low, high, volumes, grown, *ranges, lengths, widths, freedom, speaks)


def _doubted(by_waves: float, by_lengths: float, ndim: int) -> float:
    """How many independent volumes there are, where images may be too small for waves to count them.

    A small window that shows fine structure by chance takes itself for larger than it is. So up to 5 volumes an axis
    the smaller of two counts holds: that of the waves, and that of cells two correlation lengths wide, the integral
    range of an exponential covariance. From 10 an axis on the waves alone count; between them a mean of both.
    """
    trust = min(1.0, max(0.0, math.log(by_waves / _FEW**ndim) / (ndim * math.log(2))))
    return float(by_waves**trust * min(by_waves, by_lengths) ** (1 - trust))


def _interval(fraction: float, volumes: float, freedom: int) -> tuple[float, float]:
    """By Student's t on the scale of log(f / (1 - f)), so that it stays between 0 and 1."""
    from scipy.special import expit, logit, stdtrit

    middle = logit(fraction)
    half = stdtrit(freedom, (1 + LEVEL) / 2) / math.sqrt(volumes * fraction * (1 - fraction))
    return float(expit(middle - half)), float(expit(middle + half))


def _range_interval(value: float, freedom: int) -> tuple[float, float]:
    """A mean of ``freedom`` squares of normal numbers: chi-squared."""
    from scipy.special import chdtri

    low, high = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    return float(value * freedom / chdtri(freedom, low)), float(value * freedom / chdtri(freedom, high))


def _edges(side: int, ndim: int) -> np.ndarray:
    """Where the blocks of an axis begin, and its end."""
    cells = min(_CELLS[ndim], side)
    return np.arange(cells + 1) * side // cells


def _block_sums(image: np.ndarray, chosen: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """How many voxels of each block are ``chosen``: float64 (at most `_CELLS` along each axis)."""
    rows = []
    for start, end in itertools.pairwise(_edges(len(image), image.ndim).tolist()):
        rows.append(chosen(image[start:end]).view(np.uint8).sum(0, dtype=np.uint32))
        let_go(image)
    sums = np.stack(rows)
    for axis, side in enumerate(image.shape[1:], start=1):
        sums = np.add.reduceat(sums, _edges(side, image.ndim)[:-1], axis=axis, dtype=np.int64)
    return sums.astype(np.float64)


def _known(image: np.ndarray) -> np.ndarray:
    """How many voxels of each block are not left out."""
    if any(image[rows].max(initial=0) == IGNORED for rows in slabs(image)):
        return _block_sums(image, lambda some: some != IGNORED)
    sizes = np.ones(())
    for side in image.shape:
        sizes = np.multiply.outer(sizes, np.diff(_edges(side, image.ndim)).astype(np.float64))
    return sizes


@functools.cache
def _slow(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The slowest cosines in a box: half-waves along each axis."""
    number = _WAVES[len(shape)]
    every = [k for k in itertools.product(range(number + 1), repeat=len(shape)) if any(k)]
    every = [k for k in every if all(n < side for n, side in zip(k, shape, strict=True))]
    return sorted(every, key=lambda k: (sum((n / side) ** 2 for n, side in zip(k, shape, strict=True)), k))[:number]


def _coefficients(inside: np.ndarray, known: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Coefficients of the slow cosines, (B,), from sums over blocks; made orthonormal on the voxels that are known."""
    middles = [(edges[:-1] + edges[1:]) / 2 / side for side in image.shape for edges in [_edges(side, image.ndim)]]
    columns = [np.ones(inside.size)]
    for k in _slow(image.shape):
        wave = np.ones(())
        for n, x in zip(k, middles, strict=True):
            wave = np.multiply.outer(wave, np.cos(math.pi * n * x))
        columns.append(wave.ravel())
    held = known.ravel() > 0
    root = np.sqrt(known.ravel()[held])
    if len(root) <= len(columns):
        return np.zeros(0)
    orthonormal = np.linalg.qr(root[:, None] * np.stack(columns, axis=1)[held])[0][:, 1:]
    return np.asarray(orthonormal.T @ (inside.ravel()[held] / root))


def _lengths(images: Sequence[np.ndarray], index: int, fraction: float, variance: float) -> tuple[float, ...]:
    """Along each axis the lag where the covariance of a phase is 1/e of its value at lag 0, at most half the side.

    ``variance``: that of an image's mean, by which the covariance around this mean is too low.
    """
    found = []
    few = max(1, _LINES // len(images))
    for axis in range(images[0].ndim):
        side = min(image.shape[axis] for image in images)
        products, pairs = np.zeros(side), np.zeros(side)
        for image in images[:: max(1, len(images) // _LINES)]:
            lines = _some_lines(image, axis, few)[:, :side]
            let_go(image)
            known = lines != IGNORED
            field = np.where(known, (lines == index) - np.float32(fraction), np.float32(0))
            products += _autocorrelation(field)
            pairs += _autocorrelation(known.astype(np.float32))
        lags = max(2, side // 2 + 1)
        covariance = (products[:lags] / np.maximum(pairs[:lags], 1) + variance) / (fraction * (1 - fraction) + variance)
        below = np.flatnonzero(covariance < 1 / math.e)
        if not len(below):
            found.append(max(1.0, side / 2))
        elif (first := int(below[0])) == 0:
            found.append(1.0)
        else:
            before, after = covariance[first - 1], covariance[first]
            found.append(max(0.3, float(first - 1 + (before - 1 / math.e) / (before - after))))
    return tuple(found)


def _some_lines(image: np.ndarray, axis: int, number: int) -> np.ndarray:
    """Lines of an image along an axis, (at most about ``number``, side), evenly spaced."""
    others = image.size // image.shape[axis]
    step = max(1, math.ceil((others / number) ** (1 / (image.ndim - 1))))
    chosen = image[tuple(slice(None) if a == axis else slice(step // 2, None, step) for a in range(image.ndim))]
    return np.moveaxis(chosen, axis, -1).reshape(-1, image.shape[axis])


def _autocorrelation(lines: np.ndarray) -> np.ndarray:
    """Sum of the products at every lag, over all lines (n, side): float64 (side,)."""
    side = lines.shape[1]
    power = (np.abs(np.fft.rfft(lines, 2 * side, axis=1)) ** 2).sum(0)
    return np.fft.irfft(power)[:side]


def model_shares(shape: tuple[int, ...], lengths: Sequence[float]) -> tuple[float, float]:
    """Of a material with the covariance exp(-sum |x_i| / length_i): the mean variance of the slow cosines of a box over
    that of its mean, and what the integral range makes of the latter, A f (1 - f) / V, over what it is."""
    slow = _slow(shape)
    variances, integral = [], 1.0
    for axis, (side, length) in enumerate(zip(shape, lengths, strict=True)):
        lags = np.arange(side)
        covariance = np.exp(-lags / length) * np.where(lags > 0, 2, 1)
        waves = np.cos(math.pi * np.arange(max(k[axis] for k in slow) + 1)[:, None] * (lags + 0.5) / side)
        waves /= np.sqrt((waves**2).sum(1, keepdims=True))
        products = np.array([_autocorrelation(wave[None]) for wave in waves])
        variances.append(products @ covariance)
        integral *= 1 / math.tanh(0.5 / length)  # sum of exp(-|x| / length) over all lags
    of_mean = math.prod(variance[0] for variance in variances)
    of_waves = np.mean([math.prod(v[n] for v, n in zip(variances, k, strict=True)) for k in slow])
    return float(of_waves / of_mean), integral / of_mean
