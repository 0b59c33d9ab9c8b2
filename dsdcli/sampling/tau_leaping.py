"""The published tau-leaping: single hops in steps kept short by a CFL-like bound. A yardstick, since it needs thousands
of network evaluations; `dsdcli.sampling.trapezoidal` is the sampler to use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, hop, move_some
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
            h = rates(particles.occupancy(lattice, len(generators), phases), doses, lattice)
            per_dose = at_particles(h * bonds, particles, lattice).double() / doses[particles.image, None]  # (P, 2d)
            fastest = torch.zeros_like(doses).scatter_reduce(0, particles.image, per_dose.sum(1), "amax")
            step = torch.minimum(self.bound / fastest, doses - self.dose_end)
            probability = per_dose * step[particles.image, None]
            own = [generator for generator, going_on in zip(generators, going.tolist(), strict=True) if going_on]
            particles = move_some(particles, going, partial(_hop, probability, lattice, own))
            doses = torch.where(step < doses - self.dose_end, doses - step, self.dose_end)
            yield particles


def _hop(
    probability: torch.Tensor,
    lattice: Lattice,
    generators: Sequence[torch.Generator],
    some: Particles,
    which: torch.Tensor,
) -> Particles:
    return hop(some, probability[which], lattice, generators)
