"""The published tau-leaping: single hops in steps kept short by a CFL-like bound. A yardstick, since it needs thousands
of network evaluations; `dsdcli.sampling.trapezoidal` is the sampler to use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, hop
from dsdcli.sampling.trapezoidal import Fields, at_particles


@dataclass(frozen=True)
class TauLeaping:
    """How `cfl` discretises the reverse walk.

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


def cfl(
    particles: Particles,
    phases: int,
    undo: Fields,
    lattice: Lattice,
    dose_max: float,
    settings: TauLeaping,
    generators: Sequence[torch.Generator],
) -> Iterator[Particles]:
    """Walk the particles back from ``dose_max`` to ``settings.dose_end``; yields them after every network evaluation.

    In a step ds a particle hops in direction v with probability h_v ds / s, at most once. Each image chooses its own
    step, the longest that keeps the largest summed probability of its particles at the bound (method.md, section 6), so
    that it does not depend on the others; one that has arrived is left alone.

    Args:
        phases: number C of carried phases.
        generators: one per image.
    """
    bonds = lattice.open_bonds(particles.site.device)
    dose = torch.full((len(generators),), dose_max, dtype=torch.float64, device=particles.site.device)
    while (going := dose > settings.dose_end).any():
        moving = going[particles.image]
        number = going.cumsum(0) - 1  # of each image among those that are going
        walkers = Particles(number[particles.image[moving]], particles.phase[moving], particles.site[moving])
        now = dose[going]
        h = undo(walkers.occupancy(lattice, len(now), phases), now, lattice)
        rates = at_particles(h * bonds, walkers, lattice).double() / now[walkers.image, None]  # (P, 2d)
        fastest = torch.zeros_like(now).scatter_reduce(0, walkers.image, rates.sum(1), "amax")
        step = torch.minimum(settings.bound / fastest, now - settings.dose_end)
        own = [generator for generator, going_on in zip(generators, going.tolist(), strict=True) if going_on]
        walkers = hop(walkers, rates * step[walkers.image, None], lattice, own)
        particles = replace(particles, site=particles.site.masked_scatter(moving[:, None], walkers.site))
        dose[going] = torch.where(step < now - settings.dose_end, now - step, settings.dose_end)
        yield particles
