"""The sampler to use: particles leap down a grid of doses at the rates a network (or an oracle) gives."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch

from dsdcli.errors import UsageError
from dsdcli.process.dose import GRIDS, dose_grid
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, leap
from dsdcli.sampling.rates import Rates, at_particles

LEAPS = {2: 13}  # in images these are as good as the usual number (docs/studies/speed.md)
MOST_STEPS = 10**5
MOST_ETA = 100.0  # beyond the full process, hops only take longer


@dataclass(frozen=True)
class Trapezoidal:
    """Long leaps, corrected half-way.

    Attributes:
        steps: leaps, of two network evaluations each; the decoding adds one more.
        eta: share of the balanced back-and-forth hops that is kept: 1 is the paper's process, 0 the net flux only.
        dose_end: dose at which the leaps stop and the decoding takes over.
        rho: the dose grid is linear in s^(1/rho).
        grid: "power", which has ``rho``, or another of `dsdcli.process.dose.dose_grid`.
    """

    steps: int = 31
    eta: float = 0.0
    dose_end: float = 0.06
    rho: float = 7.0
    grid: str = "power"

    name: ClassVar[str] = "trapezoidal"

    @classmethod
    def usual(cls, ndim: int) -> "Trapezoidal":
        """The sampler of segmented images of that dimension where none is asked for."""
        return cls(LEAPS.get(ndim, cls.steps))

    @property
    def evaluations(self) -> int:
        """Network evaluations of a sample."""
        return 2 * self.steps + 1

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise UsageError(f"`steps={self.steps}`: the sampler takes 1 to {MOST_STEPS}")
        if not 0 <= self.eta <= MOST_ETA:
            raise UsageError(f"`eta={self.eta:g}`: it must lie between 0 and {MOST_ETA:g}; 1 is the full process")
        if not self.dose_end > 0:
            raise UsageError(f"the final dose must be positive, not {self.dose_end}")
        if self.grid not in GRIDS:
            raise UsageError(f"`grid={self.grid}`: use one of {', '.join(GRIDS)}")

    def walk(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
        done: int = 0,
    ) -> Iterator[Particles]:
        """As `dsdcli.sampling.sampler.Sampler.walk`; ``done`` leaps are behind the particles already.

        With undo counts h frozen between two doses, the mean number of hops is h log(s / s') per direction, since h is
        nearly constant in log s (method.md, section 6). The net flux relu(h - s) directs them; eta keeps a share of the
        balanced rest min(h, s), which is in detailed balance, so that every eta has the same marginals when h is exact.

        A leap has two stages, half of its log-dose each. The second is driven by twice the flux found there less that
        of the first: the theta-trapezoidal rule with theta = 1/2, which makes up for the structure having moved
        meanwhile.
        """
        for now, then in pairwise(self.doses(dose)[done:]):
            for state in self.step(particles, phases, rates, lattice, now, then, generators):
                particles = state
                yield particles

    def doses(self, dose: float) -> list[float]:
        """The grid from ``dose`` to `dose_end`."""
        return dose_grid(self.steps, dose, self.dose_end, self.rho, self.grid)

    def step(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        now: float,
        then: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        """One leap from a dose to the next: the particles after each of its two stages."""
        half, between = math.log(now / then) / 2, math.sqrt(now * then)
        first, shuffle = self.means(self.undo(particles, phases, rates, lattice, now, generators), now, half)
        particles = self.move(particles, first, shuffle, half, lattice, generators)
        yield particles
        second, shuffle = self.means(self.undo(particles, phases, rates, lattice, between, generators), between, half)
        yield self.move(particles, torch.relu(2 * second - first), shuffle, half, lattice, generators)

    def undo(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
    ) -> torch.Tensor:
        """Undo counts h (P, 2d) of every particle, all images at the same dose."""
        counts = particles.occupancy(lattice, len(generators), phases)
        doses = torch.full((len(generators),), dose, dtype=torch.float64, device=counts.device)
        return at_particles(rates(counts, doses, lattice), particles, lattice)

    def means(self, h: torch.Tensor, dose: float, span: float) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean numbers of directed and balanced hops over a span of log-dose, (P, 2d) each; None for no such hops."""
        return torch.relu(h - dose) * span, self.eta * span * h.clamp_max(dose) if self.eta else None

    def move(
        self,
        particles: Particles,
        directed: torch.Tensor,
        balanced: torch.Tensor | None,
        span: float,
        lattice: Lattice,
        generators: Sequence[torch.Generator],
    ) -> Particles:
        """One leap, over a span of log-dose, with these mean numbers of hops."""
        return leap(particles, directed, balanced, lattice, generators)
