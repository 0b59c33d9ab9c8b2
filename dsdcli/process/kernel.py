"""Transition probabilities along one axis; the kernel of a box is the product over its axes."""

import math

import torch
from scipy.sparse.linalg import expm_multiply

from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Boundary, Lattice


def axis_kernel(side: int, boundary: Boundary, dose: torch.Tensor) -> torch.Tensor:
    """Probability K[b, x, x0] that a particle from x0 is at x after dose s_b (method.md, section 2).

    exp(s Lap) on a path (no-flux) or a ring (periodic) of ``side`` sites, in the cosine or the Fourier basis,
    always in float64.

    Args:
        dose: (B,) doses, hops per direction.

    Returns:
        (B, side, side) float64; columns and rows sum to 1, symmetric.
    """
    dose = dose.to(torch.float64)
    mode = torch.arange(side, dtype=torch.float64, device=dose.device)
    if boundary == "noflux":
        basis = torch.cos(math.pi / side * mode * (mode[:, None] + 0.5)) * math.sqrt(2.0 / side)  # (x, k)
        basis[:, 0] /= math.sqrt(2.0)
        decay = torch.exp(-dose[:, None] * (2 - 2 * torch.cos(math.pi / side * mode)))  # (B, k)
        kernel = (basis * decay[:, None, :]) @ basis.T
    else:
        decay = torch.exp(-dose[:, None] * (2 - 2 * torch.cos(2 * math.pi / side * mode)))
        ring = decay @ torch.cos(2 * math.pi / side * mode[:, None] * mode) / side  # (B, x - x0)
        offset = torch.arange(side, device=dose.device)
        kernel = ring[:, (offset[:, None] - offset) % side]
    return kernel.clamp_min(0)  # rounding leaves -1e-17 where the probability is nil


def smooth(field: torch.Tensor, dose: float, lattice: Lattice) -> torch.Tensor:
    """Mean of a field (..., *L) after a walk of one dose: exp(s Lap) along every axis, or on the graph of a hole."""
    if isinstance(lattice, Hole):
        inside = lattice.walkable(field.device)
        walked = expm_multiply(-dose * lattice.laplacian, field[..., inside].flatten(0, -2).T.cpu().numpy())
        result = torch.zeros_like(field)
        result[..., inside] = torch.from_numpy(walked.T).to(field).unflatten(0, field.shape[: -lattice.ndim])
        return result
    at = torch.tensor([dose], dtype=torch.float64, device=field.device)
    first = field.ndim - lattice.ndim
    for axis, side in enumerate(lattice.shape, first):
        field = torch.movedim(field.movedim(axis, -1) @ axis_kernel(side, lattice.boundary, at)[0], -1, axis)
    return field
