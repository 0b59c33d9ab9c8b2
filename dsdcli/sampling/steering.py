"""Steering without training: several walkers a sample, of which those that promise what is wanted take the place of
others on the way (Feynman-Kac weights; Singhal et al. 2025, arXiv 2501.06848), whatever is measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from dsdcli.errors import UsageError
from dsdcli.process.image import Decoded
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, follow
from dsdcli.sampling.rates import Rates
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.trapezoidal import Trapezoidal

MOST_WALKERS = 1024
LOOKS = (20.0, 5.0, 1.2)  # doses below which the walkers are looked at; before, next to nothing of an image is foreseen
AHEAD = 2  # leaps that foresee it: a guess at once is too smooth, and its interface too small
CROWDED = 0.5  # of the walkers: resampled when they are worth fewer
NEVER = -1e9  # log weight of an image without the wanted number

Finish = Callable[[Particles], list[Decoded]]


@dataclass(frozen=True, eq=False)
class Steering:
    """What is wanted.

    Attributes:
        walkers: of each sample.
        potential: log of the weight of an image, phase indices (*L); NaN for one without the wanted number.
    """

    walkers: int
    potential: Callable[[np.ndarray], float]

    def __post_init__(self) -> None:
        if not 1 <= self.walkers <= MOST_WALKERS:
            raise UsageError(f"`walkers={self.walkers}`: it must lie between 1 and {MOST_WALKERS}")

    def looks(self, doses: Sequence[float]) -> set[int]:
        """Leaps of a dose grid after which the walkers are looked at; one walker never is."""
        if self.walkers == 1:
            return set()
        passed = {next((i for i, dose in enumerate(doses) if dose <= look), 0) for look in LOOKS}
        return passed - {0, len(doses) - 1}

    def evaluations(self, doses: Sequence[float]) -> int:
        """Network evaluations of a walker beyond those of its walk and decoding."""
        return len(self.looks(doses)) * (2 * AHEAD + 1)


def steerable(sampler: Sampler) -> Trapezoidal:
    """The sampler, if its walkers fall from dose to dose together.

    Raises:
        UsageError: they do not.
    """
    if not isinstance(sampler, Trapezoidal):
        raise UsageError(f"`steer` needs the sampler '{Trapezoidal.name}'; leave out `sampler={sampler.name!r}`")
    return sampler


class Flock:
    """The walkers of a batch of samples, one sample after another, and their weights."""

    def __init__(self, steering: Steering, seeds: Sequence[int]) -> None:
        """``seeds``: of the choices among the walkers of each sample."""
        self.steering = steering
        self.rngs = [np.random.default_rng(seed) for seed in seeds]
        self.weight = np.zeros((len(seeds), steering.walkers))  # logs, since the last resampling
        self.last = np.zeros_like(self.weight)

    def walk(
        self,
        sampler: Trapezoidal,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
        finish: Finish,
    ) -> Iterator[Particles]:
        """As `dsdcli.sampling.sampler.Sampler.walk`, with ``finish`` that decodes particles at the last dose."""
        doses = sampler.doses(dose)
        looks = self.steering.looks(doses)
        hasty = replace(sampler, steps=AHEAD)
        for number, (now, then) in enumerate(pairwise(doses), 1):
            for state in sampler.step(particles, phases, rates, lattice, now, then, generators):
                particles = state
                yield particles
            if number in looks:
                ahead = particles
                for state in hasty.walk(particles, phases, rates, lattice, then, generators):
                    ahead = state
                    yield particles
                self.judge(finish(ahead), then)
                particles = follow(particles, torch.from_numpy(self.parents()).to(particles.image.device))
                yield particles

    def judge(self, images: Sequence[Decoded], dose: float = 0.0) -> None:
        """Multiply the weights by what the images promise, over what they promised before. What is foreseen at a dose s
        counts as sqrt(1 + s) times as uncertain as the tolerance."""
        found = np.array([self.steering.potential(decoded.image) for decoded in images], np.float64) / (1 + dose)
        promise = np.where(np.isnan(found), NEVER, np.maximum(found, NEVER)).reshape(self.weight.shape)
        self.weight += promise - self.last
        self.last = promise

    def parents(self) -> np.ndarray:
        """The walker that each walker goes on from, int64 (samples x walkers,): itself, or, where the weights of a
        sample are too unequal, one drawn by weight (systematic resampling)."""
        number = self.steering.walkers
        rows = np.tile(np.arange(number), (len(self.weight), 1))
        for sample, shares in enumerate(self.shares()):
            if 1 / (shares**2).sum() < CROWDED * number:
                at = (np.arange(number) + self.rngs[sample].random()) / number
                rows[sample] = np.minimum(np.searchsorted(shares.cumsum(), at, side="right"), number - 1)
                self.last[sample] = self.last[sample, rows[sample]]
                self.weight[sample] = 0
        return (rows + number * np.arange(len(rows))[:, None]).ravel()

    def choose(self, images: Sequence[Decoded]) -> list[Decoded]:
        """One image of each sample, by weight."""
        self.judge(images)
        number = self.steering.walkers
        drawn = [int(rng.choice(number, p=share)) for rng, share in zip(self.rngs, self.shares(), strict=True)]
        return [images[sample * number + walker] for sample, walker in enumerate(drawn)]

    def shares(self) -> np.ndarray:
        """The weights of each sample as shares of 1."""
        weights = np.exp(self.weight - self.weight.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)
