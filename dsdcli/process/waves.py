"""Waves of a whole lattice: what the walk damps without changing its shape."""

import math

import torch

from dsdcli.process.lattice import Lattice

ALL = slice(None)


def cosines(side: int, device: torch.device) -> torch.Tensor:
    """Waves of a path of ``side`` sites, float64 (k, x), orthonormal; the walk damps wave k by the eigenvalue
    2 - 2 cos(pi k / side) (method.md, section 2)."""
    mode = torch.arange(side, dtype=torch.float64, device=device)
    basis = torch.cos(math.pi / side * mode[:, None] * (mode + 0.5)) * math.sqrt(2.0 / side)
    basis[0] /= math.sqrt(2.0)
    return basis


def fourier(side: int, device: torch.device) -> torch.Tensor:
    """Waves of a ring of ``side`` sites without complex numbers, float64 (k, x), orthonormal and symmetric (Hartley
    1942): a filter that treats k and -k alike is the same in them."""
    at = torch.arange(side, dtype=torch.float64, device=device)
    turn = 2 * math.pi / side * (at[:, None] * at % side)
    return (torch.cos(turn) + torch.sin(turn)) / math.sqrt(side)


def wavenumbers(lattice: Lattice, device: torch.device, part: slice = ALL) -> torch.Tensor:
    """Root of the eigenvalue of every wave, 2 pi over its length where that is long: float64 (*L).

    Args:
        part: of the waves along the second axis.
    """
    squares = eigenvalues(lattice, device)
    squares[1:2] = [square[part] for square in squares[1:2]]
    return sum(torch.meshgrid(*squares, indexing="ij"), torch.zeros((), device=device)).sqrt()


def eigenvalues(lattice: Lattice, device: torch.device | str = "cpu") -> list[torch.Tensor]:
    """Of the walk, for the waves along every axis: float64 (side,) each."""
    turn = 1.0 if lattice.boundary == "noflux" else 2.0
    return [
        2 - 2 * torch.cos(turn * math.pi / side * torch.arange(side, dtype=torch.float64, device=device))
        for side in lattice.shape
    ]


def to_waves(field: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Amplitudes of the waves of fields (B, C, *L), of the same shape; complex on a ring."""
    if lattice.boundary == "periodic":
        return torch.fft.fftn(field, dim=tuple(range(2, field.ndim)), norm="ortho")
    for axis, side in enumerate(lattice.shape, 2):
        field = torch.movedim(field.movedim(axis, -1) @ cosines(side, field.device).to(field.dtype).T, -1, axis)
    return field


def from_waves(amplitude: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Inverse of `to_waves`."""
    if lattice.boundary == "periodic":
        return torch.fft.ifftn(amplitude, dim=tuple(range(2, amplitude.ndim)), norm="ortho").real
    for axis, side in enumerate(lattice.shape, 2):
        basis = cosines(side, amplitude.device).to(amplitude.dtype)
        amplitude = torch.movedim(amplitude.movedim(axis, -1) @ basis, -1, axis)
    return amplitude
