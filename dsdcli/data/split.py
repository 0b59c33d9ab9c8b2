"""Holding out a contiguous part of the data, to judge by what training has never seen."""

from collections.abc import Sequence

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.fit import SIDES
from dsdcli.data.fit import USUAL as CROPS
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.large import joined
from dsdcli.data.places import good_places
from dsdcli.errors import DataError, UsageError

USUAL = 0.2  # share held out where that is large enough
MOST = 1 / 3  # share held out so that crops fit


def split(images: Sequence[LabelledImage], share: float) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    """Split into a training and a held-out part.

    Of volumes the last slab along z is held out, of independent 2D images the last ones, of one single 2D image the
    last rows: each time ``share`` of the length, rounded, but at least one slice, image or row on either side.

    Args:
        images: volumes, or independent 2D images.
        share: at least 0 (hold nothing out), less than 1.

    Returns:
        training images, held-out images; views of the input.

    Raises:
        UsageError: ``share`` is out of range.
        DataError: there is only one row or slice.
    """
    if not 0 <= share < 1:
        raise UsageError(f"`holdout={share:g}` must be at least 0 and less than 1")
    if share == 0:
        return tuple(images), ()
    if images[0].axes == "ZYX" or (len(images) == 1 and images[0].axes == "YX"):
        cuts = [len(image.array) - _held(len(image.array), share) for image in images]
    else:
        lengths = [len(image.array) if image.axes == "TYX" else 1 for image in images]
        left = sum(lengths) - _held(sum(lengths), share)
        cuts = []
        for image, length in zip(images, lengths, strict=True):
            kept = min(length, left)
            left -= kept
            cuts.append(kept * (len(image.array) if image.axes == "YX" else 1))
    train = tuple(LabelledImage(i.array[:cut], i.axes) for i, cut in zip(images, cuts, strict=True) if cut)
    heldout = tuple(
        LabelledImage(i.array[cut:], i.axes) for i, cut in zip(images, cuts, strict=True) if cut < len(i.array)
    )
    return train, heldout


def independent_images(dataset: Dataset) -> list[np.ndarray]:
    """The images of a dataset, phase indices (*L) each: those of a stack one by one, and both parts of one that `split`
    has cut as one again."""
    train, heldout = dataset.train, dataset.heldout
    cut = len(train) == len(heldout) and (train[0].axes == "ZYX" or (len(train) == 1 and train[0].axes == "YX"))
    if cut and all(a.array.shape[1:] == b.array.shape[1:] for a, b in zip(train, heldout, strict=True)):
        return [joined(a.array, b.array) for a, b in zip(train, heldout, strict=True)]
    return [array for image in train + heldout for array in (image.array if image.axes == "TYX" else [image.array])]


def split_to_fit(images: Sequence[LabelledImage]) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...], str]:
    """Split as `split` does, by a fifth, or by as much more, up to a third, as crops need that fit into both parts.

    Of a single 2D image crops of the usual side, or the largest below it, are to fit without left-out voxels, of a
    volume sub-volumes of the smallest of them.

    Returns:
        training images, held-out images, and what was held out, in words.
    """
    length = len(images[0].array)
    share, what = USUAL, ""
    if len(images) == 1 and images[0].axes == "YX":
        rows = (_rows(images[0].array, side) for side in reversed(SIDES) if side <= CROPS)
        held = next(filter(None, rows), _held(length, USUAL))
        share, what = held / length, f"the last {held} of {length} rows"
    elif images[0].axes == "ZYX":
        shortest = min(len(image.array) for image in images)
        if SIDES[0] <= MOST * shortest:
            share = max(USUAL, SIDES[0] / shortest)
        single = f"the last {_held(length, share)} of {length} slices"
        what = single if len(images) == 1 else f"the last {100 * share:.0f} % of the slices of each volume"
    train, heldout = split(images, share)
    if not what:
        what = f"the last {_items(heldout)} of {_items(images)} images"
    return train, heldout, what


def _rows(array: np.ndarray, side: int) -> int | None:
    """Rows to hold out of a 2D image so that crops of ``side`` fit into both parts, None if they do not."""
    length = len(array)
    if min(array.shape) < side:
        return None
    rows = np.flatnonzero(good_places(array, (side, side)).any(axis=1))  # where crops may begin
    if not len(rows):
        return None
    held = max(_held(length, USUAL), length - int(rows[-1]))
    return held if held <= MOST * length and rows[0] + side <= length - held else None


def _items(images: Sequence[LabelledImage]) -> int:
    return sum(len(image.array) if image.axes == "TYX" else 1 for image in images)


def _held(length: int, share: float) -> int:
    if length < 2:
        raise DataError("there is only one slice to split; nothing can be held out (use `holdout=0`)")
    return min(length - 1, max(1, round(share * length)))
