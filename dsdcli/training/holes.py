"""Random holes to train in-painting on: boxes, and free-form ones whose walk is exact."""

import numpy as np
from scipy.ndimage import gaussian_filter

from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice

POOL = 64  # free-form holes of a run: their eigenbases are made once
MOST_SITES = 700  # of a free-form hole; the walk in it costs the square of that
FEWEST_SITES = 12
SHARE = 0.6  # of the lattice at most, so that there are surroundings


def random_box(lattice: Lattice, rng: np.random.Generator) -> Hole:
    """A box of 2 sites up to nearly the whole lattice on each side, anywhere in it, often at its border."""
    mask = np.zeros(lattice.shape, bool)
    while True:
        sides = [int(rng.integers(min(2, n), max(n, 2))) for n in lattice.shape]
        if np.prod(sides) <= SHARE * lattice.sites or lattice.sites < 4:
            break
    low = [int(rng.integers(0, n - side + 1)) for n, side in zip(lattice.shape, sides, strict=True)]
    mask[tuple(slice(a, a + side) for a, side in zip(low, sides, strict=True))] = True
    return Hole(lattice.shape, lattice.boundary, mask=mask)


def random_blob(lattice: Lattice, rng: np.random.Generator) -> Hole:
    """The highest sites of smooth noise: one rounded piece or several scattered ones, up to `MOST_SITES`."""
    longest = max(lattice.shape)
    noise = gaussian_filter(rng.standard_normal(lattice.shape), rng.uniform(1.0, max(1.5, longest / 10)), mode="wrap")
    centre = [rng.uniform(0, n) for n in lattice.shape]
    grids = np.meshgrid(*(np.arange(n) - c for n, c in zip(lattice.shape, centre, strict=True)), indexing="ij")
    away = sum(g**2 for g in grids) / longest**2
    height = noise / noise.std() - rng.choice([0.0, 20.0, 60.0]) * away
    most = min(MOST_SITES, max(1, int(SHARE * lattice.sites)))
    sites = int(rng.integers(min(FEWEST_SITES, most), most + 1))
    mask = np.zeros(lattice.sites, bool)
    mask[np.argsort(-height, axis=None, kind="stable")[:sites]] = True
    return Hole(lattice.shape, lattice.boundary, mask=mask.reshape(lattice.shape))


class Holes:
    """Draws the domains of a batch: a pool of free-form holes made from ``seed``, boxes and the whole lattice."""

    def __init__(self, lattice: Lattice, seed: int) -> None:
        self.lattice = lattice
        rng = np.random.default_rng([seed, POOL])
        self.pool = [random_blob(lattice, rng) for _ in range(POOL)]

    def draw(self, batch: int, share: float, rng: np.random.Generator) -> list[tuple[int, Lattice]]:
        """Number of images for each domain of one batch: ``share`` of them in holes, half of these in one box and half
        in one free-form hole, rounded at random."""
        u = rng.random()
        in_hole = min(batch, int(batch * share + u))
        in_box = min(in_hole, int(batch * share / 2 + u))
        parts = [
            (batch - in_hole, self.lattice),
            (in_box, random_box(self.lattice, rng)),
            (in_hole - in_box, self.pool[int(rng.integers(POOL))]),
        ]
        return [(n, domain) for n, domain in parts if n]
