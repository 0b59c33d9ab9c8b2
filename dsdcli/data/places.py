"""The places of crops in images of which some voxels may be left out."""

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from dsdcli.data.phases import IGNORED
from dsdcli.data.voxel import sides

_ATTEMPTS = 100  # random places tried for a crop before all places without left-out voxels are listed


class Places:
    """All places of crops in views of images, numbered: which image or slice, then the offset along each axis.

    Args:
        views: phase indices (N, *L) each: N images or slices.
        whole: whether no voxel is left out.
        size: sides of the crops.
    """

    def __init__(self, views: Sequence[np.ndarray], whole: bool, size: tuple[int, ...]) -> None:
        self.views, self.whole, self.size = views, whole, size
        self.shapes = [
            (view.shape[0], *(max(0, side - wanted + 1) for side, wanted in zip(view.shape[1:], size, strict=True)))
            for view in views
        ]
        self.ends = np.cumsum([np.prod(shape, dtype=np.int64) for shape in self.shapes], dtype=np.int64)
        self.listed: np.ndarray | None = None  # numbers of all places without left-out voxels, where these are rare

    @cached_property
    def exist(self) -> bool:
        """Whether there is any place without left-out voxels."""
        if not len(self.ends) or self.ends[-1] == 0:
            return False
        return self.whole or self._try(1, np.random.default_rng(0)) is not None or len(self._list()) > 0

    def no_room(self, path: Path, split: str, images: int) -> str:
        """Why there is no place in a split of the dataset at ``path``, which has so many images."""
        wanted = sides(self.size)
        if not self.views:
            if images:
                fix = "use a size with two sides, or, if the images are slices of a volume, dsd ingest with `axes='z'`"
                return f"crops of {wanted} need a volume, but {path} holds independent 2D images; {fix}"
            return f"{path} has no {split} images; run dsd ingest again with another `holdout`"
        found = ", ".join(sorted({sides(view.shape[1:]) for view in self.views}))
        without = "" if self.whole else " without a left-out voxel"
        return (
            f"crops of {wanted}{without} do not fit into the {split} images of {path} ({found}); use a smaller "
            "`size`, or run dsd ingest again with a smaller `downsample` or another `holdout`"
        )

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of ``n`` places, int64 (n,): each one without left-out voxels is equally likely.

        Random places are rejected until there are enough; where that takes too long, the good ones are listed once.
        """
        if self.whole:
            return rng.integers(self.ends[-1], size=n)
        drawn = self._try(n, rng) if self.listed is None else None
        return rng.choice(self._list(), size=n) if drawn is None else drawn

    def crop(self, number: int) -> np.ndarray:
        """The crop at a place, a view of the image."""
        view = int(np.searchsorted(self.ends, number, side="right"))
        shape = self.shapes[view]
        first, *offsets = np.unravel_index(number - self.ends[view] + np.prod(shape), shape)
        return self.views[view][(first, *(slice(a, a + side) for a, side in zip(offsets, self.size, strict=True)))]

    def _try(self, n: int, rng: np.random.Generator) -> np.ndarray | None:
        drawn, waiting = np.empty(n, np.int64), np.arange(n)
        for _ in range(_ATTEMPTS):
            drawn[waiting] = rng.integers(self.ends[-1], size=len(waiting))
            waiting = waiting[[self.crop(number).max(initial=0) == IGNORED for number in drawn[waiting].tolist()]]
            if not len(waiting):
                return drawn
        return None

    def _list(self) -> np.ndarray:
        if self.listed is None:
            self.listed = np.concatenate([self._good(view) for view in range(len(self.views))])
        return self.listed

    def _good(self, view: int) -> np.ndarray:
        """Numbers of the places in one view whose crop holds no left-out voxel."""
        shape = self.shapes[view]
        per_item = int(np.prod(shape[1:], dtype=np.int64))
        before = int(self.ends[view]) - shape[0] * per_item
        found = [np.zeros(0, np.int64)]
        for item, image in enumerate(self.views[view] if per_item else ()):
            found.append(before + item * per_item + np.flatnonzero(good_places(image, self.size)))
        return np.concatenate(found)


def good_places(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Which crops of ``size`` hold no left-out voxel, by their first voxel: bool, shape of the image - size + 1."""
    from scipy.ndimage import maximum_filter1d

    if image.dtype.names is not None:  # counts, of which none are left out
        image = np.zeros(image.shape, np.uint8)
    bad = (image == IGNORED).view(np.uint8)
    for axis, side in enumerate(size):
        bad = maximum_filter1d(bad, side, axis, origin=-(side // 2))  # over ``side`` voxels, from each one on
    return bad[tuple(slice(n - side + 1) for n, side in zip(image.shape, size, strict=True))] == 0


def equal_side_orders(size: Sequence[int]) -> list[tuple[int, ...]]:
    """The permutations of axes that leave the shape ``size`` as it is."""
    orders = itertools.permutations(range(len(size)))
    return [order for order in orders if tuple(size[axis] for axis in order) == tuple(size)]
