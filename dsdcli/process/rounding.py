"""From the counts that are expected to whole ones with exactly the wanted totals."""

from dataclasses import dataclass

import numpy as np

HALVINGS = 60


@dataclass(frozen=True)
class Rounded:
    """Result of `round_counts` for one image.

    Attributes:
        image: counts int64 (C, *L).
        forced: share of the particles that were put beyond the whole numbers next to what was expected, because the
            totals had to be met.
        moved: share of the particles that the walk had left on another site.
        expected: what was rounded, float64 (C, *L).
    """

    image: np.ndarray
    forced: float
    moved: float
    expected: np.ndarray


def round_counts(
    expected: np.ndarray,
    walked: np.ndarray,
    totals: np.ndarray,
    caps: np.ndarray,
    parts: np.ndarray,
    around: np.ndarray | None = None,
) -> Rounded:
    """The whole counts nearest to the expected ones, by the sum of squares, with exactly the wanted totals in every
    part, none below 0 or above its cap.

    Args:
        expected: float64 (C, *L), without ties.
        walked: counts (C, *L) at the end of the walk.
        totals: int64 (R, C), each at most the cap times the sites of its part.
        caps: (C,).
        parts: number 1 to R of the part of every site, 0 in none, (*L).
        around: counts (C, *L) of which all that lies in no part is kept.
    """
    image = np.zeros(expected.shape, np.int64) if around is None else around.astype(np.int64)
    forced = moved = 0.0
    for part, wanted in enumerate(totals, 1):
        inside = parts == part
        for channel, (total, cap) in enumerate(zip(wanted.tolist(), caps.tolist(), strict=True)):
            mean = expected[channel][inside]
            found = nearest_whole(mean, total, cap)
            image[channel][inside] = found
            forced += float(np.maximum(np.abs(found - np.clip(mean, 0, cap)) - 1, 0).sum())
            moved += float(np.abs(found - walked[channel][inside]).sum()) / 2
    particles = max(1, int(totals.sum()))
    return Rounded(image, forced / particles, moved / particles, expected)


def nearest_whole(mean: np.ndarray, total: int, cap: int) -> np.ndarray:
    """Whole numbers (S,) from 0 to ``cap`` that add up to ``total``, with the least sum of squared differences to
    ``mean`` (S,).

    A particle more on a site that has k adds 2 (k + 1/2 - mean) to the sum: the cheapest ``total`` places are taken, so
    that all are taken below some price, which is found by halving, and of those at that price as many as are missing.
    """
    if not 0 <= total <= cap * len(mean):
        raise ValueError(f"{total} particles do not fit on {len(mean)} sites of {cap}")
    low, high = -float(mean.max(initial=0)) - 1, cap - float(mean.min(initial=0)) + 1
    for _ in range(HALVINGS):
        price = (low + high) / 2
        if int(_below(mean, price, cap).sum()) <= total:
            low = price
        else:
            high = price
    found = _below(mean, low, cap)
    while (missing := total - int(found.sum())) > 0:
        order = np.argsort(np.where(found < cap, found + 0.5 - mean, np.inf), kind="stable")
        found[order[: min(missing, int((found < cap).sum()))]] += 1
    return found


def _below(mean: np.ndarray, price: float, cap: int) -> np.ndarray:
    """Places of each site that cost less than a price, int64 (S,)."""
    return np.clip(np.ceil(price + mean - 0.5), 0, cap).astype(np.int64)
