"""The samplers that `sampler_study.py` compares: subclasses of the library's, each with one thing changed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import one_hot

from dsdcli.network.model import NOTHING, Given, UndoNet
from dsdcli.process.dose import dose_grid
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, leap
from dsdcli.sampling.rates import Rates, at_particles
from dsdcli.sampling.trapezoidal import Trapezoidal

TRIES = 64  # of the bridge to find where a particle came from
Hops = torch.Tensor | None  # mean numbers (P, 2d)


@dataclass(frozen=True)
class FallingEta(Trapezoidal):
    """The share of balanced hops falls with the dose: eta / (1 + s)."""

    def means(self, h: torch.Tensor, dose: float, span: float) -> tuple[torch.Tensor, Hops]:
        directed, _ = super().means(h, dose, span)
        return directed, self.eta / (1 + dose) * span * h.clamp_max(dose)


@dataclass(frozen=True)
class Drift(Trapezoidal):
    """The directed hops are ``factor`` times as many."""

    factor: float = 1.0

    def means(self, h: torch.Tensor, dose: float, span: float) -> tuple[torch.Tensor, Hops]:
        directed, balanced = super().means(h, dose, span)
        return self.factor * directed, balanced


@dataclass(frozen=True)
class PoissonHops(Trapezoidal):
    """Directed hops are drawn as in the process itself, not rounded."""

    def move(
        self,
        particles: Particles,
        directed: torch.Tensor,
        balanced: Hops,
        span: float,
        lattice: Lattice,
        generators: Sequence[torch.Generator],
    ) -> Particles:
        hops = directed if balanced is None else directed + balanced
        return leap(particles, torch.zeros_like(directed), hops, lattice, generators)


@dataclass(frozen=True)
class BinomialHops(Trapezoidal):
    """A whole number of hops to undo, each of which falls into the leap or not."""

    def move(
        self,
        particles: Particles,
        directed: torch.Tensor,
        balanced: Hops,
        span: float,
        lattice: Lattice,
        generators: Sequence[torch.Generator],
    ) -> Particles:
        share = torch.tensor(1 - math.exp(-span), dtype=directed.dtype)
        whole = torch.floor(directed / share + uniform(directed, generators[0]))
        hops = torch.binomial(whole, share.expand_as(whole).contiguous(), generator=generators[0])
        return leap(particles, hops, balanced, lattice, generators)


@dataclass(frozen=True)
class Euler(Trapezoidal):
    """One stage: one evaluation a leap, at its beginning."""

    @property
    def evaluations(self) -> int:
        return self.steps + 1

    def walk(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        for now, then in pairwise(dose_grid(self.steps, dose, self.dose_end, self.rho)):
            span = math.log(now / then)
            directed, balanced = self.means(self.undo(particles, phases, rates, lattice, now, generators), now, span)
            particles = self.move(particles, directed, balanced, span, lattice, generators)
            yield particles


@dataclass(frozen=True)
class PoissonEuler(PoissonHops, Euler):
    """Both."""


@dataclass(frozen=True)
class Midpoint(Trapezoidal):
    """Half a leap looks for the rates of a whole one, which begins where the half did."""

    def walk(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        for now, then in pairwise(dose_grid(self.steps, dose, self.dose_end, self.rho)):
            span, between = math.log(now / then), math.sqrt(now * then)
            means = self.means(self.undo(particles, phases, rates, lattice, now, generators), now, span / 2)
            half = self.move(particles, *means, span / 2, lattice, generators)
            yield half
            means = self.means(self.undo(half, phases, rates, lattice, between, generators), between, span)
            particles = self.move(particles, *means, span, lattice, generators)
            yield particles


@dataclass(frozen=True)
class Bridge(Euler):
    """Guess where each particle came from, then undo the hops that fall into the step: the exact bridge.

    An origin is drawn from the kernel times the clean image, by rejection: the walk is symmetric, so that a forward
    draw from the particle proposes an origin together with the hops that lead there. Of these each falls into the step
    from s to s' with probability 1 - s'/s.

    Attributes:
        model: whose clean image is asked for, in place of the rates.
    """

    model: UndoNet | None = None

    def walk(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        g = generators[0]
        still = torch.zeros(len(particles), lattice.directions)
        for now, then in pairwise(dose_grid(self.steps, dose, self.dose_end, self.rho)):
            occupied = particles.occupancy(lattice, len(generators), phases)
            with torch.inference_mode():
                clean = self.model.clean(occupied, same(now, generators), lattice)
            there = clean[:, :, None]  # (B, K, 1, *L)
            path, searching = still.clone(), torch.ones(len(particles), 1, dtype=torch.bool)
            for _ in range(TRIES):
                hops = torch.poisson(torch.full_like(still, now), generator=g)
                origin = leap(particles, hops, still, lattice, generators)
                found = searching & (uniform(searching, g) < at_particles(there, origin, lattice))
                path, searching = torch.where(found, hops, path), searching & ~found
                if not searching.any():
                    break
            undone = torch.binomial(path, torch.full_like(path, 1 - then / now), generator=g)
            particles = leap(particles, undone, still, lattice, generators)
            yield particles


class FixedSize(UndoNet):
    """A model of two phases that says, instead of probabilities, a random image with the wanted totals: systematic
    sampling.

    The logits are shifted until the probabilities add up to the total; laid end to end in random order, those that a
    comb of unit spacing meets are taken, so that each site is taken with just its probability.
    """

    def clean(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given = NOTHING) -> torch.Tensor:
        probability = super().clean(counts, dose, lattice, given).flatten(2)  # (B, 2, sites)
        rng = np.random.default_rng(0)
        totals = counts[:, 0].flatten(1).sum(1).tolist()
        taken = [_drawn(p[0].numpy(), n, rng) for p, n in zip(probability, totals, strict=True)]
        image = ~torch.from_numpy(np.array(taken))
        return one_hot(image.long(), 2).mT.double().view(len(counts), 2, *lattice.shape)


def _drawn(probability: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Which sites are taken: bool (sites), ``total`` of them, each with about its probability."""
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    odds = logit(np.clip(probability, 1e-9, 1 - 1e-9))
    shift = brentq(lambda x: expit(odds + x).sum() - total, -50, 50) if 0 < total < len(odds) else 0.0
    order = rng.permutation(len(odds))
    reach = np.cumsum(expit(odds + shift)[order])
    taken = np.zeros(len(odds), bool)
    taken[order] = np.diff(np.floor(reach * total / reach[-1] + rng.random()), prepend=0) > 0
    return taken


def same(dose: float, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """The same dose for every image."""
    return torch.full((len(generators),), dose, dtype=torch.float64)


def uniform(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random numbers in [0, 1)."""
    return torch.rand(like.shape, generator=generator)
