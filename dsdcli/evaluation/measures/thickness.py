"""Pore sizes: local thickness, the radius of the largest inscribed ball that covers each voxel."""

import functools
import logging
from types import ModuleType

import numpy as np

from dsdcli.threads import one_thread


@functools.cache
def quiet_porespy() -> ModuleType:
    """Import porespy without what it does on import: a log handler on stdout, silenced numpy errors, progress bars."""
    root = logging.getLogger()
    placeholder = logging.NullHandler()  # logging.basicConfig leaves a logger alone that has a handler
    root.addHandler(placeholder)
    try:
        with np.errstate():
            import porespy
    finally:
        root.removeHandler(placeholder)
    porespy.settings.tqdm["disable"] = True
    return porespy


def local_thickness(mask: np.ndarray) -> np.ndarray:
    """How many voxels of a phase lie in largest inscribed balls of each whole radius.

    Args:
        mask: bool (*L), True in the phase. The border of the image is no wall.

    Returns:
        int64 (max(L) + 1,), indexed by radius in voxels. All zeros when the phase is absent or fills the image: without
        a wall there is no thickness.
    """
    # A ball that fits has a wall at no more than the diagonal; longer ones are counted with the longest side.
    longest = max(mask.shape)
    if mask.all() or not mask.any():
        return np.zeros(longest + 1, np.int64)
    porespy = quiet_porespy()
    with one_thread():
        radii = porespy.filters.local_thickness(np.ascontiguousarray(mask))
    return np.bincount(np.minimum(radii[mask], longest).astype(np.int64), minlength=longest + 1)
