"""A lattice cut into slabs along its first axis, one for each of the ranks that work on it together.

Slabs are made of *units*, a few rows each, which follow from the lattice and the network alone. Whatever is rounded or
drawn at random is computed unit by unit, and sums go over units in their order: so the numbers are the same whichever
rank holds a unit, and on however many ranks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
import torch

from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.waves import cosines, fourier
from dsdcli.ranks import Ranks


@dataclass(frozen=True, eq=False)
class Slab:
    """The rows that this rank holds. Fields on them are (C, rows, ...), features (1, rows, ..., C).

    Attributes:
        lattice: the whole, of two axes or more.
        unit: rows of a unit; the last may have fewer.
    """

    lattice: Lattice
    unit: int
    ranks: Ranks

    @property
    def units(self) -> int:
        """Of the whole lattice; each rank holds one at least."""
        return -(-self.lattice.shape[0] // self.unit)

    @property
    def own(self) -> range:
        """The units here."""
        return range(self.units)[self.ranks.share(self.units)]

    @property
    def rows(self) -> range:
        """The rows here."""
        return self._rows(self.ranks)

    def _rows(self, ranks: Ranks) -> range:
        units = range(self.units)[ranks.share(self.units)]
        return range(units.start * self.unit, min(units.stop * self.unit, self.lattice.shape[0]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the part of the lattice here."""
        return len(self.rows), *self.lattice.shape[1:]

    @property
    def plane(self) -> int:
        """Sites of a row."""
        return self.lattice.sites // self.lattice.shape[0]

    @cached_property
    def others(self) -> list[Ranks]:
        """All ranks, as they see themselves."""
        return [Ranks(number, self.ranks.count, self.ranks.here) for number in range(self.ranks.count)]

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """The rows of every unit here, counted from the first of this rank."""
        starts = [*range(0, len(self.rows), self.unit), len(self.rows)]
        return list(pairwise(starts))

    def generators(self, seed: int, *place: int, device: torch.device) -> list[torch.Generator]:
        """One for each unit here, of its own stream of random numbers at this ``place`` of the work."""
        seeds = [np.random.SeedSequence([seed, *place, unit]).generate_state(1, np.uint64)[0] >> 1 for unit in self.own]
        return [torch.Generator(device).manual_seed(int(own)) for own in seeds]

    def each(self, work: Callable[..., torch.Tensor], *fields: torch.Tensor) -> torch.Tensor:
        """What ``work`` makes of fields, unit by unit."""
        return torch.cat([work(*(field[:, a:b].contiguous() for field in fields)) for a, b in self.spans], 1)

    def sums(self, field: torch.Tensor) -> torch.Tensor:
        """Sum of a field over the sites of every unit of the whole lattice, float64 (units, C)."""
        table = torch.zeros(self.units, len(field), dtype=torch.float64, device=field.device)
        for unit, (a, b) in zip(self.own, self.spans, strict=True):
            table[unit] = field[:, a:b].double().flatten(1).sum(1)
        self.ranks.add([table])  # the others have zeros there
        return table

    def means(self, field: torch.Tensor) -> torch.Tensor:
        """Mean of a field over the whole lattice, float64 (C, 1, ...)."""
        return (self.sums(field).sum(0) / self.lattice.sites).view(-1, *(1,) * self.lattice.ndim)

    def regrouped(self, rows: torch.Tensor, now: Sequence[int], then: Sequence[int]) -> torch.Tensor:
        """Rows (n, ...) that lie on the ranks as ``now`` says as ``then`` says: where those of each begin, and where
        the last end."""
        if self.ranks.count == 1:
            return rows
        number, rest = self.ranks.number, rows.shape[1:]
        start, parcels = now[number], []
        for a, b in pairwise(then):
            low, high = max(a, start), min(b, now[number + 1])
            parcels.append(rows[low - start : max(low, high) - start].flatten())
        return torch.cat(self.ranks.exchange(parcels)).view(then[number + 1] - then[number], *rest)

    @property
    def cuts(self) -> list[int]:
        """Where the rows of each rank begin, and where the last end."""
        return [0, *(self._rows(each).stop for each in self.others)]

    def beyond(self, x: torch.Tensor, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The ``reach`` rows before and after these of (1, rows, ...), which are 0 behind a wall."""
        number, count = self.ranks.number, self.ranks.count
        first, last = x[:, :reach], x[:, x.shape[1] - reach :]
        if count == 1:
            before, after = last, first
        else:
            parcels = [x.new_empty(0)] * count
            down, up = (number - 1) % count, (number + 1) % count
            parcels[up] = last.flatten()
            parcels[down] = torch.cat([parcels[down], first.flatten()])
            came = self.ranks.exchange(parcels)
            before, after = (came[down][: last.numel()].view_as(last), came[up][-first.numel() :].view_as(first))
        if self.lattice.boundary == "noflux":
            before = torch.zeros_like(before) if number == 0 else before
            after = torch.zeros_like(after) if number == count - 1 else after
        return before, after

    # --- products with a matrix along every axis ---------------------------------------------------------------

    @cached_property
    def _columns(self) -> list[int]:
        """Where the columns of the second axis begin that each rank holds of all rows, and where the last end."""
        groups = -(-self.lattice.shape[1] // self.unit)
        ends = [range(groups)[each.share(groups)].stop * self.unit for each in self.others]
        return [0, *(min(end, self.lattice.shape[1]) for end in ends)]

    @property
    def columns(self) -> list[tuple[int, int]]:
        """The columns here, in groups that are the same on however many ranks."""
        start, stop = self._columns[self.ranks.number : self.ranks.number + 2]
        return list(pairwise([*range(start, stop, self.unit), stop])) if start < stop else []

    def turn(self, field: torch.Tensor) -> torch.Tensor:
        """Fields (C, rows, ...) of all columns as (C, ...) of all rows and the columns here."""
        if self.ranks.count == 1:
            return field
        cuts = pairwise(self._columns)
        came = self.ranks.exchange([field[:, :, a:b].flatten() for a, b in cuts])
        width = self._columns[self.ranks.number + 1] - self._columns[self.ranks.number]
        rest = self.lattice.shape[2:]
        shapes = ((len(field), len(self._rows(each)), width, *rest) for each in self.others)
        return torch.cat([part.view(shape) for part, shape in zip(came, shapes, strict=True)], 1)

    def turn_back(self, field: torch.Tensor) -> torch.Tensor:
        """Inverse of `turn`."""
        if self.ranks.count == 1:
            return field
        rows = [self._rows(each) for each in self.others]
        came = self.ranks.exchange([field[:, own.start : own.stop].flatten() for own in rows])
        shapes = ((len(field), len(self.rows), b - a, *self.lattice.shape[2:]) for a, b in pairwise(self._columns))
        return torch.cat([part.view(shape) for part, shape in zip(came, shapes, strict=True)], 2)

    def within(self, field: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
        """Fields (C, rows, ...) times a matrix (x, k) along each axis but the first."""

        def multiplied(part: torch.Tensor) -> torch.Tensor:
            for axis, matrix in enumerate(matrices[1:], 2):
                part = torch.movedim(part.movedim(axis, -1) @ matrix, -1, axis)
            return part

        return self.each(multiplied, field)

    def across(self, field: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        """Turned fields times a matrix (z, k) along the first axis."""
        first, start = matrix.T.contiguous(), self._columns[self.ranks.number]
        parts = [field[:, :, a - start : b - start].contiguous() for a, b in self.columns]
        done = [torch.matmul(first, part.flatten(2)).view_as(part) for part in parts]
        return torch.cat(done, 2) if done else field

    def smoother(self, dose: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """As `dsdcli.process.kernel.smoother`, at a dose (1,), of fields (C, rows, ...)."""
        kernels = [axis_kernel(side, self.lattice.boundary, dose)[0] for side in self.lattice.shape]

        def walk(field: torch.Tensor) -> torch.Tensor:
            matrices = [kernel.to(field.dtype) for kernel in kernels]
            return self.turn_back(self.across(self.turn(self.within(field, matrices)), matrices[0]))

        return walk

    def to_waves(self, field: torch.Tensor) -> torch.Tensor:
        """Amplitudes of the waves of fields (C, rows, ...), turned."""
        matrices = [basis.T for basis in self._bases(field)]
        return self.across(self.turn(self.within(field, matrices)), matrices[0])

    def from_waves(self, amplitude: torch.Tensor) -> torch.Tensor:
        """Inverse of `to_waves`."""
        bases = self._bases(amplitude)
        return self.within(self.turn_back(self.across(amplitude, bases[0])), bases)

    def _bases(self, like: torch.Tensor) -> list[torch.Tensor]:
        make = cosines if self.lattice.boundary == "noflux" else fourier
        return [make(side, like.device).to(like.dtype) for side in self.lattice.shape]


@dataclass(frozen=True, eq=False)
class Walkers:
    """The particles on a slab, sorted by unit and then by number.

    Attributes:
        place: (P,) index of the phase times the sites of the lattice, plus the row-major index of the site.
        number: (P,) what tells a particle from all others, whichever rank it is on.
        sizes: how many there are in each unit.
    """

    place: torch.Tensor
    number: torch.Tensor
    sizes: list[int]

    @classmethod
    def sorted(
        cls, place: torch.Tensor, number: torch.Tensor, slab: Slab, *more: torch.Tensor
    ) -> "tuple[Walkers, list[torch.Tensor]]":
        """Particles here in order, and what else is known of each, (P, ...), in the same order."""
        unit = place % slab.lattice.sites // (slab.plane * slab.unit) - slab.own.start
        order = torch.argsort(number)
        order = order[torch.argsort(unit[order], stable=True)]
        sizes = torch.bincount(unit, minlength=len(slab.own)).tolist()
        return cls(place[order], number[order], sizes), [each[order] for each in more]

    @property
    def ends(self) -> list[tuple[int, int]]:
        """The first particle of each unit, and that of the next one."""
        return list(pairwise([0, *accumulate(self.sizes)]))

    def counts(self, slab: Slab, phases: int) -> torch.Tensor:
        """Counts n(x, c) on the slab, float32 (C, rows, ...)."""
        sites = slab.lattice.sites
        local = self.place // sites * (len(slab.rows) * slab.plane) + self.place % sites - slab.rows.start * slab.plane
        found = torch.bincount(local, minlength=phases * len(slab.rows) * slab.plane)
        return found.float().view(phases, *slab.shape)

    def handed_over(self, slab: Slab, *more: torch.Tensor) -> "tuple[Walkers, list[torch.Tensor]]":
        """The particles whose sites are here after all have moved, with what else is known of each, (P, n)."""
        if slab.ranks.count == 1:
            return Walkers.sorted(self.place, self.number, slab, *more)
        row = self.place % slab.lattice.sites // slab.plane
        ends = torch.tensor([slab._rows(each).stop for each in slab.others], device=row.device)
        goes_to = torch.searchsorted(ends, row, right=True)
        ways = [goes_to == number for number in range(slab.ranks.count)]
        place, number, *rest = (
            torch.cat(slab.ranks.exchange([each[way].flatten() for way in ways])).view(-1, *each.shape[1:])
            for each in (self.place, self.number, *more)
        )
        return Walkers.sorted(place, number, slab, *rest)
