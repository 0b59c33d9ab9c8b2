"""What training minimises: the process likelihood in terms of undo counts, and the entropy of the clean image."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dsdcli.network.model import UndoNet
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import diffuse, place, undo_counts


def one_hot(images: torch.Tensor, carried: tuple[int, ...]) -> torch.Tensor:
    """Phase indices (B, *L) -> bool (B, C, *L), one channel for each carried phase."""
    return torch.stack([images == phase for phase in carried], dim=1)


@dataclass(frozen=True)
class Losses:
    """Both in nats per particle.

    Attributes:
        undo: Poisson divergence between the true and the predicted undo counts, sum_v [h_hat - h - h log(h_hat / h)]
            (method.md, section 5). With log s uniform over the batch its mean is the process likelihood of
            the paper (its Eq. 6) up to a constant. Never negative.
        clean: cross entropy of the clean image, with weight 1 / (1 + s), as it is needed at small doses.
    """

    undo: torch.Tensor
    clean: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        return self.undo + self.clean


def losses(
    model: UndoNet, images: torch.Tensor, dose: torch.Tensor, lattice: Lattice, generator: torch.Generator
) -> Losses:
    """Draw the forward walk of a batch and judge the network on it.

    Args:
        images: phase indices (B, *L).
        dose: (B,) float64.
        generator: draws the forward walk, on the device of the images.
    """
    start = place(one_hot(images, model.config.carried))
    now = diffuse(start, dose, lattice, generator)
    counts = now.occupancy(lattice, len(images), model.phases)  # (B, C, *L)
    ratio = undo_counts(now, start, dose, lattice) / dose[now.image, None]  # (P, 2d), h / s
    log_hat, logits = model(counts, dose, lattice)  # (B, C, 2d, *L), (B, K, *L)

    # Summed over the particles of a site, so that everything below is dense: no gather in the backward pass.
    where = (now.image * model.phases + now.phase) * lattice.sites + lattice.ravel(now.site)
    summed = torch.zeros(counts.numel(), lattice.directions, device=images.device)
    summed.index_add_(0, where, ratio.float())
    summed = summed.view(*counts.shape[:2], lattice.sites, -1).movedim(-1, 2).reshape(log_hat.shape)
    possible = counts.unsqueeze(2) * lattice.open_bonds(images.device)  # (B, C, 2d, *L)
    per_image = (possible * torch.exp(log_hat) - summed * log_hat).flatten(1).sum(1)
    floor = (torch.xlogy(ratio, ratio) - ratio).sum(1) * dose[now.image]
    particles = max(len(now), 1)
    undo = ((dose.float() * per_image).sum() + floor.sum().float()) / particles

    entropy = F.cross_entropy(logits, images.long(), reduction="none").flatten(1).sum(1)  # (B,)
    clean = (entropy / (1 + dose.float())).sum() / particles
    return Losses(undo, clean)
