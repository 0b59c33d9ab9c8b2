"""From what the user names to whole numbers of voxels."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dsdcli.data.phases import Phase, find_phase
from dsdcli.errors import UsageError


def resolve_counts(
    phases: Sequence[Phase],
    sites: int,
    fractions: Mapping[str, float],
    counts: Mapping[str, int],
    typical: Sequence[float],
) -> np.ndarray:
    """Voxels of every phase that meet the request exactly and add up to ``sites``.

    A fraction becomes the nearest whole number of voxels (halves up). Phases that are not named share the rest in
    the proportions of ``typical``, by largest remainder.

    Args:
        fractions: requested volume fraction by phase name.
        counts: requested voxels by phase name.
        typical: (K,) volume fractions of the training images.

    Returns:
        int64 (K,).

    Raises:
        UsageError: an unknown phase, a phase named twice, a value out of range, or a sum that does not fit.
    """
    wanted: dict[int, int] = {}
    for name, value in [*fractions.items(), *counts.items()]:
        index = find_phase(phases, name)
        if index in wanted:
            raise UsageError(f"phase '{name}' is given both a fraction and a count; give one")
        if name in fractions:
            if not 0 <= value <= 1:
                raise UsageError(f"the fraction of '{name}' must lie between 0 and 1, not {value:g}")
            wanted[index] = math.floor(value * sites + 0.5)
        else:
            if not 0 <= value <= sites:
                raise UsageError(f"the count of '{name}' must lie between 0 and {sites} voxels, not {value}")
            wanted[index] = int(value)
    result = np.zeros(len(phases), np.int64)
    for index, value in wanted.items():
        result[index] = value
    rest = sites - int(result.sum())
    free = [i for i in range(len(phases)) if i not in wanted]
    if not free and len(fractions) == len(phases) and abs(math.fsum(fractions.values()) - 1) < 1e-6:
        # Fractions that add up to one can miss the total by a voxel or two when each is rounded on its own.
        exact = np.array([fractions[phase.name] for phase in phases]) * sites
        return largest_remainder(exact / exact.sum(), sites)
    if rest < 0 or (rest > 0 and not free):
        total = sites - rest
        raise UsageError(
            f"the requested phases take {total} of {sites} voxels (fractions add up to {total / sites:.4g}); "
            + ("they must add up to 1" if not free else "ask for less")
        )
    if free:
        share = np.array([typical[i] for i in free], float)
        share = share / share.sum() if share.sum() > 0 else np.full(len(free), 1 / len(free))
        result[free] = largest_remainder(share, rest)
    return result


def largest_remainder(share: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to ``share`` that add up to ``total``."""
    exact = share * total
    whole = np.floor(exact).astype(np.int64)
    missing = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:missing]] += 1
    return whole


def round_table(exact: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Whole numbers near ``exact`` with these sums of rows and columns, each the whole number below or above its entry:
    of all such tables one with the largest remainders rounded up (controlled rounding, Cox 1987).

    Args:
        exact: non-negative float64 (R, K), with rows that add up to ``rows``.
        rows: int64 (R,).
        columns: int64 (K,), each the sum of its column rounded down or up.

    Returns:
        int64 (R, K).
    """
    whole = np.floor(exact + 1e-9).astype(np.int64)
    above = exact - whole
    missing, short = rows - whole.sum(1), columns - whole.sum(0)
    if exact.shape[1] == 2:  # where a row lacks one, either of the two gets it: a choice of the largest
        open_ = np.flatnonzero(missing)
        first = open_[np.argsort(-above[open_, 0], kind="stable")[: short[0]]]
        whole[open_, 1] += 1
        whole[first, 0] += 1
        whole[first, 1] -= 1
        return whole
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    number, phases = exact.shape
    by_row, by_column = kron(eye_array(number), np.ones((1, phases))), kron(np.ones((1, number)), eye_array(phases))
    limit = (above > 1e-12).ravel().astype(float)
    found = linprog(
        -above.ravel(),
        A_eq=vstack([by_row, by_column]).tocsr(),
        b_eq=np.concatenate([missing, short]),
        bounds=np.stack([np.zeros_like(limit), limit], axis=1),
        method="highs-ds",
    )
    if found.x is None:
        raise ValueError(f"no table of whole numbers has the sums of the columns {columns.tolist()}")
    return whole + np.rint(found.x).astype(np.int64).reshape(exact.shape)
