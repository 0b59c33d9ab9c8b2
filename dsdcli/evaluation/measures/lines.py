"""What straight lines along the axes see of a phase: the lineal path and the chords, both from run lengths."""

import numpy as np


def run_lengths(mask: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Histogram of the runs of True along the lines of one axis.

    Args:
        mask: bool (*L).
        axis: direction of the lines.

    Returns:
        all runs, and those of them that do not touch the border; int64 (L[axis] + 1,) each, indexed by length in
        voxels (entry 0 is 0).
    """
    side = mask.shape[axis]
    lines = np.zeros((mask.size // side, side + 2), np.int8)
    lines[:, 1:-1] = np.moveaxis(mask, axis, -1).reshape(-1, side)
    steps = np.diff(lines, axis=1)
    _, start = np.nonzero(steps == 1)  # row by row, so that starts and ends pair up
    _, end = np.nonzero(steps == -1)
    length = end - start
    whole = (start > 0) & (end < side)
    return np.bincount(length, minlength=side + 1), np.bincount(length[whole], minlength=side + 1)


def lineal_path(runs: np.ndarray, lines: int) -> np.ndarray:
    """Lineal path function: the probability that a segment of r voxels lies wholly in the phase.

    Args:
        runs: histogram of all runs, (N + 1,), from `run_lengths`.
        lines: how many lines of N voxels the image has.

    Returns:
        float64 (N,): entry i for r = i + 1 voxels; the first entry is the volume fraction.
    """
    side = len(runs) - 1
    # A run of m voxels holds m - r + 1 segments of r voxels: sum the histogram from the end, twice.
    segments = np.cumsum(np.cumsum(runs[::-1]))[::-1][1:]
    return segments / (lines * np.arange(side, 0, -1))
