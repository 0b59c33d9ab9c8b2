"""What samples of a model have too many or too few contacts of, beside training crops with the same counts."""

import math
from collections.abc import Callable

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.network.model import UndoNet

MOST_CROPS = 512  # of a set
MOST_SITES = 2**19  # of all crops of a set together, but for one
SETS = 4  # that an excess must show in together; one alone is beyond two errors by chance too often
ROUNDS = 5
SLOWEST = 0.2  # e-foldings of contacts that a log-odds of 1 makes of a pair, by what noise says of it
LONGEST = 0.15  # step of a round, in log-odds
DOUBT = 2.0  # standard errors within which contacts are left as they are
CLOSE = 0.5  # within which they are what they should come to
FEW = 10  # contacts that are added to all, so that rare pairs do not decide

Draw = Callable[[UndoNet, np.ndarray, int], np.ndarray | None]


def coupled(model: UndoNet, dataset: Dataset, seed: int, draw: Draw) -> torch.Tensor | None:
    """The table of `dsdcli.network.coupling` with which samples have the contacts of training crops of the same counts;
    None where they have them without, for models of volumes, or where none are drawn.

    What a set of crops shows more of them must confirm, and of an excess x with the standard error e the share
    1 - (e / x)^2 is made up for: the rest is what chance makes of it (James and Stein 1961). The table is found in a
    few rounds of samples like those of the first set, by Broyden's method, from the guess that one e-folding of
    contacts takes log-odds of 1. The model is left as it was.

    Args:
        draw: samples of the model with these voxels of each phase, int64 (n, K), by a seed: phase indices (n, *L), or
            None to give up.
    """
    config, before = model.config, model.coupling
    if config.ndim != 2 or config.species:
        return None
    number = max(1, min(MOST_CROPS, MOST_SITES // math.prod(config.size)))
    periodic, rng = config.boundary == "periodic", np.random.default_rng(seed)
    real = np.zeros((0, model.phases * (model.phases - 1) // 2))
    made = real.copy()

    def look(weights: np.ndarray, totals: np.ndarray, turn: int) -> np.ndarray | None:
        """Contacts of samples (number, pairs) with these totals."""
        model.coupling = table_of(weights, model) if weights.any() else None
        images = draw(model, totals, seed + turn)
        return None if images is None else contacts(images, model.phases, periodic)

    weights, response = np.zeros(real.shape[1]), np.eye(real.shape[1])
    sets: list[np.ndarray] = []  # voxels of each phase in crops, (number, K)
    tried: list[tuple[float, np.ndarray, np.ndarray]] = []  # standard errors at the most, weights, what is still amiss
    try:
        for turn in range(SETS):
            crops = dataset.crops("train", number, config.size, rng, augment=True)
            totals = np.stack([np.bincount(crop.ravel(), minlength=model.phases) for crop in crops])
            found = look(weights, totals, turn)
            if found is None:
                return None
            sets.append(totals)
            real = np.concatenate([real, contacts(crops, model.phases, periodic)])
            made = np.concatenate([made, found])
            excess = np.log((made.sum(0) + FEW) / (real.sum(0) + FEW))
            error = (math.sqrt(len(real)) * (made - real).std(0) + FEW) / (real.sum(0) + FEW)
            if turn in (0, SETS - 1) and (np.abs(excess) <= DOUBT * error).all():
                return None
        amiss = excess * (1 - np.minimum(1, (error / np.abs(excess).clip(1e-12)) ** 2))
        wanted = np.log(made[:number].sum(0) + FEW) - amiss
        for turn in range(ROUNDS):
            if turn:
                found = look(weights, sets[0], 0)
                if found is None:
                    return None
                amiss = np.log(found.sum(0) + FEW) - wanted
            if tried:
                step, change = weights - tried[-1][1], amiss - tried[-1][2]
                response += np.outer(change - response @ step, step) / max(step @ step, 1e-12)
                np.fill_diagonal(response, response.diagonal().clip(SLOWEST))
            tried.append((float((np.abs(amiss) / error).max()), weights, amiss))
            if tried[-1][0] <= CLOSE:
                break
            weights = weights + np.linalg.lstsq(response, -amiss)[0].clip(-LONGEST, LONGEST)
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
