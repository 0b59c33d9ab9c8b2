"""Transition probabilities along one axis; the kernel of a box is the product over its axes."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import ive

from dsdcli.process.hole import EIGEN_SITES, Hole
from dsdcli.process.lattice import Boundary, Lattice
from dsdcli.process.waves import cosines


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
        basis = cosines(side, dose.device).T  # (x, k)
        decay = torch.exp(-dose[:, None] * (2 - 2 * torch.cos(math.pi / side * mode)))  # (B, k)
        kernel = (basis * decay[:, None, :]) @ basis.T
    else:
        decay = torch.exp(-dose[:, None] * (2 - 2 * torch.cos(2 * math.pi / side * mode)))
        ring = decay @ torch.cos(2 * math.pi / side * mode[:, None] * mode) / side  # (B, x - x0)
        offset = torch.arange(side, device=dose.device)
        kernel = ring[:, (offset[:, None] - offset) % side]
    return kernel.clamp_min(0)  # rounding leaves -1e-17 where the probability is nil


def smooth(field: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Mean of fields (B, C, *L) after a walk: `smoother` for a single use."""
    return smoother(dose, lattice)(field)


def smoother(dose: torch.Tensor, lattice: Lattice) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function that gives the mean of fields (B, C, *L) after a walk, exp(s Lap) of them: along every axis, or on
    the graph of a hole, and 0 outside of it.

    Differentiable in the fields, but in free-form parts of holes larger than `EIGEN_SITES`.

    Args:
        dose: (B,), or (1,) for all.
    """
    if len(dose) > 1 and bool((dose == dose[0]).all()):
        dose = dose[:1]
    if not isinstance(lattice, Hole):
        kernels = {side: axis_kernel(side, lattice.boundary, dose) for side in set(lattice.shape)}
        return partial(_along_axes, [kernels[side] for side in lattice.shape])
    regions: list[tuple[Any, Callable[[torch.Tensor], torch.Tensor]]] = []
    for piece in lattice.pieces:
        if piece.box is not None:
            low, sides = piece.box
            box = (..., *(slice(a, a + side) for a, side in zip(low, sides, strict=True)))
            regions.append((box, smoother(dose, Lattice(sides))))
        else:
            inside = (..., piece.walkable(dose.device))
            regions.append((inside, partial(_on_graph, dose, piece)))

    def in_parts(field: torch.Tensor) -> torch.Tensor:
        result = torch.zeros_like(field)
        for where, walk in regions:
            result[where] = walk(field[where])
        return result

    return in_parts


def _along_axes(kernels: Sequence[torch.Tensor], field: torch.Tensor) -> torch.Tensor:
    """Fields (B, C, *L) times one kernel (B, N, N) along every axis."""
    for axis, kernel in enumerate(kernels, 2):
        kernel = kernel.to(field.dtype).view(len(kernel), *(1,) * (field.ndim - 3), *kernel.shape[1:])
        field = torch.movedim(field.movedim(axis, -1) @ kernel, -1, axis)
    return field


def _on_graph(dose: torch.Tensor, hole: Hole, field: torch.Tensor) -> torch.Tensor:
    """Fields (B, C, n) on the sites of a hole after a walk."""
    if field.shape[-1] <= EIGEN_SITES:
        # In float64: the last bits of such products depend on how many images there are, and training amplifies them.
        value, vector = (t.to(field.device) for t in hole.modes)
        decay = torch.exp(-dose.double()[:, None] * value)  # (B, n)
        return ((field.double() @ vector * decay[:, None]) @ vector.T).to(field.dtype)
    columns = field.detach().movedim(-1, 0).double().cpu().numpy().reshape(field.shape[-1], -1)  # (n, B C)
    doses = dose.double().cpu().numpy().repeat(columns.shape[1] // len(dose))
    walked = torch.from_numpy(_exponential(hole.laplacian, hole.directions, doses, columns))
    return walked.unflatten(1, field.shape[:-1]).movedim(0, -1).to(field)


def _exponential(laplacian: Any, largest_degree: int, dose: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """exp(-s L) of every column (n, m) at its dose (m,), by Chebyshev polynomials.

    The spectrum of L lies between 0 and twice the largest degree D, and exp(-s D (1 + x)) has the coefficients
    (2 - delta_k0) (-1)^k e^(-s D) I_k(s D) in T_k(x). A degree of a few sqrt(s D) is enough.
    """
    z = dose * largest_degree
    order = np.arange(int(10 + 8 * np.sqrt(10 + z.max())))
    share = np.where(order > 0, 2, 1)[:, None] * (-1.0) ** order[:, None] * ive(order[:, None], z)  # (K, m)
    before, now = columns, laplacian @ columns / largest_degree - columns
    result = share[0] * before + share[1] * now
    for k in range(2, len(order)):
        before, now = now, 2 * (laplacian @ now / largest_degree - now) - before
        result += share[k] * now
    return result
