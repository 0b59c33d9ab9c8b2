"""Mean curvature of the surface of a phase, integrated, per unit volume."""

import itertools

import numpy as np

_Step = tuple[int, ...]


def mean_curvature_density(mask: np.ndarray) -> float:
    """Integral of the mean curvature of the surface per unit volume, in 1/voxel^2: 4 pi r for a ball of radius r.

    By Crofton's formula it is 2 pi times the Euler number per area of plane sections, averaged over the directions of
    the plane: the three planes of the lattice, the six diagonal ones and the four of its triangles, each weighted by
    the share of directions that are closest to it. Seen from the other phase it changes its sign; positive where the
    phase bulges outwards.

    Args:
        mask: bool (Z, Y, X).

    Returns:
        NaN for an image that is not 3D: there it is 2 pi times the Euler number.
    """
    if mask.ndim != 3:
        return np.nan
    from dsdcli.evaluation.measures.surfaces import lattice_directions

    return 2 * np.pi * sum(weight * _section(mask, normal) for normal, weight in lattice_directions(3))


def _section(mask: np.ndarray, normal: _Step) -> float:
    """Euler number per area of the sections across ``normal``: half that of the phase less half that of the rest."""
    steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if s > (0, 0, 0) and not np.dot(s, normal)]
    one, two = sorted(steps, key=np.linalg.norm)[:2]
    area = float(np.linalg.norm(np.cross(one, two)))
    cells: list[tuple[_Step, ...]]
    if np.dot(one, two):  # sites in triangles: the third side is the sum or the difference of two
        two = two if np.dot(one, two) < 0 else tuple(-np.array(two))
        cells = [(one, _sum(one, two)), (two, _sum(one, two))]
        edges = [one, two, _sum(one, two)]
    else:
        cells, edges = [(one, two, _sum(one, two))], [one, two]

    corners = np.array([(0, 0, 0), *edges, *itertools.chain(*cells)])
    low, high = corners.min(axis=0), corners.max(axis=0)

    def share(phase: np.ndarray, *steps: _Step) -> float:
        """How often a voxel and those at ``steps`` from it all lie in the phase, where all edges are inside."""
        parts = [
            phase[tuple(slice(s - a, side + s - b) for s, a, b, side in zip(step, low, high, phase.shape, strict=True))]
            for step in ((0, 0, 0), *steps)
        ]
        return float(np.logical_and.reduce(parts).mean())

    def euler(phase: np.ndarray) -> float:
        return share(phase) - sum(share(phase, edge) for edge in edges) + sum(share(phase, *cell) for cell in cells)

    return (euler(mask) - euler(~mask)) / (2 * area)


def _sum(one: _Step, two: _Step) -> _Step:
    return tuple(a + b for a, b in zip(one, two, strict=True))
