"""Lattice: its shape, its walls, and the 2 d directions of a hop."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast, get_args

import numpy as np
import torch

from dsdcli.errors import UsageError

Boundary = Literal["noflux", "periodic"]


def as_boundary(text: str) -> Boundary:
    """The kind of wall that a word names.

    Raises:
        UsageError: none.
    """
    if text in get_args(Boundary):
        return cast("Boundary", text)
    raise UsageError(f"unknown boundary '{text}': use noflux or periodic")


@dataclass(frozen=True)
class Lattice:
    """A box of sites in any dimension, with the same kind of wall on every side.

    Direction v = 2 * axis is a hop of +1 along ``axis``, v = 2 * axis + 1 a hop of -1.

    Raises:
        UsageError: a side is shorter than one site, or the boundary is unknown.
    """

    shape: tuple[int, ...]
    boundary: Boundary = "noflux"

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise UsageError(f"a lattice needs sides of at least 1 site, not {self.shape}")
        as_boundary(self.boundary)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @cached_property
    def sites(self) -> int:
        return math.prod(self.shape)

    @property
    def directions(self) -> int:
        return 2 * self.ndim

    def fold(self, site: torch.Tensor) -> torch.Tensor:
        """Bring positions (P, d) that may lie outside back in: wrapped (periodic) or reflected (no-flux).

        Reflection p mod 2N, then 2N - 1 - p on the far half, is the walk on the infinite line seen through walls
        between sites, so it maps the free walk exactly to the walk with no-flux walls (method.md, section 2).
        """
        side = torch.tensor(self.shape, device=site.device)
        if self.boundary == "periodic":
            return site % side
        site = torch.where(site < 0, -1 - site, site)
        if site.device.type != "cpu" or bool((site >= 2 * side).any()):  # a remainder takes three times the rest
            site = site % (2 * side)
        return torch.minimum(site, 2 * side - 1 - site)

    def move(self, site: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Positions (P, d) after ``step`` (P, d) hops along every axis."""
        return self.fold(site + step)

    def walkable(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """Where particles may be: bool (*L)."""
        return torch.ones(self.shape, dtype=torch.bool, device=device)

    @cached_property
    def parts(self) -> np.ndarray:
        """Parts that cannot exchange particles, int64 (*L): 1, 2, ...; 0 where there are none."""
        return np.ones(self.shape, np.int64)

    def open_bonds(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """Which hops are possible, for every direction and site: bool (2d, *L), False towards a wall."""
        bonds = torch.ones(self.directions, *self.shape, dtype=torch.bool, device=device)
        if self.boundary == "noflux":
            for axis, side in enumerate(self.shape):
                bonds[2 * axis].select(axis, side - 1).fill_(False)
                bonds[2 * axis + 1].select(axis, 0).fill_(False)
        return bonds

    def ravel(self, site: torch.Tensor) -> torch.Tensor:
        """Flat row-major index (P,) of the positions (P, d)."""
        flat = site[:, 0]
        for axis in range(1, self.ndim):
            flat = flat * self.shape[axis] + site[:, axis]
        return flat

    def unravel(self, flat: torch.Tensor) -> torch.Tensor:
        """Positions (P, d) of the flat indices (P,)."""
        site = []
        for side in reversed(self.shape):  # torch.unravel_index would import half a second of symbolic algebra
            site.append(flat % side)
            flat = flat // side
        return torch.stack(site[::-1], dim=-1)

    def mixing_dose(self) -> float:
        """Dose after which the slowest mode has decayed to exp(-2): all shorter waves are gone.

        2 (N / pi)^2 with no-flux walls, 2 (N / (2 pi))^2 when periodic, N the longest side (method.md, section 6).
        """
        length = max(self.shape) / (1 if self.boundary == "noflux" else 2)
        return 2.0 * (length / math.pi) ** 2
