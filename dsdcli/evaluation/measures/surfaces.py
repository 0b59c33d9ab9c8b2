"""Interfaces between phases and the lines where three of them meet."""

import itertools
from functools import cache

import numpy as np


@cache
def lattice_directions(ndim: int) -> tuple[tuple[tuple[int, ...], float], ...]:
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
    for step, weight in lattice_directions(image.ndim):
        here = tuple(slice(max(0, -s), side - max(0, s)) for s, side in zip(step, image.shape, strict=True))
        there = tuple(slice(max(0, s), side - max(0, -s)) for s, side in zip(step, image.shape, strict=True))
        pairs = image[here].astype(np.intp) * phases + image[there]
        changes = np.bincount(pairs.ravel(), minlength=phases**2).reshape(phases, phases)
        total += weight * changes / (pairs.size * np.linalg.norm(step))
    total = total + total.T
    np.fill_diagonal(total, 0)
    return total * (np.pi / 2 if image.ndim == 2 else 2)


def triple_junctions(image: np.ndarray, members: tuple[int, int, int]) -> float:
    """Where three phases meet, per unit volume (2D: points per area; 3D: length of edges per volume), in 1/voxel^2.

    Every vertex (2D) or edge (3D) between four voxels that hold all three counts. That is
    ``taufactor.metrics.triple_phase_boundary``, a share of all vertices or edges, times 1 per voxel (2D) or 3 (3D).

    Args:
        image: phase indices, (*L).
        members: the three phases.
    """
    found = candidates = 0
    for plane in itertools.combinations(range(image.ndim), 2):
        shape = [side - (axis in plane) for axis, side in enumerate(image.shape)]
        meet = np.ones(shape, bool)
        for phase in members:
            meet &= _near(image == phase, plane)
        found += int(meet.sum())
        candidates += meet.size
    return found / candidates * (1 if image.ndim == 2 else 3)


def _near(mask: np.ndarray, plane: tuple[int, int]) -> np.ndarray:
    """Whether any of the 2 x 2 voxels around each vertex (of each edge across ``plane``) is in the phase."""
    for axis in plane:
        side = mask.shape[axis]
        mask = mask.take(range(side - 1), axis) | mask.take(range(1, side), axis)
    return mask


def euler_density(mask: np.ndarray) -> float:
    """Euler number per unit volume (1/voxel^d): objects minus holes, in 3D minus tunnels plus cavities.

    Voxels are connected through their faces, as in the percolating fraction.
    """
    from skimage.measure import euler_number

    return float(euler_number(mask, connectivity=1) / mask.size)
