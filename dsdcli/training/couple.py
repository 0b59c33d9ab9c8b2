"""What samples of a model have too many or too few contacts of, beside training crops with the same counts."""

import math
from collections.abc import Callable

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.network.model import UndoNet

MOST_CROPS = 512
MOST_SITES = 2**19  # of all crops together, but for one
ROUNDS = 5
SLOWEST = 0.2  # e-foldings of contacts that a log-odds of 1 makes of a pair, by what noise says of it
LONGEST = 0.15  # step of a round, in log-odds
DOUBT = 2.0  # standard errors within which contacts are left as they are
CLOSE = 1.0  # within which they are right
FEW = 10  # contacts that are added to all, so that rare pairs do not decide

Draw = Callable[[UndoNet, np.ndarray, int], np.ndarray | None]


def coupled(model: UndoNet, dataset: Dataset, seed: int, draw: Draw) -> torch.Tensor | None:
    """The table of `dsdcli.network.coupling` with which samples have the contacts of training crops of the same counts;
    None where they have them without, for models of volumes and of several materials, or where none are drawn.

    It is found in a few rounds of samples, by Broyden's method, from the guess that one e-folding of contacts takes
    log-odds of 1. The model is left as it was.

    Args:
        draw: samples of the model with these voxels of each phase, int64 (n, K), by a seed: phase indices (n, *L), or
            None to give up.
    """
    config, before = model.config, model.coupling
    if config.ndim != 2 or config.classes or config.species:
        return None
    number = max(1, min(MOST_CROPS, MOST_SITES // math.prod(config.size)))
    crops = dataset.crops("train", number, config.size, np.random.default_rng(seed), augment=True)
    totals = np.stack([np.bincount(crop.ravel(), minlength=model.phases) for crop in crops])
    real = contacts(crops, model.phases, config.boundary == "periodic")
    weights, response = np.zeros(real.shape[1]), np.eye(real.shape[1])
    tried: list[tuple[float, np.ndarray, np.ndarray]] = []  # standard errors at the most, weights, excess
    try:
        for _ in range(ROUNDS):
            model.coupling = table_of(weights, model) if weights.any() else None
            images = draw(model, totals, seed)
            if images is None:
                return None
            made = contacts(images, model.phases, config.boundary == "periodic")
            excess = np.log((made.sum(0) + FEW) / (real.sum(0) + FEW))
            error = (math.sqrt(number) * (made - real).std(0) + FEW) / (real.sum(0) + FEW)
            if tried:
                step, change = weights - tried[-1][1], excess - tried[-1][2]
                response += np.outer(change - response @ step, step) / max(step @ step, 1e-12)
                np.fill_diagonal(response, response.diagonal().clip(SLOWEST))
            tried.append((float((np.abs(excess) / error).max()), weights, excess))
            if tried[-1][0] <= (DOUBT if len(tried) == 1 else CLOSE):
                break
            weights = weights + np.linalg.lstsq(response, -excess)[0].clip(-LONGEST, LONGEST)
    finally:
        model.coupling = before
    best = min(tried, key=lambda each: each[0])[1]
    return table_of(best, model) if best.any() else None


def table_of(weights: np.ndarray, model: UndoNet) -> torch.Tensor:
    """The symmetric table (K, K) of the weights of the pairs, in the order of `contacts`."""
    table = torch.zeros(model.phases, model.phases)
    one, other = np.triu_indices(model.phases, 1)
    table[one, other] = table[other, one] = torch.from_numpy(weights).float()
    return table.to(next(model.parameters()).device)


def contacts(images: np.ndarray, phases: int, periodic: bool) -> np.ndarray:
    """How often voxels of every pair of unlike phases lie side by side in each image (n, *L): float64 (n, pairs)."""
    found = np.zeros((len(images), phases, phases))
    for axis in range(1, images.ndim):
        here = np.moveaxis(images, axis, 1).astype(np.int64)
        there = np.roll(here, -1, 1)
        if not periodic:
            here, there = here[:, :-1], there[:, :-1]
        pairs = (here * phases + there).reshape(len(images), -1)
        found += [np.bincount(line, minlength=phases**2).reshape(phases, phases) for line in pairs]
    one, other = np.triu_indices(phases, 1)
    return found[:, one, other] + found[:, other, one]
