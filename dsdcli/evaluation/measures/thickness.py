"""Pore sizes: local thickness, the radius of the largest inscribed ball that covers each voxel."""

import contextlib
import functools
import logging
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np


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


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep porespy's compiled loops and PyTorch on one thread: on small images, beside other work, several are 50 times
    slower. Afterwards both have as many as before; porespy leaves PyTorch, which runs on the same OpenMP, with one for
    each core, and all that follows in this process would wait for them.
    """
    import numba

    torch = sys.modules.get("torch")
    before, of_torch = numba.get_num_threads(), torch.get_num_threads() if torch else 0
    numba.set_num_threads(1)
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if torch:
            torch.set_num_threads(of_torch)
