"""A predictor with a corrector: the usual leaps, and once more the last of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, forward
from dsdcli.sampling.rates import Rates
from dsdcli.sampling.trapezoidal import MOST_STEPS, Trapezoidal


@dataclass(frozen=True)
class Corrector:
    """At the end the particles diffuse to a higher dose again, by the process itself, and leap down once more. With
    exact rates the second way starts from the right distribution wherever the first has led to it, and what the first
    did wrong below that dose is forgotten.

    Attributes:
        steps, eta, dose_end, grid: of the predictor, as of `Trapezoidal`; the last three of the corrector too.
        dose_up: dose that the corrector goes back to, or that of the start where it is lower.
        corrections: leaps of the corrector.
    """

    steps: int = 24
    eta: float = 0.0
    dose_end: float = 0.06
    grid: str = "power"
    dose_up: float = 0.3
    corrections: int = 7

    name: ClassVar[str] = "corrector"

    @property
    def evaluations(self) -> int:
        """Network evaluations of a sample."""
        return 2 * (self.steps + self.corrections) + 1

    def __post_init__(self) -> None:
        self._leaps(self.steps)  # which refuses what is wrong
        if not 1 <= self.corrections <= MOST_STEPS:
            raise UsageError(f"`corrections={self.corrections}`: the corrector takes 1 to {MOST_STEPS} leaps")
        if not self.dose_up > self.dose_end:
            raise UsageError(f"the corrector must go back to a dose above {self.dose_end:g}, not {self.dose_up:g}")

    def _leaps(self, steps: int) -> Trapezoidal:
        return Trapezoidal(steps, self.eta, self.dose_end, grid=self.grid)

    def walk(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        """As `dsdcli.sampling.sampler.Sampler.walk`."""
        for state in self._leaps(self.steps).walk(particles, phases, rates, lattice, dose, generators):
            particles = state
            yield particles
        up = min(self.dose_up, dose)
        further = torch.tensor([up - self.dose_end], dtype=torch.float64, device=particles.site.device)
        walked = [
            forward(particles.of(slice(i, i + 1)), further, lattice, generator)[0].site
            for i, generator in enumerate(generators)
        ]
        particles = replace(particles, site=torch.cat(walked))
        yield from self._leaps(self.corrections).walk(particles, phases, rates, lattice, up, generators)
