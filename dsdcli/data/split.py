"""Holding out a contiguous part of the data, to judge by what training has never seen."""

from collections.abc import Sequence

from dsdcli.data.dataset import LabelledImage
from dsdcli.errors import DataError, UsageError


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


def _held(length: int, share: float) -> int:
    if length < 2:
        raise DataError("there is only one slice to split; nothing can be held out (use `holdout=0`)")
    return min(length - 1, max(1, round(share * length)))
