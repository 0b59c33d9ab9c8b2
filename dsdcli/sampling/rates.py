"""Where the rates of a walk come from: one protocol, and what is wrapped around a network under a name of its own."""

from dataclasses import dataclass
from typing import Protocol

import torch

from dsdcli.network.model import Given
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles


class Rates(Protocol):
    """Anything that gives fields (B, ..., *L) for counts (B, C, *L) at doses (B,): undo counts (B, C, 2d, *L), which
    are 0 towards a wall, or probabilities of the clean image (B, K, *L)."""

    def __call__(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor: ...


class Conditional(Protocol):
    """Rates of images of which something is given, as a network's."""

    def __call__(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given) -> torch.Tensor: ...


@dataclass(frozen=True, eq=False)
class Freezing:
    """The same rates for counts that lack the frozen particles, which the network has to see.

    Attributes:
        frozen: counts (C, *L) of the particles that do not walk.
    """

    rates: Rates
    frozen: torch.Tensor

    def __call__(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        return self.rates(counts + self.frozen, dose, lattice)


def at_particles(field: torch.Tensor, particles: Particles, lattice: Lattice) -> torch.Tensor:
    """Values (P, V) of a field (B, C, V, *L) at every particle's image, phase and site."""
    values = field.shape[2]
    channel = particles.image * field.shape[1] + particles.phase
    first = channel * (values * lattice.sites) + lattice.ravel(particles.site)
    return torch.take(field, first[:, None] + lattice.sites * torch.arange(values, device=field.device))
