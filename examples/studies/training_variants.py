"""What `training_study.py` tries: one change at a time against the recipe of `dsd train`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from dsdcli.data.dataset import Dataset
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.process.dose import stratified_log_doses
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.origins import to_neighbours
from dsdcli.training.loss import Losses, Walked, image_losses, losses
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.trainer import Trainer

CHANNELS = (24, 48, 72)

Doses = Callable[[int, float, float, torch.Generator], torch.Tensor]
Weight = Callable[[Walked], torch.Tensor]  # of every image, (B,)


# --- networks -----------------------------------------------------------------------------------------------------


class Alone(UndoNet):
    """Nothing follows from the clean image: the network alone says log(h / s)."""

    def followed(
        self, clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, *_: torch.Tensor | None
    ) -> torch.Tensor:
        return clean.new_zeros(*clean.shape[:2], lattice.directions, *clean.shape[2:])


class Unbalanced(UndoNet):
    """The rates of one particle at a time, as if no other claimed its origin."""

    def followed(
        self, clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, *_: torch.Tensor | None
    ) -> torch.Tensor:
        return to_neighbours(smooth(clean.clamp_min(1e-6), dose, lattice).log())


class Undamped(UndoNet):
    """The network corrects log(h / s) by f."""

    def damping(self, dose: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(dose)


class MoreDamped(UndoNet):
    """The network corrects log(h / s) by f / (1 + 2 s); the recipe has the root of that."""

    def damping(self, dose: torch.Tensor) -> torch.Tensor:
        return 1 / (1 + 2 * dose)


class Attention(nn.Module):
    """Every site of the coarsest level looks at all others. What a site sees then depends on the size of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, 4, batch_first=True)

    def forward(self, x: torch.Tensor, condition: torch.Tensor, periodic: bool) -> torch.Tensor:
        tokens = self.norm(x).flatten(1, -2)  # (B, sites, channels)
        return x + self.attention(tokens, tokens, tokens, need_weights=False)[0].reshape(x.shape)


class AttentiveNet(UndoNet):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.net.down[-1].append(Attention(config.architecture.channels[-1]))


# --- doses and weights -----------------------------------------------------------------------------------------------


def unstratified(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Independent doses, log s uniform."""
    return low * (high / low) ** torch.rand(n, generator=generator, dtype=torch.float64)


def tilted(slope: float) -> Doses:
    """Stratified doses with the density 1 + slope (u - 1/2) of u = log s, scaled to [0, 1]: -1 is three times as dense
    at the smallest dose as at the largest."""

    def doses(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
        log = np.log(high / low)
        cdf = torch.log(stratified_log_doses(n, low, high, generator) / low) / log  # uniform
        a, b = slope / 2, 1 - slope / 2  # a u^2 + b u = cdf
        return low * torch.exp(log * ((b * b + 4 * a * cdf).sqrt() - b) / (2 * a))

    return doses


def one(walked: Walked) -> torch.Tensor:
    return torch.ones(len(walked.images))


def small_dose(walked: Walked) -> torch.Tensor:
    """The recipe's weight of the clean image."""
    return 1 / torch.sqrt(1 + walked.dose.float())


def per_particle(walked: Walked) -> torch.Tensor:
    """Turns the recipe's weight of an image, the root of its particles, into their number."""
    root = walked.particles.float().sqrt()
    return root * root.sum() / (root * root).sum()


def per_crop(walked: Walked) -> torch.Tensor:
    """Turns it into equal weights of all images."""
    root = walked.particles.clamp_min(1).float().sqrt()
    return root.mean() / root


def importance(slope: float, config: ModelConfig) -> Callable[[Walked], torch.Tensor]:
    """Takes the density of `tilted` doses out of the loss again."""
    span = np.log(config.dose_max / config.dose_min)
    return lambda walked: 1 / (1 + slope * (torch.log(walked.dose / config.dose_min) / span - 0.5)).float()


# --- what is tried ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """What differs from the recipe.

    Attributes:
        weights: of the undo and of the clean loss of every image, on top of the recipe's weight of images; by default
            `one` and `small_dose`.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)
    network: type[UndoNet] = UndoNet
    doses: Doses = stratified_log_doses
    weights: tuple[Weight, Weight] | None = None


