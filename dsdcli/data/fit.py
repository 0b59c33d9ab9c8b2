"""Which crops fit into both parts of a dataset."""

from dsdcli.data.dataset import Dataset
from dsdcli.data.stored import SPLITS

SIDES = (32, 48, 64, 96, 128)  # of crops, in voxels: smaller ones show too little of a structure
USUAL = 64  # side of the crops that a part is held out for


def fitting_sides(dataset: Dataset, ndim: int) -> list[int]:
    """The `SIDES` of square or cubic crops that fit into every part of a dataset that holds anything."""
    parts = [split for split in SPLITS if dataset.images(split)]
    return [side for side in SIDES if all(dataset.holds(split, (side,) * ndim) for split in parts)]


def largest_side(dataset: Dataset, ndim: int) -> int:
    """The largest side below `SIDES` of crops that fit into every part; 0 if none does."""
    parts = [split for split in SPLITS if dataset.images(split)]
    for side in range(SIDES[0] - 1, 0, -1):
        if all(dataset.holds(split, (side,) * ndim) for split in parts):
            return side
    return 0
