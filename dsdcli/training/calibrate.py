"""Round trips of training images: how far the network's guess can be trusted, wave by wave, and how fast waves grow."""

import math
from collections.abc import Callable

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.network.calibration import (
    LEAST_GAIN,
    Waves,
    band_power,
    doses,
    gained,
    growth,
    lacking,
    measure,
    solve,
)
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.process.image import one_hot, place
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import diffuse

WIDER = 2  # times as wide as the crops of the training, for longer waves, where the images are
MOST_CROPS = 64
MOST_SITES = 2**22  # of all crops together, but for 8 of them
BLOCK_SITES = 2**17  # that walk together
TURNS = 2  # in which the growth is measured, each time with what was found so far


@torch.no_grad()
def calibration(
    model: UndoNet, dataset: Dataset, seed: int, stop: Callable[[], bool] = lambda: False
) -> torch.Tensor | None:
    """The table of `dsdcli.network.calibration` for a network: float32 (doses, bands, C, 4); None where it lacks little
    that the counts alone say, has classes (one table does not suit several materials), is of intensities, or if told to
    stop meanwhile.

    Crops of the training images walk to every dose, the network guesses them, and least squares over all of them say
    what to make of its guess and of the counts. With half of the crops the growth of waves at the rates that follow is
    measured then.

    Args:
        model: one that carries every phase, without a calibration.
        dataset: that it was trained on.
        seed: of crops and walks.
        stop: asked before every dose.
    """
    config = model.config
    if config.classes or config.species:
        return None
    device = next(model.parameters()).device
    wide = tuple(WIDER * side for side in config.size)
    size = wide if dataset.holds("train", wide) else config.size
    number = min(MOST_CROPS, max(8, MOST_SITES // math.prod(size)))
    crops = dataset.crops("train", number, size, np.random.default_rng(seed), augment=True)
    lattice = Lattice(size, config.boundary)
    generator = torch.Generator(device).manual_seed(seed)
    block = max(1, BLOCK_SITES // lattice.sites)
    blocks = torch.from_numpy(crops).to(device).split(block)
    phases = len(config.phases)
    power = torch.stack([band_power(one_hot(images, phases).double(), lattice) for images in blocks]).mean(0)
    values = doses(config.dose_max).tolist()
    rows = []
    for value in values:
        if stop():
            return None
        total = torch.zeros((), device=device)
        for images in blocks:
            counts, dose = _walked(images, value, config, lattice, generator)
            waves = Waves.of(model.clean(counts, dose, lattice), counts, dose, power, lattice)
            total = total + measure(one_hot(images, phases).double(), waves, lattice)
        rows.append(total)
    if max(map(gained, rows)) < LEAST_GAIN:
        return None
    shares = torch.stack([solve(row) for row in rows])
    table = torch.cat([shares, power.expand(len(rows), *power.shape)[..., None], torch.zeros_like(shares[..., :1])], -1)
    try:
        for _ in range(TURNS):
            model.calibration = table.float()
            for row, value in enumerate(values):
                if stop():
                    return None
                total = torch.zeros((), device=device)
                for images in blocks[: -(-len(blocks) // 2)]:
                    counts, dose = _walked(images, value, config, lattice, generator)
                    total = total + growth(counts, model.undo(counts, dose, lattice), value, power, lattice)
                table[row, ..., 3] += lacking(total, value, power)
    finally:
        model.calibration = None
    return table.float().cpu()


def _walked(
    images: torch.Tensor, value: float, config: ModelConfig, lattice: Lattice, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts (B, C, *L) of images (B, *L) after a dose, and that of each, (B,)."""
    dose = torch.full((len(images),), value, dtype=torch.float64, device=images.device)
    clean = one_hot(images, len(config.phases))
    return diffuse(place(clean), dose, lattice, generator).occupancy(lattice, *clean.shape[:2]), dose
