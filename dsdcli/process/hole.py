"""Holes: parts of a lattice in which particles walk between no-flux walls, whatever their shape."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from dsdcli.process.lattice import Lattice

EIGEN_SITES = 1000  # of one part: up to here it walks in its eigenbasis; beyond, that would take longer than it saves


@dataclass(frozen=True, eq=False)
class Hole(Lattice):
    """The True sites of ``mask`` on a lattice; every bond to another site is closed.

    It has all that a lattice has, and arrays on it keep the lattice's shape. Parts of a hole that do not touch
    cannot exchange particles, so that each conserves its own counts.

    Attributes:
        mask: bool (*L), True somewhere.
    """

    mask: np.ndarray = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask.shape != self.shape or self.mask.dtype != bool or not self.mask.any():
            raise ValueError(f"a hole in {self.shape} needs a bool mask of that shape, True somewhere")

    def walkable(self, device: torch.device | str = "cpu") -> torch.Tensor:
        return torch.from_numpy(self.mask).to(device)

    def open_bonds(self, device: torch.device | str = "cpu") -> torch.Tensor:
        return self._bonds.to(device)

    @cached_property
    def _bonds(self) -> torch.Tensor:
        bonds = super().open_bonds()
        inside = torch.from_numpy(self.mask)
        for axis in range(self.ndim):
            for direction, shift in ((2 * axis, -1), (2 * axis + 1, 1)):
                bonds[direction] &= inside & inside.roll(shift, axis)
        return bonds

    def move(self, site: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Move (P, d) positions by (P, d) hops along straight runs of open bonds, reflected at both ends of each run.

        One axis after another; which goes first alternates from site to site, so that none is preferred. No closed
        bond is ever crossed.
        """
        side = torch.tensor(self.shape, device=site.device)
        start, length = (table.to(site.device) for table in self._runs)  # (d, S)
        first = site.sum(1) % self.ndim
        for turn in range(self.ndim):
            axis = ((first + turn) % self.ndim)[:, None]
            here = self.ravel(site)
            origin, n = start[axis[:, 0], here], length[axis[:, 0], here]
            n_axis = side[axis[:, 0]]
            along = (site.gather(1, axis)[:, 0] - origin) % n_axis + step.gather(1, axis)[:, 0]
            reflected = along % (2 * n)
            reflected = torch.where(reflected >= n, 2 * n - 1 - reflected, reflected)
            along = torch.where(n > n_axis, along, reflected)
            site = site.scatter(1, axis, ((origin + along) % n_axis)[:, None])
        return site

    @cached_property
    def _runs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """First position and length of the straight run of open bonds through every site, along every axis: (d, S)
        each. A ring without a wall counts as longer than its side."""
        starts, lengths = [], []
        for axis, side in enumerate(self.shape):
            backward = np.moveaxis(self._bonds[2 * axis + 1].numpy(), axis, -1)
            forward = np.moveaxis(self._bonds[2 * axis].numpy(), axis, -1)
            # On three turns of the ring, a run through the middle one starts and ends within reach.
            index = np.arange(3 * side)
            begins = np.where(np.tile(backward, 3), -1, index)
            first = np.maximum.accumulate(begins, axis=-1)[..., side : 2 * side]
            ends = np.where(np.tile(forward, 3), 3 * side, index)
            last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1][..., side : 2 * side]
            ring = first < 0
            starts.append(np.moveaxis(np.where(ring, 0, first % side), -1, axis).ravel())
            lengths.append(np.moveaxis(np.where(ring, side + 1, last - first + 1), -1, axis).ravel())
        return torch.from_numpy(np.stack(starts)), torch.from_numpy(np.stack(lengths))

    @cached_property
    def box(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Lowest corner and sides if the hole is a box with walls on all sides, else None."""
        where = np.argwhere(self.mask)
        low, high = where.min(0), where.max(0) + 1
        sides = high - low
        rings = self.boundary == "periodic" and (sides == self.shape).any()
        if len(where) != math.prod(sides.tolist()) or rings:
            return None
        return tuple(low.tolist()), tuple(sides.tolist())

    @cached_property
    def parts(self) -> np.ndarray:
        """Connected parts, int64 (*L): 1, 2, ... in the order of their first site, 0 outside."""
        from scipy.sparse.csgraph import connected_components

        _, label = connected_components(self._adjacency, directed=False)
        parts = np.zeros(self.shape, np.int64)
        parts[self.mask] = label + 1
        return parts

    @cached_property
    def pieces(self) -> "tuple[Hole, ...]":
        """Every part as a hole of its own, in the order of `parts`; the hole itself if there is one."""
        if self.parts.max() == 1:
            return (self,)
        return tuple(
            Hole(self.shape, self.boundary, mask=self.parts == part) for part in range(1, self.parts.max() + 1)
        )

    @cached_property
    def _adjacency(self) -> Any:
        """Sparse (n, n) matrix of the open bonds between the n sites of the hole, in row-major order."""
        from scipy.sparse import coo_array

        number = np.full(self.sites, -1)
        number[self.mask.ravel()] = np.arange(self.mask.sum())
        grid = number.reshape(self.shape)
        pairs = []
        for axis in range(self.ndim):
            open_ = self._bonds[2 * axis].numpy()
            pairs.append((grid[open_], np.roll(grid, -1, axis)[open_]))
        a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
        ends = (np.concatenate([a, b]), np.concatenate([b, a]))
        return coo_array((np.ones(len(ends[0])), ends), shape=(int(self.mask.sum()),) * 2).tocsr()

    @cached_property
    def laplacian(self) -> Any:
        """Graph Laplacian of the n sites, degrees on the diagonal: sparse (n, n), float64."""
        from scipy.sparse.csgraph import laplacian

        return laplacian(self._adjacency).tocsr()

    @cached_property
    def modes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Decay rates (n,) and modes (n, n), one a column, of the graph Laplacian of the n sites, float64."""
        value, vector = torch.linalg.eigh(torch.from_numpy(self.laplacian.toarray()))
        return value.clamp_min(0), vector

    def mixing_dose(self) -> float:
        """Dose after which the slowest mode of every part has decayed to exp(-4), 0 if none can move.

        Further than in a whole image (`Lattice.mixing_dose`), whose start is drawn with its long waves: what the
        surroundings say of a hole must not be lost in a start that is uniform.
        """
        return 4 / self._slowest_rate

    @cached_property
    def _slowest_rate(self) -> float:
        """Decay rate of the slowest mode of any part, infinite if no particle can hop."""
        if len(self.pieces) > 1:
            return min(piece._slowest_rate for piece in self.pieces)
        sites = int(self.mask.sum())
        if sites == 1:
            return math.inf
        if self.box is not None:
            return 2 - 2 * math.cos(math.pi / max(self.box[1]))
        if sites <= EIGEN_SITES:
            return float(self.modes[0][1])
        from scipy.sparse.linalg import eigsh

        start = np.ones(sites)
        return float(eigsh(self.laplacian.tocsc(), k=2, sigma=-1e-4, v0=start, return_eigenvectors=False).max())
