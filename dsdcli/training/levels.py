"""What the counts of finished samples stand for, beside training crops with the same totals."""

import math

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.network.intensity import IntensityNet
from dsdcli.network.levels import thresholds
from dsdcli.network.model import UndoNet
from dsdcli.training.couple import Draw

MOST_CROPS = 1024  # of all classes together
MOST_SITES = 2**20  # of all crops together, but for one of each class
POOL = 16  # real crops to a sample: they cost nothing beside it


def levels_of(model: UndoNet, dataset: Dataset, seed: int, draw: Draw) -> torch.Tensor | None:
    """The table of `dsdcli.network.levels` with which samples have the histogram of training crops with their totals;
    None for models of phases, or where none are drawn.

    Args:
        draw: what the model expects at the end of walks with these totals of each species, int64 (n, C), by a seed:
            counts (n, C, *L), or None to give up.
    """
    config = model.config
    if not isinstance(model, IntensityNet):
        return None
    number = max(1, min(MOST_CROPS, MOST_SITES // math.prod(config.size)) // max(1, len(config.classes)))
    pool = dataset.crops("train", POOL * number, config.size, np.random.default_rng(seed), augment=True)
    caps = np.array([each.cap for each in config.species])
    totals = pool.reshape(*pool.shape[:2], -1).sum(2, dtype=np.int64)
    ranks = np.argsort((totals / caps).sum(1), kind="stable")
    expected = draw(model, totals[ranks[POOL // 2 :: POOL]], seed)  # evenly among those of the pool
    return None if expected is None else thresholds(expected, pool, caps)
