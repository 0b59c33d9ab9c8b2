"""Voxels that are left out of a dataset: those of some labels, and those that a mask marks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.data.formats import Raster, read_image
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import IGNORED, count_labels, to_indices
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, UsageError

_LARGE = 0.5  # share of an image from which a mask is suspected to be inverted
_BEYOND = 1.05  # radius of a field of view beyond which nothing of it can be left, relative to half a side
_SMALLEST = 16  # side of the images looked at for a field of view
_LOOKED_AT = 5  # slices of each image
_SHARED = 0.001  # share of a label within the field of view from which it is that of a phase too


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images of labels, and for each of them which voxels are left out: bool arrays, or None for none."""

    images: tuple[LabelledImage, ...]
    ignored: tuple[np.ndarray | None, ...]

    def counts(self) -> dict[int, int]:
        """Voxels of each label, by ascending label, without those that are left out."""
        total: dict[int, int] = {}
        for image, ignored in zip(self.images, self.ignored, strict=True):
            kept = image.array if ignored is None else image.array[~ignored]
            for label, count in count_labels(kept).items():
                total[label] = total.get(label, 0) + count
        return dict(sorted(total.items()))

    def voxels(self) -> int:
        """How many are left out."""
        return sum(int(ignored.sum()) for ignored in self.ignored if ignored is not None)

    def indices(self, index_of: dict[int, int]) -> list[LabelledImage]:
        """The images as phase indices; ``index_of`` must know every label that is not left out."""
        found = []
        for image, ignored in zip(self.images, self.ignored, strict=True):
            table = index_of
            if ignored is not None:
                table = dict.fromkeys(count_labels(image.array), IGNORED) | index_of
            array = to_indices(image.array, table)
            if ignored is not None:
                array[ignored] = IGNORED
            found.append(LabelledImage(array, image.axes))
        return found


def leave_out(
    images: Sequence[LabelledImage], labels: Sequence[int], masks: Sequence[str]
) -> tuple[Labelled, list[str]]:
    """Find what is to be left out.

    Args:
        images: of labels.
        labels: whose voxels are left out.
        masks: image files; what is not 0 in them is left out of every image. A mask has the shape of the images, or of
            one slice of them, and then holds for each.

    Returns:
        the images with what is left out, and what a user should know of the masks.

    Raises:
        UsageError: a label that no voxel has, or nothing is left.
        DataError: a mask that cannot be read or has another shape.
    """
    found: list[np.ndarray | None] = [None] * len(images)
    if labels:
        existing = {label for image in images for label in count_labels(image.array)}
        for label in labels:
            if label not in existing:
                listed = ", ".join(map(str, sorted(existing)[:16]))
                raise UsageError(f"`ignore={label}`: no voxel has the label {label}; the labels are {listed}")
        found = [np.isin(image.array, labels) for image in images]
    doubts: list[str] = []
    for file in masks:
        raster = read_image(file)
        doubts += doubt_mask(raster, file)
        marked = raster.array != 0
        for number, image in enumerate(images):
            shape = image.array.shape
            if marked.shape not in (shape, shape[-2:]):
                sizes = sides(marked.shape), sides(shape)
                raise DataError(f"the mask {file} is {sizes[0]}, the image {sizes[1]}; their slices must be equal")
            before = found[number]
            found[number] = np.broadcast_to(marked, shape).copy() if before is None else before | marked
    if all(ignored is not None and ignored.all() for ignored in found):
        raise UsageError("`ignore` and `ignore_masks` leave out every voxel; nothing is left")
    return Labelled(tuple(images), tuple(i if i is not None and i.any() else None for i in found)), doubts


def doubt_mask(raster: Raster, source: str) -> list[str]:
    """What a user should know of an image that is taken for a mask: how it was read, and whether it looks wrong."""
    doubts = list(raster.remarks)
    values = count_labels(raster.array)
    share = 1 - values.get(0, 0) / raster.array.size
    if len(values) > 2:
        listed = ", ".join(map(str, list(values)[:6])) + (", ..." if len(values) > 6 else "")
        doubts.append(
            f"the mask {source} holds {len(values)} different values ({listed}): each that is not 0 marks a voxel, "
            "those of blurred edges too; save it with two values if that is not meant"
        )
    if share > _LARGE:
        doubts.append(
            f"the mask {source} marks {100 * share:.0f} % of the image: voxels that are not 0; if it means the others, "
            "invert it"
        )
    return doubts


def doubt_corners(labelled: Labelled) -> list[str]:
    """A hint where one label fills everything outside the largest disk in the slices: the edge of a field of view."""
    if any(ignored is not None for ignored in labelled.ignored):
        return []
    found: set[int] = set()
    inside = voxels = 0
    for image in labelled.images:
        shape = image.array.shape[-2:]
        if min(shape) < _SMALLEST:
            return []
        grids = np.ogrid[tuple(slice(n) for n in shape)]
        radii = [(grid - (n - 1) / 2) / (n / 2) for grid, n in zip(grids, shape, strict=True)]
        away = radii[0] ** 2 + radii[1] ** 2
        slices = image.array.reshape(-1, *shape)
        for at in np.unique(np.linspace(0, len(slices) - 1, _LOOKED_AT).astype(int)):
            found |= set(np.unique(slices[at][away > _BEYOND**2]).tolist())
            if len(found) > 1:
                return []
            inside += int((slices[at][away < 1 / _BEYOND**2] == next(iter(found))).sum())
            voxels += int((away < 1 / _BEYOND**2).sum())
    label, share = found.pop(), inside / voxels
    if share > 1 - 1 / _SMALLEST:  # nearly the whole image is of this label
        return []
    fix = f"`ignore={label}`"
    if share > _SHARED:
        fix = f"`ignore_masks=FILE` (an image of one slice, not 0 there), since label {label} occurs inside as well"
    return [
        f"label {label} fills all corners outside a disk: if that is the edge of the field of view, it counts as a "
        f"phase now; leave it out by {fix}"
    ]
