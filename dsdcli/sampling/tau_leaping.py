"""The published tau-leaping: single hops in steps kept short by a CFL-like bound. A yardstick, since it needs thousands
of network evaluations; `dsdcli.sampling.trapezoidal` is the sampler to use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, hop
from dsdcli.sampling.rates import Rates, at_particles


@dataclass(frozen=True)
class TauLeaping:
    """Single hops, each as improbable as the bound says.

    Attributes:
        bound: largest probability that a particle hops at all in a step. The paper takes 0.01 to 0.2; half a hop
            makes fewer steps.
        dose_end: dose at which the steps stop and the decoding takes over.
    """

    bound: float = 0.5
    dose_end: float = 0.06

    name: ClassVar[str] = "cfl"
    evaluations: ClassVar[None] = None  # known only afterwards: the rates decide

    def __post_init__(self) -> None:
        if not 0 < self.bound <= 1:
            raise UsageError(f"the bound of the hop probability must lie between 0 and 1, not {self.bound}")
        if not self.dose_end > 0:
            raise UsageError(f"the final dose must be positive, not {self.dose_end}")

    def walk(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        """As `dsdcli.sampling.sampler.Sampler.walk`.

        In a step ds a particle hops in direction v with probability h_v ds / s, at most once. Each image chooses its
        own step, the longest that keeps the largest summed probability of its particles at the bound (method.md,
        section 6), so that it does not depend on the others; one that has arrived is left alone.
        """
        bonds = lattice.open_bonds(particles.site.device)
        doses = torch.full((len(generators),), dose, dtype=torch.float64, device=particles.site.device)
        while (going := doses > self.dose_end).any():
            moving = going[particles.image]
            number = going.cumsum(0) - 1  # of each image among those that are going
            walkers = Particles(number[particles.image[moving]], particles.phase[moving], particles.site[moving])
            now = doses[going]
            # Of all images, since each is told what is given of it by its place among them.
            h = rates(particles.occupancy(lattice, len(generators), phases), doses, lattice)[going]
            per_dose = at_particles(h * bonds, walkers, lattice).double() / now[walkers.image, None]  # (P, 2d)
            fastest = torch.zeros_like(now).scatter_reduce(0, walkers.image, per_dose.sum(1), "amax")
            step = torch.minimum(self.bound / fastest, now - self.dose_end)
            own = [generator for generator, going_on in zip(generators, going.tolist(), strict=True) if going_on]
            walkers = hop(walkers, per_dose * step[walkers.image, None], lattice, own)
            particles = replace(particles, site=particles.site.masked_scatter(moving[:, None], walkers.site))
            doses[going] = torch.where(step < now - self.dose_end, now - step, self.dose_end)
            yield particles
