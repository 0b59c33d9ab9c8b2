"""The nearest training crop of an image, over all positions and the symmetries of the lattice.

The distance of two images is the share of voxels in which they differ. All positions are compared by the volume
fractions in blocks first; the most promising ones are then searched voxel by voxel, downhill. The search may miss the
very nearest crop of an image that resembles none, but hardly one of which the image is a copy.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.large import is_large, let_go
from dsdcli.data.places import equal_side_orders
from dsdcli.errors import DataError

_CELLS = {2: 8, 3: 4}  # blocks along each axis of a 2D and of a 3D image
_WORK = 5e10  # multiplications spent on the search by blocks; neighbouring slices are left out to stay below
_LARGEST_STEP = 4  # but never more than this: slices further apart differ
_CANDIDATES = 8  # positions searched voxel by voxel, for every image
_MARGIN = 32  # slices (rows) of a training part next to the held-out one that are not searched, at most 1/8 of it
_CHUNK = 2**15  # positions compared at a time


@dataclass(frozen=True)
class Neighbour:
    """``distance``: share of voxels that differ. ``crop``: the training crop, turned to lie like the image."""

    distance: float
    crop: np.ndarray


@dataclass(frozen=True)
class View:
    """``items``: N images (N, *L). ``ordered``: neighbours among them are neighbouring slices of a volume."""

    items: np.ndarray
    ordered: bool


@dataclass(frozen=True)
class _Candidate:
    score: float
    view: int
    corner: tuple[int, ...]  # item of the view, then the position in it
    turn: int  # number of the symmetry by which the image was turned


def nearest_crops(stack: np.ndarray, dataset: Dataset) -> list[Neighbour]:
    """The nearest crop of the training images for each image.

    Args:
        stack: phase indices (n, *L).
        dataset: its training images are searched.

    Raises:
        DataError: they hold no crop of this size.
    """
    size = stack.shape[1:]
    views = [view for view in training_views(dataset, len(size)) if all(np.less_equal(size, view.items.shape[1:]))]
    if not views:
        raise DataError(f"the training images are too small to look for crops of {'x'.join(map(str, size))}")
    turns = symmetries(size)
    block = max(1, min(size) // _CELLS[len(size)])
    queries = np.stack([_describe_image(turn_image(image, turn), block, len(dataset.phases))
                        for image in stack for turn in turns])  # fmt: skip
    best: list[list[_Candidate]] = [[] for _ in stack]
    for number, view in enumerate(views):
        for scores, corners in _compare_blocks(view, queries, size, block, len(dataset.phases)):
            at = scores.argmin(axis=1)
            for query, position in enumerate(at.tolist()):
                image, turn = divmod(query, len(turns))
                score = float(scores[query, position])
                if len(best[image]) < _CANDIDATES or score < best[image][-1].score:
                    best[image].append(_Candidate(score, number, tuple(corners[position].tolist()), turn))
                    best[image].sort(key=lambda candidate: candidate.score)
                    del best[image][_CANDIDATES:]
    return [_refine(image, found, views, turns, block) for image, found in zip(stack, best, strict=True)]


def training_views(dataset: Dataset, ndim: int) -> list[View]:
    """The training images of dimension ``ndim``: volumes, or images and slices of volumes.

    Where the held-out part continues an image, the last slices (rows) are left out: otherwise the first held-out ones,
    nearly copies of them, would count as memorised.
    """
    views = []
    for image in dataset.train:
        array = image.array
        if image.axes == "ZYX" or (image.axes == "YX" and len(dataset.train) == 1):
            array = array[: len(array) - min(_MARGIN, len(array) // 8)]
        slices = image.axes == "ZYX" and ndim == 2
        views += [View(view, slices) for view in dataset.views(image.with_array(array), ndim)]
    return views


def symmetries(size: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The turns and reflections that keep the shape: an order of the axes and a direction (1, -1) for each."""
    return list(itertools.product(equal_side_orders(size), itertools.product((1, -1), repeat=len(size))))


