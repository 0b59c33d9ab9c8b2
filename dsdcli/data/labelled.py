"""One image of a dataset, and what its axes mean."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dsdcli.data.phases import IGNORED


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """Phase indices (uint8), or counts as records (`dsdcli.data.species`), of a 2D image ("YX"), a stack of independent
    2D images ("TYX") or a volume ("ZYX").

    `dsdcli.data.phases.IGNORED` marks voxels that are left out: no crop holds one, and no fraction counts them.
    ``material`` is the class of the image in a dataset of several, None in others.
    """

    array: np.ndarray
    axes: str
    material: str | None = None

    @property
    def own_axes(self) -> tuple[int, ...]:
        """The axes along which neighbours are neighbours: all but that of a stack."""
        return (1, 2) if self.axes == "TYX" else tuple(range(self.array.ndim))

    @cached_property
    def whole(self) -> bool:
        """Whether no voxel is left out; of counts none is."""
        return self.array.dtype.names is not None or self.array.max(initial=0) != IGNORED
