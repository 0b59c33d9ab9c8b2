"""Cells: boxes that cover a lattice, in each of which the voxels of every phase are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from dsdcli.process.image import count_parts
from dsdcli.process.lattice import Boundary

ROUNDS = 8  # of Newton's method: from one evaluation of the network to the next the offsets change little
LONGEST = 1.5  # step of an offset
LARGEST = 8.0  # offset: a factor of 3,000 in the odds
SOFT = 1e-3  # variance of a voxel below which it counts as decided
FOLLOWED = 0.045  # dose, over the square of a cell's width, down to which its counts follow a guess
MOST_FOLLOWED = 50.0


@dataclass(frozen=True, eq=False)
class Cells:
    """A grid of boxes on a lattice.

    Attributes:
        edges: along each axis where cells begin, and the side of the lattice at last: 0 < ... < side.
        boundary: walls of the lattice.
    """

    edges: tuple[tuple[int, ...], ...]
    boundary: Boundary = "noflux"

    @classmethod
    def of_side(cls, shape: Sequence[int], side: int, boundary: Boundary = "noflux") -> "Cells":
        """Cells of one side; the last along an axis take what is left, and are smaller."""
        return cls(tuple((*range(0, length, side), length) for length in shape), boundary)

    @classmethod
    def of_grid(cls, shape: Sequence[int], grid: Sequence[int], boundary: Boundary = "noflux") -> "Cells":
        """As many cells along each axis, as equal as whole voxels allow."""
        edges = [[round(i * side / n) for i in range(n + 1)] for side, n in zip(shape, grid, strict=True)]
        return cls(tuple(map(tuple, edges)), boundary)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(edges[-1] for edges in self.edges)

    @cached_property
    def labels(self) -> np.ndarray:
        """Number of the cell of every site, int64 (*L): 1, 2, ... in row-major order."""
        along = [np.repeat(np.arange(len(edges) - 1), np.diff(edges)) for edges in self.edges]
        return np.ravel_multi_index(np.ix_(*along), self.grid).astype(np.int64) + 1

    @cached_property
    def sites(self) -> np.ndarray:
        """Sites of every cell, int64 (R,)."""
        return np.bincount(self.labels.ravel())[1:]

    @cached_property
    def least_dose(self) -> float:
        """Dose below which the counts of the cells follow no guess: particles no longer come so far."""
        width = min(max(np.diff(edges)) for edges in self.edges)  # what is left at a border may be narrower
        return min(MOST_FOLLOWED, FOLLOWED * float(width) ** 2)

    def corner(self, number: int) -> tuple[int, ...]:
        """First site of a cell, counted from 0."""
        return tuple(edges[at] for edges, at in zip(self.edges, np.unravel_index(number, self.grid), strict=True))

    def counts(self, image: np.ndarray, phases: int) -> np.ndarray:
        """Voxels of every phase in every cell of an image (*L): int64 (R, K)."""
        return count_parts(image, self.labels, len(self.sites), phases)

    def sums(self, field: torch.Tensor) -> torch.Tensor:
        """Sum over every cell: (..., *L) -> (..., R)."""
        for axis, member in enumerate(self._members):
            at = field.ndim - len(self.edges) + axis
            field = torch.tensordot(field, member.to(field), dims=([at], [0])).movedim(-1, at)
        return field.flatten(-len(self.edges))

    def between(self, values: torch.Tensor) -> torch.Tensor:
        """Values at the centres of the cells, linearly between them: (..., R) -> (..., *L)."""
        field = values.unflatten(-1, self.grid)
        for axis, weight in enumerate(self._weights):
            at = field.ndim - len(self.edges) + axis
            field = torch.tensordot(field, weight.to(field), dims=([at], [1])).movedim(-1, at)
        return field

    @cached_property
    def _members(self) -> list[torch.Tensor]:
        """1 for the cell of every site along each axis, (L, R)."""
        sides = [torch.tensor(np.diff(edges)) for edges in self.edges]
        cells = [torch.repeat_interleave(torch.arange(len(side)), side) for side in sides]
        return [torch.nn.functional.one_hot(of, len(side)) for of, side in zip(cells, sides, strict=True)]

    @cached_property
    def _weights(self) -> list[torch.Tensor]:
        """Weight of every cell at every site along each axis, (L, R): beyond the last centre 1, or round a ring."""
        weights = []
        for edges in self.edges:
            centre, side = (np.array(edges[1:]) + np.array(edges[:-1]) - 1) / 2, edges[-1]
            site, n = np.arange(side), len(edges) - 1
            number = np.arange(n)
            if self.boundary == "periodic":
                centre = np.concatenate([[centre[-1] - side], centre, [centre[0] + side]])
                number = np.concatenate([[n - 1], number, [0]])
            weight = np.zeros((side, n))
            for at, cell in enumerate(number):
                weight[:, cell] += np.interp(site, centre, np.eye(len(centre))[at])
            weights.append(torch.from_numpy(weight))
        return weights

    def meet(self, logits: torch.Tensor, totals: torch.Tensor) -> torch.Tensor:
        """Shift the logits of the phases (B, K, *L), smoothly in space, so that the expected voxels of every phase in
        every cell are those wanted.

        Of all images with independent voxels and these totals the likeliest is the one whose log-probabilities differ
        by a constant a cell and phase; between the centres of the cells the constants are interpolated, so that no
        border is seen. They are found by a few damped steps of Newton's method, cell by cell.

        Args:
            totals: (B, R, K).
        """
        logits = logits.log_softmax(1)
        offset = torch.zeros_like(totals, dtype=logits.dtype).movedim(-1, 1)  # (B, K, R)
        wanted = totals.movedim(-1, 1).to(logits)
        sites = torch.from_numpy(self.sites).to(logits)
        for _ in range(ROUNDS):
            p = (logits + self.between(offset)).softmax(1)
            slope = self.sums(p * (1 - p)) + SOFT * sites
            step = (1 - 1 / logits.shape[1]) * (wanted - self.sums(p)) / slope  # the phases share a shift of the odds
            offset = (offset + step.clamp(-LONGEST, LONGEST)).clamp(-LARGEST, LARGEST)
        return (logits + self.between(offset)).log_softmax(1)