class VariantTrainer(Trainer):
    """The library's training with a variant's network, doses and loss."""

    def __init__(self, variant: Variant, config: ModelConfig, settings: TrainSettings, dataset: Dataset) -> None:
        self.variant, self.network = variant, variant.network
        super().__init__(config, settings, dataset, torch.device("cpu"))

    def doses(self, number: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
        return self.variant.doses(number, low, high, generator)

    def losses(self, model: UndoNet, walked: Walked) -> Losses:
        return weighted(model, walked, *self.variant.weights) if self.variant.weights else losses(model, walked)


def weighted(model: UndoNet, walked: Walked, undo: Weight = one, clean: Weight = small_dose) -> Losses:
    """The library's losses with other weights of the images in their two parts."""
    divergence, entropy = image_losses(model, walked)
    root = walked.particles.clamp_min(1).float().sqrt()
    weight = 1 / (root * root.sum())
    return Losses((undo(walked) * weight * divergence).sum(), (clean(walked) * weight * entropy).sum())


def variants(config: ModelConfig) -> dict[str, Variant]:
    """All that is tried, by name."""

    def weighted_back(slope: float) -> Variant:
        w = importance(slope, config)
        return Variant(doses=tilted(slope), weights=(w, lambda walked: w(walked) * small_dose(walked)))

    def clean(weight: Weight) -> Variant:
        return Variant(weights=(one, weight))

    def count(weight: Weight) -> Variant:
        return Variant(weights=(weight, lambda walked: weight(walked) * small_dose(walked)))

    def net(**changes: Any) -> Variant:
        return Variant(architecture=changes)

    return {
        "base": Variant(),
        "rates by the network alone": Variant(network=Alone),
        "origins not balanced": Variant(network=Unbalanced),
        "correction f": Variant(network=Undamped),
        "correction f / (1 + 2s)": Variant(network=MoreDamped),
        "doses unstratified": Variant(doses=unstratified),
        "doses denser at small s": Variant(doses=tilted(-1.0)),
        "doses denser at small s (weighted back)": weighted_back(-1.0),
        "doses denser at large s": Variant(doses=tilted(1.0)),
        "doses denser at large s (weighted back)": weighted_back(1.0),
        "clean weight constant": clean(one),
        "clean weight 1 / (1 + s)": clean(lambda walked: 1 / (1 + walked.dose.float())),
        "clean weight x 0.3": clean(lambda walked: 0.3 * small_dose(walked)),
        "clean weight x 3": clean(lambda walked: 3 * small_dose(walked)),
        "images count by their particles": count(per_particle),
        "all images count the same": count(per_crop),
        "patch 1": net(patch=1),
        "patch 4": net(patch=4),
        "wider": net(channels=tuple(2 * c for c in CHANNELS)),
        "narrower": net(channels=tuple(2 * c // 3 for c in CHANNELS)),
        "one more level": net(channels=(*CHANNELS, CHANNELS[-1])),
        "1 block": net(blocks=1),
        "3 blocks": net(blocks=3),
        "kernel 5": net(kernel=5),
        "attention at the coarsest level": Variant(network=AttentiveNet),
        "EMA 0.9": Variant({"ema": 0.9}),
        "EMA 0.99": Variant({"ema": 0.99}),
        "EMA 0.9995": Variant({"ema": 0.9995}),
        "batch 8": Variant({"batch": 8}),
        "batch 16": Variant({"batch": 16}),
        "batch 64": Variant({"batch": 64}),
        "lr 5e-4": Variant({"lr": 5e-4}),
        "lr 2e-3": Variant({"lr": 2e-3}),
        "lr 4e-3": Variant({"lr": 4e-3}),
        "half of the crops in holes": Variant({"holes": 0.5}),
        "two steps in five on wide crops": Variant({"large": 0.4}),
    }
