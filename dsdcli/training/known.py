"""Random known voxels to train on: points, lines, planes and slabs of the clean image that the network is told."""

import numpy as np

KINDS = ("points", "lines", "planes", "slab")
MOST_POINTS = 0.3  # of the voxels
FEWEST_POINTS = 0.002


def random_known(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Where an image is known, bool (*L): scattered voxels, up to three lines or planes along the axes, as boreholes
    and slices give them, or all on one side of a plane, as where an image is to be continued."""
    known = np.zeros(shape, bool)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    if kind == "points":
        share = FEWEST_POINTS * (MOST_POINTS / FEWEST_POINTS) ** rng.random()
        return rng.random(shape) < share
    axis = int(rng.integers(len(shape)))
    if kind == "slab":
        edge = int(rng.integers(1, shape[axis])) if shape[axis] > 1 else 0
        side = slice(None, edge) if rng.random() < 0.5 else slice(edge, None)
        known[(slice(None),) * axis + (side,)] = True
        return known
    for _ in range(int(rng.integers(1, 4))):
        axis = int(rng.integers(len(shape)))
        at = tuple(int(rng.integers(n)) for n in shape)
        free = {axis} if kind == "lines" else set(range(len(shape))) - {axis}
        known[tuple(slice(None) if a in free else i for a, i in enumerate(at))] = True
    return known
