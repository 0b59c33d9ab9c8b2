"""Leaps as long as an estimate of their error allows, in place of a grid of doses."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, leap, move_some
from dsdcli.sampling.rates import Rates, at_particles

LEAST_TOLERANCE = 1e-3
FIRST, SHORTEST, LONGEST = 0.1, 1e-4, 2.0  # leaps, in log-dose
SHRINK, GROW, SAFETY = 0.5, 2.0, 0.9  # from one leap to the next
QUANTUM, LARGE = 2.0**-30, 100.0  # of squared errors, which are added up as whole numbers: in any order the same


@dataclass(frozen=True)
class Adaptive:
    """The two-stage leaps of `dsdcli.sampling.trapezoidal.Trapezoidal` without balanced hops, of adapted length.

    Attributes:
        tolerance: error that a leap may make: sites, as the root mean square over the particles of an image.
        dose_end: dose at which the leaps stop and the decoding takes over.
    """

    tolerance: float = 0.05
    dose_end: float = 0.06

    name: ClassVar[str] = "adaptive"
    evaluations: ClassVar[None] = None  # known only afterwards: the errors decide

    def __post_init__(self) -> None:
        if not LEAST_TOLERANCE <= self.tolerance < math.inf:
            raise UsageError(f"`tolerance={self.tolerance:g}`: it must be a number from {LEAST_TOLERANCE:g} on")
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

        Each image has leaps of its own, so that it does not depend on the others; those that have arrived are left
        alone. A leap is never taken back, which would favour the particles that happen to move little: its error
        decides how long the next one is (method.md, section 6).
        """
        doses, spans = [dose] * len(generators), [FIRST] * len(generators)
        while any(now > self.dose_end for now in doses):
            left = [math.log(now / self.dose_end) for now in doses]
            spans = [min(span, rest) for span, rest in zip(spans, left, strict=True)]
            half = [span / 2 for span in spans]
            between = [now * math.exp(-span) for now, span in zip(doses, half, strict=True)]
            first = _drift(particles, phases, rates, lattice, doses, half)
            particles = _move(particles, first, lattice, spans, generators)
            yield particles
            second = _drift(particles, phases, rates, lattice, between, half)
            particles = _move(particles, torch.relu(2 * second - first), lattice, spans, generators)
            errors = _errors(particles, 2 * (second - first), len(doses))
            doses = [
                now * math.exp(-span) if span < rest else self.dose_end
                for now, span, rest in zip(doses, spans, left, strict=True)
            ]
            spans = [self.next_span(span, error) for span, error in zip(spans, errors, strict=True)]
            yield particles

    def next_span(self, span: float, error: float) -> float:
        """Length of the leap after one whose error was found: that grows as the square of the length."""
        factor = SAFETY * math.sqrt(self.tolerance / error) if error > 0 else GROW
        return min(max(span * min(max(factor, SHRINK), GROW), SHORTEST), LONGEST)


def _drift(
    particles: Particles,
    phases: int,
    rates: Rates,
    lattice: Lattice,
    doses: Sequence[float],
    spans: Sequence[float],
) -> torch.Tensor:
    """Mean numbers (P, 2d) of directed hops over a span of log-dose of each image's own, float64."""
    counts = particles.occupancy(lattice, len(doses), phases)
    dose, span = (torch.tensor(values, dtype=torch.float64, device=counts.device) for values in (doses, spans))
    h = at_particles(rates(counts, dose, lattice), particles, lattice).double()
    return torch.relu(h - dose[particles.image, None]) * span[particles.image, None]


def _move(
    particles: Particles,
    drift: torch.Tensor,
    lattice: Lattice,
    spans: Sequence[float],
    generators: Sequence[torch.Generator],
) -> Particles:
    """One leap of the images that have a span left; the generators of the others are not drawn from."""
    going = torch.tensor([span > 0 for span in spans], device=drift.device)
    own = [generator for generator, span in zip(generators, spans, strict=True) if span > 0]
    return move_some(particles, going, lambda some, which: leap(some, drift[which], None, lattice, own))


def _errors(particles: Particles, hops: torch.Tensor, images: int) -> list[float]:
    """Root mean square over the particles of each image of how far so many hops (P, 2d) move them, in sites."""
    squared = (hops[:, 0::2] - hops[:, 1::2]).square().sum(1).clamp_max(LARGE**2)
    whole = (squared / QUANTUM).long()
    sums = torch.zeros(images, dtype=torch.int64, device=hops.device).scatter_add_(0, particles.image, whole)
    sizes = particles.per_image(images)
    return [math.sqrt(total * QUANTUM / max(size, 1)) for total, size in zip(sums.tolist(), sizes, strict=True)]
