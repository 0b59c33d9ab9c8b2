"""Several materials in one dataset: reading their images, and crops of which the class is known."""

from collections.abc import Callable, Sequence

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.formats import Raster, read_image
from dsdcli.data.sources import Gathered, gather
from dsdcli.data.voxel import SAME, VoxelSize, length_ratio
from dsdcli.errors import DataError, UsageError

UNTOLD = -1  # in place of the number of a class


def gather_classes(
    sources: Sequence[str],
    classes: Sequence[str],
    axes: str | None = None,
    voxel: VoxelSize | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
    offset: int = 0,
    endian: str = "little",
    read: Callable[..., Raster] = read_image,
) -> tuple[Gathered, list[str]]:
    """As `dsdcli.data.sources.gather`, class by class: the images, and the class of each.

    Args:
        classes: of every source.

    Raises:
        UsageError: as many classes as sources are needed.
        DataError: as `gather`, or classes that do not go together.
    """
    if len(classes) != len(sources) or not all(classes):
        raise UsageError(
            f"`classes` names {len(classes)}, and there are {len(sources)} sources; name the class of each, in order"
        )
    found: dict[str, Gathered] = {}
    for name in dict.fromkeys(classes):
        named = [source for source, theirs in zip(sources, classes, strict=True) if theirs == name]
        found[name] = gather(named, axes, voxel, shape, dtype, offset, endian, read)
    if len({each.slice_axes for each in found.values()}) > 1:
        raise DataError("the classes mix volumes and independent 2D images; ingest them into one dataset each")
    size: VoxelSize | None = None
    for name, each in found.items():
        own = each.voxel
        if size is None or own is None:
            size = size or own
        elif abs((length_ratio(own.value, own.unit, size.value, size.unit) or 1) - 1) > SAME:
            raise DataError(
                f"the voxels of class {name} are {own.value:g} {own.unit}, those of the classes before it "
                f"{size.value:g} {size.unit}; one model needs one size"
            )
    notes = dict.fromkeys(line for each in found.values() for line in each.notes)
    warnings = [line for each in found.values() for line in each.warnings]
    if any((each.voxel is None) != (size is None) for each in found.values()):
        warnings.append("not all classes say their voxel size; it is taken to be that of those that do")
    images = tuple(image for each in found.values() for image in each.images)
    names = [name for name, each in found.items() for _ in each.images]
    return Gathered(images, next(iter(found.values())).slice_axes, size, tuple(notes), tuple(warnings)), names


def crops_of_classes(
    dataset: Dataset, split: str, n: int, size: Sequence[int], rng: np.random.Generator, augment: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """As `Dataset.crops`, of each class as many on average: the crops, and the number of the class of each, int64 (n,),
    `UNTOLD` where the dataset has none."""
    if not dataset.classes:
        return dataset.crops(split, n, size, rng, augment), np.full(n, UNTOLD)
    kinds = rng.integers(len(dataset.classes), size=n)
    members = [np.flatnonzero(kinds == kind) for kind in range(len(dataset.classes))]
    parts = [
        material.crops(split, len(own), size, rng, augment)
        for material, own in zip(dataset.materials, members, strict=True)
        if len(own)
    ]
    crops = np.concatenate(parts)
    return crops[np.argsort(np.concatenate(members), kind="stable")], kinds
