"""Training on intensities: counts that walk, what the network should say of them, and the model it makes."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from dsdcli.data.dataset import Dataset
from dsdcli.network.config import Material, ModelConfig, fitting, preset
from dsdcli.network.intensity import IntensityNet
from dsdcli.network.model import Given, UndoNet
from dsdcli.process.counts import forward_counts, settling_dose
from dsdcli.process.lattice import Lattice
from dsdcli.process.long_waves import relative_range
from dsdcli.process.walk import ALL
from dsdcli.training.loss import Losses, Walked, losses
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.trainer import Trainer

RANGE_CROPS = 500  # that the longest waves are measured on


class WalkedCounts(Walked):
    """As `Walked`, of intensities: ``images`` are the clean counts, int64 (B, C, *L), and nothing is known."""

    @classmethod
    def draw(
        cls,
        images: torch.Tensor,
        species: int,
        dose: torch.Tensor,
        lattice: Lattice,
        generator: torch.Generator,
        known: torch.Tensor | None = None,
        kinds: torch.Tensor | None = None,
        share: slice = ALL,
        properties: torch.Tensor | None = None,
    ) -> "WalkedCounts":
        """Let the particles of the images walk on the lattice, or in the hole that it is; all others are frozen."""
        kinds = torch.full_like(dose, -1, dtype=torch.int64) if kinds is None else kinds
        images, walkable = images.long(), lattice.walkable(images.device)
        crowd = forward_counts(images, dose, lattice, generator)
        batch = (images * walkable).flatten(1).sum(1)
        bonds = lattice.open_bonds(images.device)
        walking = crowd.counts.unsqueeze(2) * bonds
        frozen = images * ~walkable
        return cls(
            images[share],
            (crowd.counts + frozen)[share],
            dose[share],
            ((len(images[share]), lattice),),
            walking[share],
            crowd.ratio[share],
            (crowd.floor * dose)[share],
            batch[share],
            batch,
            torch.zeros_like(images[share][:, 0], dtype=torch.bool),
            kinds[share],
            (images.new_empty((len(images), 0), dtype=torch.float32) if properties is None else properties)[share],
        )


def count_losses(model: UndoNet, walked: Walked) -> tuple[torch.Tensor, torch.Tensor]:
    """As `dsdcli.training.loss.image_losses`, (B,) each. The clean counts are judged by the cross entropy of a site's
    cap of places, of which so many are taken, less what the best guess leaves of it: least on average at the mean.
    """
    log_hat, logits = model(walked.counts, walked.dose, walked.domains, Given(kinds=walked.kinds))
    of_sites = (walked.walking * torch.exp(log_hat) - walked.ratio * log_hat).flatten(1).double().sum(1)
    undo = (walked.dose * of_sites + walked.floor).float()
    caps = torch.tensor([each.cap for each in model.config.species], device=logits.device)
    caps = caps.view(-1, *(1,) * model.config.ndim)
    share = walked.images / caps
    best = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))
    nats = (F.binary_cross_entropy_with_logits(logits, share, reduction="none") - best) * caps
    return undo, (nats * walked.walkable[:, None]).flatten(1).sum(1)


class IntensityTrainer(Trainer):
    """Trains on intensities."""

    network: ClassVar[type[UndoNet]] = IntensityNet
    walked: ClassVar[type[Walked]] = WalkedCounts

    def highest(self, domain: Lattice) -> float:
        """That at which the counts have settled."""
        return settling_dose(domain)

    def known(self, number: int, lattice: Lattice, rng: np.random.Generator) -> None:
        """Nothing."""

    def losses(self, model: UndoNet, walked: Walked) -> Losses:
        return losses(model, walked, count_losses)


def trainer_of(config: ModelConfig) -> type[Trainer]:
    """What trains a model."""
    return IntensityTrainer if config.species else Trainer


def make_counts_config(dataset: Dataset, settings: TrainSettings) -> ModelConfig:
    """The model of intensities that ``settings`` ask for on ``dataset``."""
    return ModelConfig(
        phases=(),
        fractions=tuple(map(float, dataset.fractions("train"))),
        boundary=settings.boundary,
        size=settings.size,
        dose_min=settings.dose_min,
        dose_max=settling_dose(Lattice(settings.size, settings.boundary)),
        integral_range=_relative_range(dataset, settings),
        architecture=fitting(preset(settings.preset, len(settings.size)), settings.size),
        voxel_size=dataset.voxel_size,
        voxel_unit=dataset.voxel_unit,
        dataset=dataset.path.name,
        dataset_digest=dataset.digest,
        classes=tuple(
            Material(name, tuple(map(float, own.fractions("train"))), _relative_range(own, settings))
            for name, own in zip(dataset.classes, dataset.materials, strict=False)
        ),
        species=dataset.species,
    )


def _relative_range(dataset: Dataset, settings: TrainSettings) -> tuple[tuple[float, ...], ...]:
    crops = dataset.crops("train", RANGE_CROPS, settings.size, np.random.default_rng(settings.seed))
    return tuple(map(tuple, relative_range(torch.from_numpy(crops.astype(np.float32)), settings.boundary).tolist()))
