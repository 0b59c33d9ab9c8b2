"""The part of a phase that carries a flow from one end of an image to the other, or on for ever."""

import numpy as np


def through_clusters(mask: np.ndarray, axis: int) -> np.ndarray:
    """The part of a phase that connects the two faces across ``axis``, through faces of voxels; bool (*L)."""
    from scipy.ndimage import label

    labels, _ = label(mask)
    first, last = labels.take(0, axis=axis), labels.take(-1, axis=axis)
    through = np.intersect1d(first[first > 0], last[last > 0])
    return np.isin(labels, through) if len(through) else np.zeros_like(mask)


def endless_clusters(mask: np.ndarray, axis: int) -> np.ndarray:
    """The part of a phase that in the periodic continuation of the image goes on for ever along ``axis``; bool (*L).

    A way that leaves at one face and comes back at the other need not lead on: what counts is whether some closed way
    crosses the face more often in one direction than in the other.
    """
    from scipy.ndimage import label

    labels, count = label(mask)
    parent, climb = np.arange(count + 1), np.zeros(count + 1, np.int64)  # climb: periods above the parent
    endless = np.zeros(count + 1, bool)

    def root(cluster: int) -> tuple[int, int]:
        height = 0
        while parent[cluster] != cluster:
            height += climb[cluster]
            cluster = parent[cluster]
        return int(cluster), int(height)

    for a in range(mask.ndim):
        pairs = np.stack([labels.take(-1, axis=a).ravel(), labels.take(0, axis=a).ravel()], axis=1)
        for low, high in np.unique(pairs[pairs.all(axis=1)], axis=0):
            (one, below), (two, above) = root(low), root(high)
            rise = below + (a == axis) - above  # of the root of `high` above that of `low`
            if one == two:
                endless[one] |= rise != 0
            else:
                parent[two], climb[two] = one, rise
                endless[one] |= endless[two]
    roots = np.array([root(cluster)[0] for cluster in range(count + 1)])
    return endless[roots][labels]
