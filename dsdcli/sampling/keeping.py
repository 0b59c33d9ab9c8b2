"""What is kept of a walk that is under way, so that a long one goes on from there when it was cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles
from dsdcli.sampling.rates import Rates
from dsdcli.sampling.trapezoidal import Trapezoidal


@dataclass(frozen=True, eq=False)
class Kept:
    """The state of some samples between two leaps, or between two sweeps.

    Attributes:
        samples: their numbers in the job.
        done: leaps or sweeps that are behind them.
        tensors: what the walk goes on with.
    """

    samples: range
    done: int
    tensors: dict[str, torch.Tensor]


class Keeper(Protocol):
    """Where the state of one walk is kept, the newest only."""

    def find(self, samples: range) -> Kept | None:
        """The state of these samples; None where there is none."""
        ...

    def due(self) -> bool:
        """Whether it is time to keep another one."""
        ...

    def keep(self, state: Kept) -> None: ...


def go_on(
    keeper: Keeper,
    samples: range,
    sampler: Trapezoidal,
    start: Particles,
    phases: int,
    rates: Rates,
    lattice: Lattice,
    dose: float,
    generators: Sequence[torch.Generator],
) -> Iterator[Particles]:
    """As `Trapezoidal.walk`, from the leap on after which the walk of these samples was kept, and as if it had never
    been cut: evaluations of the network that need not be made again are yielded as well.

    What is kept of each particle is where it is, and of each image how its generator stands: images and phases are
    those of ``start``, in the same order.
    """
    kept, done, particles = keeper.find(samples), 0, start
    if kept is not None:
        done, flat = kept.done, kept.tensors["site"].to(start.site.device, torch.int64)
        particles = replace(start, site=lattice.unravel(flat))
        for generator, state in zip(generators, kept.tensors["generators"], strict=True):
            generator.set_state(state)
        for _ in range(2 * done):
            yield particles
    small = torch.int32 if lattice.sites < 2**31 else torch.int64
    states = sampler.walk(particles, phases, rates, lattice, dose, generators, done)
    for number, particles in enumerate(states, 2 * done + 1):
        if number % 2 == 0 and keeper.due():
            stands = torch.stack([generator.get_state() for generator in generators])
            site = lattice.ravel(particles.site).to("cpu", small)
            keeper.keep(Kept(samples, number // 2, {"site": site, "generators": stands}))
        yield particles