def turn_image(image: np.ndarray, turn: tuple[tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
    """``image`` with its axes in another order, then flipped."""
    order, signs = turn
    return image.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]


def turn_back(image: np.ndarray, turn: tuple[tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
    """Inverse of `turn_image`."""
    order, signs = turn
    return image[tuple(slice(None, None, sign) for sign in signs)].transpose(np.argsort(order))


def _describe_image(image: np.ndarray, block: int, phases: int) -> np.ndarray:
    """Fraction of each phase but the last in each whole block; float32, flat."""
    cells = [side // block for side in image.shape]
    image = image[tuple(slice(cell * block) for cell in cells)]
    split = image.reshape([n for cell in cells for n in (cell, block)])
    within = tuple(range(1, 2 * len(cells), 2))
    return np.stack([(split == phase).mean(axis=within) for phase in range(phases - 1)]).ravel().astype(np.float32)


def _compare_blocks(
    view: View, queries: np.ndarray, size: tuple[int, ...], block: int, phases: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Squared differences of block fractions, (queries, P), from P positions at a time, (P, 1 + d)."""
    stride = max(1, block // 2)
    grid = [(full - side) // stride + 1 for full, side in zip(view.items.shape[1:], size, strict=True)]
    work = len(view.items) * np.prod(grid, dtype=float) * queries.size
    step = min(_LARGEST_STEP, int(np.ceil(work / _WORK))) if view.ordered else 1
    norms = (queries**2).sum(axis=1)[:, None]
    at_once = max(1, int(_CHUNK // np.prod(grid)))
    chosen = np.arange(0, len(view.items), step)
    rows = max(1, int(_CHUNK // np.prod(grid[1:]))) if is_large(view.items[:1].nbytes) else grid[0]
    for items in np.split(chosen, range(at_once, len(chosen), at_once)):
        for low in range(0, grid[0], rows):  # places along the first axis
            part = [min(rows, grid[0] - low), *grid[1:]]
            beyond = low * stride + (part[0] - 1) * stride + size[0]
            cut = view.items[items[0] : items[-1] + 1 : step, low * stride : beyond]
            described = _describe_positions(cut, size, part, block, stride, phases)
            corners = np.indices((len(items), *part)).reshape(1 + len(size), -1).T
            corners = np.concatenate([items[corners[:, :1]], corners[:, 1:] * stride], axis=1)
            corners[:, 1] += low * stride
            yield norms - 2 * (queries @ described.T) + (described**2).sum(axis=1), corners
            let_go(cut)


def _describe_positions(
    items: np.ndarray, size: tuple[int, ...], grid: list[int], block: int, stride: int, phases: int
) -> np.ndarray:
    """`_describe_image` of the crop at every position, (P, fractions), positions ``stride`` apart."""
    per_block = block // stride
    cells = [side // block for side in size]
    axes = tuple(range(1, items.ndim))
    described = []
    for phase in range(phases - 1):
        means = _block_means(items == phase, stride)
        for axis in axes:  # from blocks of the stride to whole blocks at every position of the stride
            length = means.shape[axis] - per_block + 1
            shifted = [means.take(range(shift, shift + length), axis) for shift in range(per_block)]
            means = np.asarray(sum(shifted) / per_block)
        windows = np.lib.stride_tricks.sliding_window_view(
            means, [(cell - 1) * per_block + 1 for cell in cells], axis=axes
        )
        windows = windows[(slice(None), *(slice(n) for n in grid), *[slice(None, None, per_block)] * len(cells))]
        described.append(windows)
    return np.stack(described, axis=items.ndim).reshape(len(items) * int(np.prod(grid)), -1)


def _block_means(mask: np.ndarray, stride: int) -> np.ndarray:
    """Means over blocks of ``stride`` along all axes but the first; float32."""
    whole = [side // stride for side in mask.shape[1:]]
    mask = mask[(slice(None), *(slice(n * stride) for n in whole))]
    split = mask.reshape([len(mask), *(m for n in whole for m in (n, stride))])
    return split.mean(axis=tuple(range(2, split.ndim, 2)), dtype=np.float32)


def _refine(
    image: np.ndarray,
    candidates: list[_Candidate],
    views: list[View],
    turns: list[tuple[tuple[int, ...], tuple[int, ...]]],
    block: int,
) -> Neighbour:
    best = (2.0, image)
    for candidate in candidates:
        turn = turns[candidate.turn]
        turned = np.ascontiguousarray(turn_image(image, turn))
        distance, crop = _downhill(turned, views[candidate.view].items, candidate.corner, max(1, block // 2))
        if distance < best[0]:
            best = (distance, turn_back(crop, turn))
    return Neighbour(*best)


def _downhill(image: np.ndarray, view: np.ndarray, corner: tuple[int, ...], stride: int) -> tuple[float, np.ndarray]:
    """Move the crop along single axes, by ever smaller steps, as long as it comes closer to the image."""

    def crop(at: tuple[int, ...]) -> np.ndarray:
        place: tuple[Any, ...] = (at[0], *(slice(a, a + side) for a, side in zip(at[1:], image.shape, strict=True)))
        return view[place]

    limits = [len(view) - 1, *(full - side for full, side in zip(view.shape[1:], image.shape, strict=True))]
    distance = (crop(corner) != image).mean()
    step = max(stride, _LARGEST_STEP)
    while step:
        moved = False
        for axis, sign in itertools.product(range(len(corner)), (-step, step)):
            there = (*corner[:axis], corner[axis] + sign, *corner[axis + 1 :])
            if 0 <= there[axis] <= limits[axis]:
                differing = (crop(there) != image).mean()
                if differing < distance:
                    corner, distance, moved = there, differing, True
        step = step if moved else step // 2
    return float(distance), crop(corner)
