"""Simulated annealing by swaps of voxels (Yeong and Torquato 1998) towards the two-point correlation of the data."""

import math
import time

import numpy as np

from dsdcli.evaluation.measures.correlation import largest_lag, two_point

TRIAL = 200  # swaps that the first temperature is estimated from
COOLING = 1e-5  # last temperature over the first


def covariance(stack: np.ndarray, phase: int) -> np.ndarray:
    """Autocovariance of a phase of images (n, *L) along every axis, over its variance: (d, R), from lag 1 on."""
    curves = np.array([two_point(image == phase)[0] for image in stack])  # (n, d, R + 1)
    phi = curves[..., :1]
    return ((curves - phi**2).mean(0) / (phi - phi**2).mean(0))[:, 1:]


class Annealing:
    """n images at a time, each with its own counts, temperature and random swaps.

    The energy of an image is the sum over phases, axes and lags of the squared error of S2, the target being that of
    the data at the volume fraction f of the image: f^2 + f (1 - f) times `covariance`. Of two phases one is enough.

    Args:
        totals: voxels of each phase, int64 (n, K).
        size: sides of the images.
        data: images (m, *L) of the data, of the same size.
    """

    def __init__(self, totals: np.ndarray, size: tuple[int, ...], data: np.ndarray, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        n, phases = totals.shape
        sites, lags = math.prod(size), largest_lag(size)
        self.images = np.arange(n)
        self.followed = np.arange(1 if phases == 2 else phases)
        # The voxels of an image, sorted by phase: `label` is the phase of each, `where` its site. Only `where` changes.
        self.label = np.stack([np.repeat(np.arange(phases), counts) for counts in totals])  # (n, S)
        self.where = rng.permuted(np.tile(np.arange(sites), (n, 1)), axis=1)
        self.totals, self.ends = totals, totals.cumsum(1)  # (n, K)
        # Indicators within a margin of zeros as wide as the largest lag, so that no pair reaches across the border.
        wide = [side + 2 * lags for side in size]
        self.margin = np.ravel_multi_index([i + lags for i in np.unravel_index(np.arange(sites), size)], wide)
        self.field = np.zeros((n, math.prod(wide), len(self.followed)), np.int8)
        self.field[self.images[:, None], self.margin[self.where]] = self.label[..., None] == self.followed
        reach = np.arange(1, lags + 1)
        stride = [math.prod(wide[axis + 1 :]) for axis in range(len(size))]
        self.offsets = np.concatenate([sign * reach * step for step in stride for sign in (1, -1)])  # (d * 2 * R)
        self.pairs = np.stack([sites // side * (side - reach) for side in size])  # (d, R)
        f = (totals[:, self.followed] / sites)[..., None, None]
        target = f**2 + f * (1 - f) * np.stack([covariance(data, phase) for phase in self.followed])
        images = self.stack()
        s2 = [[two_point(image == phase)[0][:, 1:] for phase in self.followed] for image in images]
        self.error = np.array(s2) - target  # (n, C, d, R)

    def stack(self) -> np.ndarray:
        """The images as they are: phase indices, uint8 (n, *L)."""
        flat = np.empty(self.where.shape, np.uint8)
        np.put_along_axis(flat, self.where, self.label.astype(np.uint8), axis=1)
        return flat.reshape(-1, *self.size)

    def run(self, seconds: float) -> int:
        """Cool down over this time; returns the number of swaps tried in each image."""
        start = time.monotonic()
        uphill = np.array([self.swap(np.full(len(self.images), -np.inf)) for _ in range(TRIAL)])
        first = np.abs(uphill).mean(0) / math.log(2)
        swaps = TRIAL
        while (share := (time.monotonic() - start) / seconds) < 1:
            # A swap is kept where it raises the energy by less than an exponential number of mean the temperature.
            self.swap(first * COOLING**share * self.rng.exponential(size=len(first)))
            swaps += 1
        return swaps

    def swap(self, allowed: np.ndarray) -> np.ndarray:
        """Swap two random voxels of different phases in every image where the energy rises by at most ``allowed`` (n,).

        Returns:
            the change of energy that the swaps would make, (n,).
        """
        rows, (n, sites) = self.images, self.where.shape
        one = self.rng.integers(sites, size=n)
        phase = self.label[rows, one]
        others = sites - self.totals[rows, phase]  # these follow the last voxel of the phase, around the end
        other = (self.ends[rows, phase] + (self.rng.random(n) * others).astype(np.int64)) % sites
        p, q = self.where[rows, one], self.where[rows, other]
        change = (self.label[rows, other][:, None] == self.followed).astype(np.int8) - (
            phase[:, None] == self.followed
        )  # of the indicators at p, (n, C); the opposite at q
        moved = self._put(rows, p, change)
        moved += self._put(rows, q, -change)
        rise = (moved * (2 * self.error + moved)).sum((1, 2, 3))
        keep = rise <= allowed
        self.error[keep] += moved[keep]
        self.where[rows[keep], one[keep]], self.where[rows[keep], other[keep]] = q[keep], p[keep]
        back = ~keep
        self.field[rows[back], self.margin[p[back]]] -= change[back]
        self.field[rows[back], self.margin[q[back]]] += change[back]
        return rise

    def _put(self, rows: np.ndarray, site: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Change the indicators at one site of every image, and say what that does to S2: (n, C, d, R)."""
        at = self.margin[site]
        around = self.field[rows[:, None], at[:, None] + self.offsets]  # (n, d * 2 * R, C)
        around = around.reshape(len(rows), len(self.size), 2, -1, change.shape[1]).sum(2, dtype=np.int32)
        self.field[rows, at] += change
        return np.moveaxis(around * change[:, None, None], -1, 1) / self.pairs
