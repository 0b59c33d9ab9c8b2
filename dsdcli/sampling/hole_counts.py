"""How many voxels of each phase go into each part of a hole."""

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.signal import correlate

from dsdcli.errors import DataError
from dsdcli.sampling.counts import largest_remainder

RIM = 8  # voxels around a hole that say what to expect in it
NEAREST = 0.05  # share of all places that count as like the hole
FEWEST = 20  # places from which counts may be drawn


def kept(image: np.ndarray, parts: np.ndarray, phases: int) -> np.ndarray:
    """Voxels of every phase under every part of the mask, int64 (R, K)."""
    return np.stack([np.bincount(image[parts == r], minlength=phases) for r in range(1, parts.max() + 1)])


def shared(totals: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Totals (K,) of the whole hole shared among its parts in proportion to their sites, exactly: int64 (R, K)."""
    sizes = np.bincount(parts.ravel())[1:]
    left, rows = totals.astype(np.int64), []
    for part, size in enumerate(sizes.tolist()):
        rows.append(largest_remainder(left / sizes[part:].sum(), size))
        left = left - rows[-1]
    return np.stack(rows)


def drawn(image: np.ndarray, unknown: np.ndarray, parts: np.ndarray, phases: int, n: int, seed: int) -> np.ndarray:
    """Counts for n fillings of an unknown hole, drawn from the image itself: int64 (n, R, K).

    Every part of the hole is laid on all known places of the image; of these, the 5 % whose rim (8 voxels wide) has the
    volume fractions most like the rim of the part are where the counts come from. So they vary as real ones do,
    given the surroundings.

    Raises:
        DataError: a part fits on fewer than 20 known places.
    """
    rng = np.random.default_rng([seed, RIM])
    fields = np.stack([(image == k) & ~unknown for k in range(phases)])
    columns = []
    for part in range(1, parts.max() + 1):
        where = np.argwhere(parts == part)
        low, high = where.min(0), where.max(0) + 1
        shape = np.pad(parts[tuple(map(slice, low, high))] == part, RIM)
        rim = (distance_transform_edt(~shape) <= RIM) & ~shape
        padded = np.pad(fields, [(0, 0)] + [(RIM, RIM)] * image.ndim)
        inside = np.rint([correlate(f.astype(float), shape.astype(float), "valid", "fft") for f in padded])
        beside = np.rint([correlate(f.astype(float), rim.astype(float), "valid", "fft") for f in padded])
        known = beside.sum(0)
        fractions = beside / np.maximum(known, 1)
        here = tuple(low.tolist())
        apart = ((fractions - fractions[(slice(None), *here)][(..., *(None,) * image.ndim)]) ** 2).sum(0)
        usable = (inside.sum(0) == len(where)) & (known > 0)
        if usable.sum() < FEWEST:
            raise DataError(
                f"the image has {int(usable.sum())} known places for a hole of {len(where)} voxels, too few to draw "
                "its counts from; say what to put in by `fractions` or `counts`"
            )
        order = np.argsort(np.where(usable, apart, np.inf), axis=None, kind="stable")
        pool = order[: max(FEWEST, int(NEAREST * usable.sum()))]
        columns.append(inside.reshape(phases, -1)[:, rng.choice(pool, n)].T.astype(np.int64))
    return np.stack(columns, axis=1)
