"""Transition probabilities along one axis; the kernel of a box is the product over its axes."""

import math

import numpy as np
import torch
from scipy.sparse.linalg import expm_multiply

from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Boundary, Lattice

EIGEN_SITES = 2000  # of a free-form part of a hole: beyond, its eigenbasis would take longer than it saves


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


def smooth(field: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Mean of fields (B, C, *L) after a walk: exp(s Lap) along every axis, or on the graph of a hole; 0 outside of it.

    Differentiable in the fields, but in free-form parts of holes larger than `EIGEN_SITES`.

    Args:
        dose: (B,), or (1,) for all.
    """
    if len(dose) > 1 and bool((dose == dose[0]).all()):
        dose = dose[:1]
    if not isinstance(lattice, Hole):
        for axis, side in enumerate(lattice.shape, 2):
            kernel = axis_kernel(side, lattice.boundary, dose).to(field.dtype)
            kernel = kernel.view(len(dose), *(1,) * (field.ndim - 3), side, side)
            field = torch.movedim(field.movedim(axis, -1) @ kernel, -1, axis)
        return field
    result = torch.zeros_like(field)
    for piece in lattice.pieces:
        if piece.box is not None:
            low, sides = piece.box
            box = (..., *(slice(a, a + side) for a, side in zip(low, sides, strict=True)))
            result[box] = smooth(field[box], dose, Lattice(sides))
        else:
            inside = piece.walkable(field.device)
            result[..., inside] = _on_graph(field[..., inside], dose, piece)
    return result


def _on_graph(field: torch.Tensor, dose: torch.Tensor, hole: Hole) -> torch.Tensor:
    """Fields (B, C, n) on the sites of a hole after a walk."""
    if field.shape[-1] <= EIGEN_SITES:
        value, vector = (t.to(field) for t in hole.modes)
        decay = torch.exp(-dose.to(field)[:, None] * value)  # (B, n)
        return (field @ vector * decay[:, None]) @ vector.T
    walked = [
        expm_multiply(-s * hole.laplacian, one.T.double().cpu().numpy()).T
        for s, one in zip(dose.expand(len(field)).tolist(), field, strict=True)
    ]
    return torch.from_numpy(np.stack(walked)).to(field)
