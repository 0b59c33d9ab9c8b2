"""The pore network: pores as the basins of the distance to the walls, throats where two of them meet."""

import numpy as np


def pore_network(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordination numbers of the pores and radii of the throats.

    The pores are the regions of porespy's ``snow_partitioning`` (the partition under its ``snow2``); two of them that
    share a face of a voxel have one throat, whose radius is the largest distance to a wall along it. Pores at the
    border, whose neighbours may lie outside, count as the others do.

    Args:
        mask: bool (*L), True in the phase.

    Returns:
        int64 (max(L) + 1,) each: how many pores have 0, 1, 2, ... neighbours, and how many throats have a radius of 0,
        1, 2, ... voxels, rounded. All zeros where the phase is absent or fills the image.
    """
    longest = max(mask.shape)
    if mask.all() or not mask.any():
        return np.zeros(longest + 1, np.int64), np.zeros(longest + 1, np.int64)
    from dsdcli.evaluation.measures.thickness import quiet_porespy
    from dsdcli.threads import one_thread

    with one_thread():
        found = quiet_porespy().filters.snow_partitioning(np.ascontiguousarray(mask))
    regions, distance = np.asarray(found.regions), np.asarray(found.dt)
    pairs, radii = [], []
    for axis, side in enumerate(mask.shape):
        here, there = (regions.take(range(start, start + side - 1), axis) for start in (0, 1))
        meet = (here != there) & (here > 0) & (there > 0)
        pairs.append(np.sort(np.stack([here[meet], there[meet]], axis=1), axis=1))
        near = [distance.take(range(start, start + side - 1), axis)[meet] for start in (0, 1)]
        radii.append(np.minimum(*near))
    throats, number = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    widest = np.zeros(len(throats))
    np.maximum.at(widest, number.ravel(), np.concatenate(radii))
    pores = np.unique(regions[regions > 0])
    neighbours = np.bincount(throats.ravel(), minlength=int(regions.max()) + 1)[pores]
    by_pore, by_throat = (
        np.bincount(np.minimum(np.rint(values).astype(np.int64), longest), minlength=longest + 1)
        for values in (neighbours, widest)
    )
    return by_pore, by_throat
