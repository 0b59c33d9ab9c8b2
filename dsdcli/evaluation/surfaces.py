"""Interfaces between phases and the lines where three of them meet."""

import itertools
from functools import cache

import numpy as np


@cache
def _directions(ndim: int) -> tuple[tuple[tuple[int, ...], float], ...]:
    """The lattice directions to the nearest 3^d - 1 neighbours, opposite ones counted once, with their weights.

    The weight of a direction is the share of all directions that are closest to it.
    """
    steps = [step for step in itertools.product((-1, 0, 1), repeat=ndim) if step > (0,) * ndim]
    if ndim == 2:
        return tuple((step, 1 / len(steps)) for step in steps)
    from scipy.spatial import SphericalVoronoi

    unit = np.array(steps) / np.linalg.norm(steps, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([unit, -unit])).calculate_areas()
    return tuple((step, float(area / (2 * np.pi))) for step, area in zip(steps, areas, strict=False))


def interfaces(image: np.ndarray, phases: int) -> np.ndarray:
    """Interface per unit volume between each pair of phases (2D: length per area, in 1/voxel; 3D: area per volume).

    The Cauchy-Crofton estimate: phase changes per unit length of test lines along 4 (2D) or 13 (3D) lattice
    directions, times pi/2 or 2. In 2D it is that of ``skimage.measure.perimeter_crofton(directions=4)``, but the border
    of the image is not taken for an interface. Counting voxel faces instead would give 4/pi (2D) or 3/2 (3D) times a
    round object's.

    Args:
        image: phase indices, (*L), d = 2 or 3 axes.
        phases: their number K.

    Returns:
        float64 (K, K), symmetric, zero on the diagonal.
    """
    total = np.zeros((phases, phases))
    for step, weight in _directions(image.ndim):
        here = tuple(slice(max(0, -s), side - max(0, s)) for s, side in zip(step, image.shape, strict=True))
        there = tuple(slice(max(0, s), side - max(0, -s)) for s, side in zip(step, image.shape, strict=True))
        pairs = image[here].astype(np.intp) * phases + image[there]
        changes = np.bincount(pairs.ravel(), minlength=phases**2).reshape(phases, phases)
        total += weight * changes / (pairs.size * np.linalg.norm(step))
    total = total + total.T
    np.fill_diagonal(total, 0)
    return total * (np.pi / 2 if image.ndim == 2 else 2)
