"""The network of intensities: a guess of the mean clean counts, and the undo counts that follow from it."""

from collections.abc import Sequence

import torch
from torch import nn

from dsdcli.network.conditions import dose_features, names
from dsdcli.network.config import ModelConfig
from dsdcli.network.local import LocalNet
from dsdcli.network.model import (
    NOTHING,
    Given,
    Prediction,
    UndoNet,
    joined,
    per_image,
    tempered,
    where_walkable,
)
from dsdcli.network.padding import pad
from dsdcli.process.lattice import Lattice

SMALLEST = 0.05  # count that the guess begins from at least, and the cap less it at most


class IntensityNet(UndoNet):
    """Predicts the mean count of every species at every site of the clean image, and undo counts that follow from it as
    those of phases do (method.md, section 15).

    A guess is a share of the cap. It begins from the counts themselves where the dose is small, since few particles
    have hopped, and from their mean where it is large: the network says how far it is from there, in logits. It sees
    the counts twice: beside their mean in units of their noise (Anscombe 1948), and as shares of the cap, so that one
    particle on a site and a million are both of order 1.
    """

    caps: torch.Tensor

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.phases = len(config.species)
        caps = torch.tensor([float(each.cap) for each in config.species])
        self.register_buffer("caps", caps.view(-1, *(1,) * config.ndim), persistent=False)
        self.without_tables()
        self.near = None
        outputs = self.phases * (2 * config.ndim + 1)
        self.conditions = names(2 * self.phases, [each.name for each in config.classes], ())
        self.net = LocalNet(config.ndim, 2 * self.phases + 1, outputs, len(self.conditions), config.architecture)

    def forward(
        self,
        counts: torch.Tensor,
        dose: torch.Tensor,
        domains: Sequence[tuple[int, Lattice]],
        given: Given = NOTHING,
    ) -> Prediction:
        """As `UndoNet.forward`; ``logits`` are those of the clean counts as shares of the cap, (B, C, *L)."""
        sites = (..., *(None,) * self.config.ndim)
        inside = where_walkable(domains, counts.device)[:, None].float()  # (B, 1, *L)
        counts = counts.float()
        mean = (counts * inside).flatten(2).sum(2) / inside.flatten(2).sum(2)  # (B, C)
        noise = torch.sqrt(counts + 0.375) - torch.sqrt(mean + 0.375)[sites]
        field = torch.cat([torch.asinh(2 * noise), (counts - mean[sites]) / self.caps, 2 * inside - 1], dim=1)
        caps = self.caps.flatten()
        condition = [dose_features(dose), mean / caps, torch.log(mean + SMALLEST) / 4]
        if self.config.classes:
            condition.append(self.classes(mean, given))
        padded, crop, ring = pad(field, self.config.architecture.multiple, domains[0][1].boundary == "periodic")
        out = self.net(padded, torch.cat(condition, dim=1), ring)[(..., *crop)].float()
        rates, logits = out.split([out.shape[1] - self.phases, self.phases], dim=1)
        rates = rates.unflatten(1, (self.phases, 2 * self.config.ndim))
        with torch.autocast(counts.device.type, enabled=False):
            stayed = torch.exp(-2 * self.config.ndim * per_image(dose, counts))
            begin = (torch.lerp(mean[sites].expand_as(counts), counts, stayed) / self.caps).float()
            least = SMALLEST / self.caps
            logits = logits + torch.logit(torch.minimum(torch.maximum(begin, least), 1 - least))
            clean = self.caps * torch.sigmoid(logits)
            sizes = [number for number, _ in domains]
            parts = zip(clean.split(sizes), counts.split(sizes), dose.split(sizes), domains, strict=True)
            table = self.calibration
            followed = joined([self.followed(e, n, s, lattice, None, table) for e, n, s, (_, lattice) in parts])
        dose = per_image(dose, rates)
        return Prediction(tempered(followed + rates * self.damping(dose), dose), logits)

    def clean(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given = NOTHING) -> torch.Tensor:
        """Mean clean counts of every species at every site, float64 (B, C, *L)."""
        return (self.caps * torch.sigmoid(self._on(counts, dose, lattice, given).logits)).double()


def network_of(config: ModelConfig) -> type[UndoNet]:
    """The kind of network that a config describes."""
    return IntensityNet if config.species else UndoNet
