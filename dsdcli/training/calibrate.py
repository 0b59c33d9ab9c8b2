"""Round trips of training images: how far the network's guess can be trusted, wave by wave, and how fast waves grow."""

import math
from collections.abc import Callable

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.network.calibration import (
    LEAST_GAIN,
    LEAST_OWED,
    Waves,
    band_power,
    doses,
    gained,
    growth,
    lacking,
    measure,
    owed,
    solve,
)
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.process.counts import forward_counts
from dsdcli.process.image import one_hot, place
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import diffuse

WIDER = 2  # times as wide as the crops of the training, for longer waves, where the images are
MOST_CROPS = 64
MOST_COUNTS = 128  # crops of intensities, of which the growth alone is measured
MOST_SITES = 2**22  # of all crops together, but for 8 of them
BLOCK_SITES = 2**17  # that walk together
TURNS = 2  # in which the growth is measured, each time with what was found so far


@torch.no_grad()
def calibration(
    model: UndoNet, dataset: Dataset, seed: int, stop: Callable[[], bool] = lambda: False
) -> torch.Tensor | None:
    """The table of `dsdcli.network.calibration` for a network: float32 (doses, bands, C, 4); None where it lacks little
    that the counts alone say, or if told to stop meanwhile.

    Crops of the training images walk to every dose, the network guesses them, and least squares over all of them say
    what to make of its guess and of the counts. With half of the crops the growth of waves at the rates that follow is
    measured then. Of intensities the guess stays, and the growth alone is measured.

    Args:
        model: one without a calibration, of one material or class.
        dataset: that it was trained on, of that.
        seed: of crops and walks.
        stop: asked before every dose.
    """
    config = model.config
    device, phases = next(model.parameters()).device, not config.species
    wide = tuple(WIDER * side for side in config.size)
    size = wide if dataset.holds("train", wide) else config.size
    number = min(MOST_CROPS if phases else MOST_COUNTS, max(8, MOST_SITES // math.prod(size)))
    crops = dataset.crops("train", number, size, np.random.default_rng(seed), augment=True)
    lattice = Lattice(size, config.boundary)
    generator = torch.Generator(device).manual_seed(seed)
    blocks = torch.from_numpy(crops).to(device).split(max(1, BLOCK_SITES // lattice.sites))
    power = torch.stack([band_power(particles(b, config).double(), lattice, phases) for b in blocks]).mean(0)
    values = doses(config.dose_max).tolist()
    table = torch.zeros(len(values), *power.shape, 4, dtype=torch.float64, device=device)
    table[..., 0], table[..., 2] = 1, power
    if phases:
        rows = []
        for value in values:
            if stop():
                return None
            total = torch.zeros((), device=device)
            for block in blocks:
                counts, dose = walked(block, value, config, lattice, generator)
                waves = Waves.of(model.clean(counts, dose, lattice), counts, dose, power, lattice)
                total = total + measure(particles(block, config).double(), waves, lattice)
            rows.append(total)
        if max(map(gained, rows)) < LEAST_GAIN:
            return None
        table[..., :2] = torch.stack([solve(row) for row in rows])
    try:
        for turn in range(TURNS):
            model.calibration, lacks = table.float(), []
            for value in values:
                if stop():
                    return None
                parts = []
                for block in blocks[: -(-len(blocks) // 2)]:
                    counts, dose = walked(block, value, config, lattice, generator)
                    parts.append(growth(counts, model.undo(counts, dose, lattice), value, power, lattice, phases))
                lacks.append(lacking(torch.stack(parts), value, power))
            if not (phases or turn) and owed(torch.stack(lacks), config.dose_max) < LEAST_OWED:
                return None
            table[..., 3] += torch.stack(lacks)
    finally:
        model.calibration = None
    return table.float().cpu()


def particles(images: torch.Tensor, config: ModelConfig) -> torch.Tensor:
    """Of phase indices (B, *L), or of counts (B, C, *L): how many of each phase or species are where, (B, C, *L)."""
    return images.long() if config.species else one_hot(images, len(config.phases))


def walked(
    images: torch.Tensor, value: float, config: ModelConfig, lattice: Lattice, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts (B, C, *L) of images after a dose, and that of each, (B,)."""
    dose = torch.full((len(images),), value, dtype=torch.float64, device=images.device)
    clean = particles(images, config)
    if config.species:
        return forward_counts(clean, dose, lattice, generator).counts, dose
    return diffuse(place(clean), dose, lattice, generator).occupancy(lattice, *clean.shape[:2]), dose
