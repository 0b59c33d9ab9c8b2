"""Windows: the surroundings that the network needs to see of each hole, so that the rest of an image costs nothing."""

from dataclasses import dataclass

import numpy as np

from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Boundary


@dataclass(frozen=True, eq=False)
class Window:
    """A part of an image around one hole, or around several close ones.

    Attributes:
        index: open mesh (as `numpy.ix_`) of the window in the image; wraps around in a periodic one.
        hole: what to fill, on the lattice of the window.
        parts: parts of the whole mask that lie in the window, in the order of ``hole.parts``: int64 (R,).
    """

    index: tuple[np.ndarray, ...]
    hole: Hole
    parts: np.ndarray


def windows(whole: Hole, margin: int, multiple: int) -> list[Window]:
    """Cover the parts of a hole by windows that reach ``margin`` sites beyond them where the image does.

    Parts that would show in each other's window share one. A periodic image is opened along its widest gap; where no
    gap of two margins is left, the window is the image, with its ring.

    Args:
        whole: the hole on the lattice of the image.
        multiple: sides of the windows are multiples of it where there is room, which saves the network padding.
    """
    shape, ring = whole.shape, whole.boundary == "periodic"
    origin = [0] * whole.ndim
    if ring:
        gaps = [_widest_gap(np.asarray(whole.mask.any(_others(whole.ndim, axis)))) for axis in range(whole.ndim)]
        if min(length for _, length in gaps) < 2 * margin:
            mesh = np.ix_(*(np.arange(n) for n in shape))
            return [Window(mesh, whole, np.arange(1, whole.parts.max() + 1))]
        origin = [(start + length // 2) % n for (start, length), n in zip(gaps, shape, strict=True)]
    parts = np.roll(whole.parts, [-o for o in origin], range(whole.ndim))
    groups = []
    for number in range(1, parts.max() + 1):
        where = np.argwhere(parts == number)
        groups.append(([number], where.min(0), where.max(0) + 1))
    groups = _merge(groups, margin + multiple)  # as far as a window can reach
    found = []
    for numbers, low, high in groups:
        ranges = [
            _widen(a - margin, b + margin, n, multiple)
            for a, b, n in zip(low.tolist(), high.tolist(), shape, strict=True)
        ]
        cut = parts[tuple(slice(a, b) for a, b in ranges)]
        inside = np.isin(cut, numbers)
        boundary: Boundary = "noflux"
        hole = Hole(cut.shape, boundary, mask=inside)
        order = np.array([cut[hole.parts == r][0] for r in range(1, hole.parts.max() + 1)])
        mesh = np.ix_(*((np.arange(a, b) + o) % n for (a, b), o, n in zip(ranges, origin, shape, strict=True)))
        found.append(Window(mesh, hole, order))
    return found


def _others(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(ndim) if a != axis)


def _widest_gap(taken: np.ndarray) -> tuple[int, int]:
    """Start and length of the longest run of False around a ring."""
    n = len(taken)
    if not taken.any():
        return 0, n
    hits = np.flatnonzero(taken)
    lengths = np.diff(np.append(hits, hits[0] + n)) - 1
    widest = int(lengths.argmax())
    return int(hits[widest] + 1) % n, int(lengths[widest])


def _merge(groups: list, margin: int) -> list:
    """Join groups of parts as long as the bounding box of one reaches into the window of another."""
    merged = True
    while merged:
        merged = False
        for i, (numbers, low, high) in enumerate(groups):
            for j in range(i + 1, len(groups)):
                others, other_low, other_high = groups[j]
                if (low - margin < other_high).all() and (other_low < high + margin).all():
                    both = (numbers + others, np.minimum(low, other_low), np.maximum(high, other_high))
                    groups = [*groups[:i], both, *groups[i + 1 : j], *groups[j + 1 :]]
                    merged = True
                    break
            if merged:
                break
    return groups


def _widen(low: int, high: int, side: int, multiple: int) -> tuple[int, int]:
    """[low, high) within [0, side), lengthened to a multiple where there is room."""
    low, high = max(low, 0), min(high, side)
    extra = min(-(high - low) % multiple, side - (high - low))
    before = min(low, extra // 2)
    after = min(side - high, extra - before)
    return max(0, low - (extra - after)), high + after
