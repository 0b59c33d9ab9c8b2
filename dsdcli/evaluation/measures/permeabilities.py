"""Permeability along every axis, on one thread of the CPU."""

import numpy as np

from dsdcli.threads import one_thread


def permeabilities(mask: np.ndarray, device: str = "cpu") -> list[float]:
    """`dsdcli.flow.permeability.permeability` of a phase along each axis, in voxel^2; NaN where it did not converge.

    Images are measured by as many processes as there are cores, so each keeps to one thread.
    """
    from dsdcli.flow.permeability import permeability

    with one_thread():
        return [permeability(mask, axis, device=device).permeability for axis in range(mask.ndim)]
