"""Random holes to train in-painting on: boxes, and free-form ones whose walk is exact."""

import math
from typing import Literal

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, label

from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice

POOL = 64  # free-form holes of a run: their eigenbases are made once
MOST_SITES = 700  # root of the summed squares of the parts of a free-form hole: what its eigenbases take
MOST_PARTS = 16
FEWEST_SITES = 12
SHARE = 0.6  # of the lattice at most, so that there are surroundings
BOXES = (1, 2, 4, 8)  # in a crop; several, as they give more rim to learn from


def random_boxes(lattice: Lattice, rng: np.random.Generator) -> Hole:
    """Boxes anywhere in the lattice, often at its border, that do not touch: one of 2 sites (1 where 2 leave too few
    surroundings) up to nearly the whole lattice on each side, or several smaller ones."""
    mask = np.zeros(lattice.shape, bool)
    wanted = int(rng.choice(BOXES))
    shortest = [min(2, n) for n in lattice.shape]
    if math.prod(shortest) > SHARE * lattice.sites:
        shortest = [1] * lattice.ndim
    ends = [  # of the ranges that the sides are drawn from; in lattices of a few sites several boxes are the shortest
        max(round(n * wanted ** (-0.5 / lattice.ndim)), least + 1)
        for n, least in zip(lattice.shape, shortest, strict=True)
    ]
    beyond: Literal["wrap", "constant"] = "wrap" if lattice.boundary == "periodic" else "constant"
    attempts = 0
    while attempts < 2 * wanted or not mask.any():
        attempts += 1
        sides = [int(rng.integers(least, end)) for least, end in zip(shortest, ends, strict=True)]
        low = [int(rng.integers(0, n - side + 1)) for n, side in zip(lattice.shape, sides, strict=True)]
        box = np.zeros(lattice.shape, bool)
        box[tuple(slice(a, a + side) for a, side in zip(low, sides, strict=True))] = True
        room = mask.sum() + box.sum() <= SHARE * lattice.sites or lattice.sites == 1
        if room and not (binary_dilation(np.pad(box, 1)) & np.pad(mask, 1, beyond)).any():
            mask |= box
    return Hole(lattice.shape, lattice.boundary, mask=mask)


def random_blobs(lattice: Lattice, rng: np.random.Generator) -> Hole:
    """The highest sites of smooth noise: one rounded piece or several scattered ones."""
    longest = max(lattice.shape)
    noise = gaussian_filter(rng.standard_normal(lattice.shape), rng.uniform(1.0, max(1.5, longest / 10)), mode="wrap")
    centre = [rng.uniform(0, n) for n in lattice.shape]
    grids = np.meshgrid(*(np.arange(n) - c for n, c in zip(lattice.shape, centre, strict=True)), indexing="ij")
    away = sum(g**2 for g in grids) / longest**2
    height = noise / noise.std() - rng.choice([0.0, 20.0, 60.0]) * away
    most = max(1, min(int(SHARE * lattice.sites), int(MOST_SITES * MOST_PARTS**0.5)))  # more never pass below
    sites = int(rng.integers(min(FEWEST_SITES, most), most + 1))
    while True:
        mask = np.zeros(lattice.sites, bool)
        mask[np.argsort(-height, axis=None, kind="stable")[:sites]] = True
        parts, _ = label(mask.reshape(lattice.shape))  # seven times as fast as the parts of a hole, but for rings
        sizes = np.bincount(parts.ravel())[1:]
        kept = np.argsort(-sizes, kind="stable")[:MOST_PARTS]
        if (sizes[kept] ** 2).sum() <= MOST_SITES**2:
            return Hole(lattice.shape, lattice.boundary, mask=np.isin(parts, kept + 1))
        sites = int(0.9 * sites)


class Holes:
    """Draws the domains of a batch: boxes and free-form holes, these from a pool made from ``seed``, for a share of the
    images, and the whole lattice for the others."""

    def __init__(self, lattice: Lattice, share: float, seed: int) -> None:
        self.lattice, self.share = lattice, share
        rng = np.random.default_rng([seed, POOL])
        self.pool = [random_blobs(lattice, rng) for _ in range(POOL if share else 0)]

    def draw(self, batch: int, rng: np.random.Generator) -> list[tuple[int, Lattice]]:
        """Number of images for each domain of one batch: the share of them in holes, half of these in boxes and half in
        free-form holes, rounded at random."""
        u = rng.random()
        in_hole = min(batch, int(batch * self.share + u))
        in_box = min(in_hole, int(batch * self.share / 2 + u))
        parts = [(batch - in_hole, self.lattice)]
        if in_box:
            parts.append((in_box, random_boxes(self.lattice, rng)))
        if in_hole > in_box:
            parts.append((in_hole - in_box, self.pool[int(rng.integers(POOL))]))
        return [(n, domain) for n, domain in parts if n]
