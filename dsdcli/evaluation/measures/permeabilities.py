"""Permeability along every axis, on one thread of the CPU."""

import numpy as np


def permeabilities(mask: np.ndarray, device: str = "cpu") -> list[float]:
    """`dsdcli.flow.permeability.permeability` of a phase along each axis, in voxel^2; NaN where it did not converge.

    Images are measured by as many processes as there are cores, so each keeps to one thread: porespy's compiled loops
    leave PyTorch with all of them, and beside other work that takes ten times as long.
    """
    import torch

    from dsdcli.flow.permeability import permeability

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [permeability(mask, axis, device=device).permeability for axis in range(mask.ndim)]
    finally:
        torch.set_num_threads(before)
