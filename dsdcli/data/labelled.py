"""One image of a dataset, in memory or, where the images are large, in their file; and what its axes mean."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dsdcli.data.large import slabs
from dsdcli.data.phases import IGNORED


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """Phase indices (uint8), or counts as records (`dsdcli.data.species`), of a 2D image ("YX"), a stack of independent
    2D images ("TYX") or a volume ("ZYX").

    `dsdcli.data.phases.IGNORED` marks voxels that are left out: no crop holds one, and no fraction counts them.
    ``material`` is the class of the image in a dataset of several, None in others. ``tally`` are the voxels of each
    index, int64 (256,), where they are known without a look at the image.
    """

    array: np.ndarray
    axes: str
    material: str | None = None
    tally: np.ndarray | None = None

    @property
    def own_axes(self) -> tuple[int, ...]:
        """The axes along which neighbours are neighbours: all but that of a stack."""
        return (1, 2) if self.axes == "TYX" else tuple(range(self.array.ndim))

    @cached_property
    def counts(self) -> np.ndarray:
        """Voxels of each index, int64 (256,)."""
        if self.tally is not None:
            return self.tally
        total = np.zeros(IGNORED + 1, np.int64)
        for rows in slabs(self.array):
            total += np.bincount(self.array[rows].reshape(-1), minlength=len(total))  # which copies to 64 bits
        return total

    @cached_property
    def whole(self) -> bool:
        """Whether no voxel is left out; of counts none is."""
        if self.array.dtype.names is not None:
            return True
        if self.tally is not None:
            return not self.tally[IGNORED]
        return all(self.array[rows].max(initial=0) != IGNORED for rows in slabs(self.array))

    def with_array(self, array: np.ndarray) -> "LabelledImage":
        """Another array in its place."""
        return LabelledImage(array, self.axes, self.material)
