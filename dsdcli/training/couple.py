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
CLOSE = 0.5  # within which they are what they should come to
LOOKS = 2  # times that as many crops must show it: of several pairs one is beyond two errors by chance too often
FEW = 10  # contacts that are added to all, so that rare pairs do not decide

Draw = Callable[[UndoNet, np.ndarray, int], np.ndarray | None]


def coupled(model: UndoNet, dataset: Dataset, seed: int, draw: Draw) -> torch.Tensor | None:
    """The table of `dsdcli.network.coupling` with which samples have the contacts of training crops of the same counts;
    None where they have them without, for models of volumes and of several materials, or where none are drawn.

    What some crops show others must confirm, and of an excess x with the standard error e the share 1 - (e / x)^2 is
    made up for: the rest is what chance makes of it (James and Stein 1961). The table is found in a few rounds of
    samples, by Broyden's method, from the guess that one e-folding of contacts takes log-odds of 1. The model is left
    as it was.

    Args:
        draw: samples of the model with these voxels of each phase, int64 (n, K), by a seed: phase indices (n, *L), or
            None to give up.
    """
    config, before = model.config, model.coupling
    if config.ndim != 2 or config.classes or config.species:
        return None
    number = max(1, min(MOST_CROPS, MOST_SITES // math.prod(config.size)))
    periodic, rng = config.boundary == "periodic", np.random.default_rng(seed)
    wanted: list[np.ndarray] = []  # voxels of each phase of crops, (number, K) a look
    real = np.zeros((0, model.phases * (model.phases - 1) // 2))
    tried: list[tuple[float, np.ndarray, np.ndarray]] = []  # standard errors at the most, weights, excess

    def look(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """By how many e-foldings samples have too many contacts, and the standard errors of that."""
        model.coupling = table_of(weights, model) if weights.any() else None
        images = [draw(model, totals, seed + turn) for turn, totals in enumerate(wanted)]
        if any(some is None for some in images):
            return None
        made = np.concatenate([contacts(some, model.phases, periodic) for some in images if some is not None])
        excess = np.log((made.sum(0) + FEW) / (real.sum(0) + FEW))
        return excess, (math.sqrt(len(real)) * (made - real).std(0) + FEW) / (real.sum(0) + FEW)

    weights, response, left = np.zeros(real.shape[1]), np.eye(real.shape[1]), 0.0
    try:
        for turn in range(LOOKS - 1 + ROUNDS):
            if turn < LOOKS:
                crops = dataset.crops("train", number, config.size, rng, augment=True)
                wanted.append(np.stack([np.bincount(crop.ravel(), minlength=model.phases) for crop in crops]))
                real = np.concatenate([real, contacts(crops, model.phases, periodic)])
            found = look(weights)
            if found is None:
                return None
            excess, error = found
            if turn < LOOKS:
                if (np.abs(excess) <= DOUBT * error).all():
                    return None
                if turn < LOOKS - 1:
                    continue
                left = excess * np.minimum(1, (error / excess) ** 2)
            excess = excess - left
            if tried:
                step, change = weights - tried[-1][1], excess - tried[-1][2]
                response += np.outer(change - response @ step, step) / max(step @ step, 1e-12)
                np.fill_diagonal(response, response.diagonal().clip(SLOWEST))
            tried.append((float((np.abs(excess) / error).max()), weights, excess))
            if tried[-1][0] <= CLOSE:
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
