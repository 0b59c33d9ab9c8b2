"""Round trips of cut images: what the network's guess lacks beside voxels that are known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.network import neighbours
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import Given, UndoNet
from dsdcli.process.hole import Hole
from dsdcli.process.image import beside, one_hot, place
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import forward
from dsdcli.training.calibrate import walked
from dsdcli.training.holes import random_blobs, random_boxes
from dsdcli.training.known import random_known

MOST_CROPS = 256
MOST_SITES = 2**20  # of all crops together, but for one in each hole
HOLES = 16


@dataclass(frozen=True, eq=False)
class CutCrops:
    """Crops, of which some voxels are known in either way.

    Attributes:
        groups: crops (B, *L), the hole that they share, and the voxels of each that the network is told otherwise.
    """

    config: ModelConfig
    groups: list[tuple[torch.Tensor, Hole, torch.Tensor]]
    generator: torch.Generator

    @classmethod
    def draw(
        cls,
        config: ModelConfig,
        dataset: Dataset,
        split: str,
        number: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> "CutCrops":
        """Holes of both kinds, and points, lines, planes and sides, as in the training."""
        lattice, rng = Lattice(config.size, config.boundary), np.random.default_rng(seed)
        crops = torch.from_numpy(dataset.crops(split, number, config.size, rng, augment=True)).to(device)
        groups = []
        for turn, images in enumerate(crops.tensor_split(min(HOLES, number))):
            told = torch.from_numpy(np.stack([random_known(lattice.shape, rng) for _ in images])).to(device)
            groups.append((images, (random_blobs if turn % 2 else random_boxes)(lattice, rng), told))
        return cls(config, groups, torch.Generator(device).manual_seed(seed))

    @torch.no_grad()
    def beside(self, model: UndoNet, value: float) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Let the crops walk to a dose; what the network makes of the sites beside what is known there, group by group.

        Yields:
            0 where they are in holes, 1 where the network is told voxels; logits (N, K), known neighbours of each phase
            (N, K), and true phases (N,).
        """
        config, lattice = self.config, Lattice(self.config.size, self.config.boundary)
        for images, hole, known in self.groups:
            clean, walkable = one_hot(images, len(config.phases)), hole.walkable(images.device)
            counts, dose = walked(images, value, config, lattice, self.generator)
            frozen, told = clean & ~walkable, clean & known[:, None]
            within, _ = forward(place(clean & walkable), dose, hole, self.generator)
            cut = within.occupancy(hole, *clean.shape[:2]) + frozen
            ways = ((hole, cut, frozen, None), (lattice, counts, told, told))
            for kind, (domain, seen, sure, given) in enumerate(ways):
                logits = model(seen, dose, [(len(images), domain)], Given(given)).logits
                near = beside(sure, config.boundary == "periodic")
                where = (near.sum(1) > 0) & ~sure.any(1)
                yield kind, logits.movedim(1, -1)[where], near.movedim(1, -1)[where], images[where].long()


def beside_known(
    model: UndoNet, dataset: Dataset, seed: int, stop: Callable[[], bool] = lambda: False
) -> torch.Tensor | None:
    """The table of `dsdcli.network.neighbours` for a network: float32 (2, doses, K, K); None for intensities, or if
    told to stop meanwhile.

    Args:
        model: one without such a table.
        dataset: that it was trained on.
        seed: of crops, holes and walks.
        stop: asked before every dose.
    """
    config = model.config
    if config.species:
        return None
    number = min(MOST_CROPS, max(HOLES, MOST_SITES // Lattice(config.size).sites))
    crops = CutCrops.draw(config, dataset, "train", number, seed, next(model.parameters()).device)
    table = []
    for value in neighbours.doses(config.dose_max).tolist():
        if stop():
            return None
        rows: tuple[list[tuple[torch.Tensor, ...]], ...] = ([], [])
        for kind, *row in crops.beside(model, value):
            rows[kind].append(tuple(row))
        table.append(torch.stack([neighbours.weigh(*map(torch.cat, zip(*each, strict=True))) for each in rows]))
    return torch.stack(table, 1).float().cpu()
