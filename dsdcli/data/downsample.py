"""Coarsening of segmented images by majority vote."""

import itertools
import math

import numpy as np

from dsdcli.data.large import let_go, room
from dsdcli.data.phases import IGNORED

_BLOCKS_AT_ONCE = 2**20
_WHOLE = 0.01  # difference from a whole number that counts as none


def majority(indices: np.ndarray, factor: int, axes: tuple[int, ...]) -> np.ndarray:
    """Replace blocks of ``factor`` voxels along each of ``axes`` by the phase that most of their voxels hold.

    A tie goes to the tied phase whose first voxel comes first in the block (rows from the first to the last, C order).
    That is deterministic and, unlike "the smaller index wins", favours no phase. Voxels beyond the last whole block
    are left out. Ignored voxels vote like a phase.

    Args:
        indices: phase indices, uint8.
        factor: side of the blocks; 1 returns the input.
        axes: the axes to coarsen.

    Returns:
        uint8, with ``shape[axis] // factor`` along each of ``axes``.
    """
    if factor == 1:
        return indices
    shape = tuple(side // factor if axis in axes else side for axis, side in enumerate(indices.shape))
    out = room(shape)
    rows_at_once = max(1, _BLOCKS_AT_ONCE // max(1, int(np.prod(shape[1:]))))
    thick = factor if 0 in axes else 1
    for start in range(0, shape[0], rows_at_once):
        stop = min(start + rows_at_once, shape[0])
        some = indices[start * thick : stop * thick]
        ignored = some == IGNORED
        extra = int(some.max(where=~ignored, initial=0)) + 1  # the phase that they vote as
        coarse = _vote(np.where(ignored, np.uint8(extra), some), factor, axes, (stop - start, *shape[1:]))
        out[start:stop] = np.where(coarse == extra, np.uint8(IGNORED), coarse)
        let_go(indices)
        let_go(out)
    return out


def coarsen(indices: np.ndarray, ratio: float, axes: tuple[int, ...]) -> np.ndarray:
    """The image as voxels ``ratio`` times as wide would show it: the phase that most of each of them holds.

    Where the ratio is no whole number, a voxel is judged by the nearest of the old ones at evenly spaced points.

    Args:
        indices: phase indices, uint8.
        ratio: at least 1.
        axes: the axes to coarsen.

    Returns:
        uint8, with ``int(shape[axis] / ratio)`` along each of ``axes``.
    """
    points = math.ceil(ratio - _WHOLE)  # along each side of a new voxel
    if abs(ratio - points) > _WHOLE:
        for axis in axes:
            wanted = points * int(indices.shape[axis] / ratio)
            at = ((np.arange(wanted) + 0.5) * ratio / points).astype(np.intp)
            indices = np.take(indices, at, axis)
    return majority(indices, points, axes)


def _vote(indices: np.ndarray, factor: int, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    members = []  # the voxels at one position inside every block, position by position
    for offset in itertools.product(range(factor), repeat=len(axes)):
        at = dict(zip(axes, offset, strict=True))
        members.append(
            indices[
                tuple(
                    slice(at[axis], at[axis] + factor * (side - 1) + 1, factor) if axis in at else slice(None)
                    for axis, side in enumerate(shape)
                )
            ]
        )
    phases = int(indices.max(initial=0)) + 1
    votes = np.zeros((phases, *shape), np.uint16 if factor ** len(axes) < 2**16 else np.uint32)
    for member in members:
        for phase in range(phases):
            votes[phase] += member == phase
    most = votes.max(axis=0)
    winner = np.zeros(shape, np.uint8)
    for member in reversed(members):  # the earliest position among the winners is written last
        tied = np.take_along_axis(votes, member[None].astype(np.intp), axis=0)[0] == most
        winner[tied] = member[tied]
    return winner
