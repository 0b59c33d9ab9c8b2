"""Guidance without a classifier (Ho and Salimans 2022), in terms of undo counts (Nisonoff et al. 2025 for rates)."""

from dataclasses import dataclass, replace

import torch

from dsdcli.network.model import Given, UndoNet, per_image, tempered
from dsdcli.process.lattice import Lattice

MOST_GUIDANCE = 100.0
LEAST = 1e-30  # probability below which one is as good as none


@dataclass(frozen=True, eq=False)
class Guided:
    """A network that is told the class or properties, beside itself where it is not: log h = log h0 + W (log h1 -
    log h0), and the same of the clean image. ``weight`` W is 1 for what is told, 0 for none of it, above 1 to
    exaggerate."""

    model: UndoNet
    weight: float

    def undo(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given) -> torch.Tensor:
        """As `UndoNet.undo`; two evaluations of the network."""
        told, other = (self.model.undo(counts, dose, lattice, g) for g in (given, untold(given)))
        open_ = (told > 0) & (other > 0)
        per_dose = per_image(dose, told)
        one, none = (torch.where(open_, h / per_dose, 1.0).log() for h in (told, other))
        guided = per_dose * torch.exp(tempered(torch.lerp(none, one, self.weight), per_dose))
        return torch.where(open_, guided, 0.0)

    def clean(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given) -> torch.Tensor:
        """As `UndoNet.clean`; two evaluations of the network."""
        told, other = (self.model.clean(counts, dose, lattice, g) for g in (given, untold(given)))
        one, none = (p.clamp_min(LEAST).log() for p in (told, other))
        return torch.lerp(none, one, self.weight).softmax(1)


def untold(given: Given) -> Given:
    """The same without class and properties."""
    return replace(given, kinds=None, properties=None, told=False)
