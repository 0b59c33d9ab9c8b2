"""What a finished network learns beside known voxels, for its second look there (`dsdcli.network.near`)."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from dsdcli.data.classes import crops_of_classes
from dsdcli.data.dataset import Dataset
from dsdcli.network.model import Given, UndoNet
from dsdcli.network.near import REACH
from dsdcli.process.hole import Hole
from dsdcli.process.image import one_hot, within
from dsdcli.process.lattice import Lattice
from dsdcli.training.holes import Holes
from dsdcli.training.known import random_known
from dsdcli.training.loss import Walked

STEPS = 600
FEWER = 4  # of the steps of the training at most one in so many
CROPS = 32
MOST_SITES = 2**17  # of all crops of a step, but for four
IN_HOLES = 0.5  # of the crops; of the others some voxels are told
RATE = 3e-3
WARM, COOL, LAST = 50, 0.6, 0.02  # steps to the full rate; share of them after which it falls, and to what share of it
UNDO = 0.3  # weight of the undo counts beside the entropy of the clean image


def second_look(
    model: UndoNet, dataset: Dataset, seed: int, trained: int, stop: Callable[[], bool] = lambda: False
) -> None:
    """Give a network its second look and train that, on crops that walk in holes and on such of which the network is
    told some voxels; its weights stay as they are. Nothing for intensities, nor if told to stop meanwhile.

    Args:
        model: a finished one without.
        dataset: that it was trained on.
        seed: of crops, holes and walks.
        trained: steps of its training.
        stop: asked before every step.
    """
    config = model.config
    if config.species:
        return
    steps = min(STEPS, math.ceil(trained / FEWER))
    device, lattice = next(model.parameters()).device, Lattice(config.size, config.boundary)
    number = min(CROPS, max(4, MOST_SITES // lattice.sites))
    rng, generator = np.random.default_rng(seed), torch.Generator(device).manual_seed(seed)
    holes = Holes(lattice, IN_HOLES, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        near = model.look_again().to(device)
    optimizer = torch.optim.AdamW(near.parameters(), lr=RATE, weight_decay=0.01)
    for step in range(steps):
        if stop():
            model.near = None
            return
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM, max(LAST, (1 - step / steps) / (1 - COOL)))
        crops, kinds = crops_of_classes(dataset, "train", number, config.size, rng, augment=True)
        images, classes = torch.from_numpy(crops).to(device), torch.from_numpy(kinds).to(device)
        even = (torch.from_numpy(rng.permutation(number)) + rng.random()) / number  # of log s, as in the training
        doses = (math.log(config.dose_min) + even * math.log(config.dose_max / config.dose_min)).exp().to(device)
        parts, low = [], 0
        for many, domain in holes.draw(number, rng):
            own = slice(low, low + many)
            told = None
            if not isinstance(domain, Hole):
                told = torch.from_numpy(np.stack([random_known(lattice.shape, rng) for _ in range(many)])).to(device)
            parts.append(Walked.draw(images[own], model.phases, doses[own], domain, generator, told, classes[own]))
            low += many
        optimizer.zero_grad()
        with torch.enable_grad():
            near_loss(model, Walked.join(parts)).backward()
        torch.nn.utils.clip_grad_norm_(near.parameters(), 1.0)
        optimizer.step()
    near.requires_grad_(False).eval()


def near_loss(model: UndoNet, walked: Walked) -> torch.Tensor:
    """Entropy of the clean image and divergence of the undo counts (`dsdcli.training.loss`) where known and unknown
    voxels meet, all doses alike: of the training's loss such places are too small a part."""
    clean = one_hot(walked.images, len(model.config.phases))
    told = clean & walked.known[:, None] if walked.known.any() else None
    log_hat, logits = model(walked.counts, walked.dose, walked.domains, Given(told, kinds=walked.kinds))
    known = (walked.known | ~walked.walkable)[:, None]
    periodic = model.config.boundary == "periodic"
    rim = sum(
        within(known, reach, periodic)[:, 0].float() * within(~known, reach, periodic)[:, 0] for reach in (1, REACH)
    )
    assert isinstance(rim, torch.Tensor)
    unknown = rim * ~known[:, 0]
    entropy = (F.cross_entropy(logits, walked.images.long(), reduction="none") * unknown).sum()
    undo = (walked.walking * torch.exp(log_hat) - walked.ratio * log_hat).sum((1, 2))  # (B, *L)
    undo = (walked.dose.float().view(-1, *(1,) * (undo.ndim - 1)) * undo * rim).sum()
    return entropy / unknown.sum().clamp_min(1) + UNDO * undo / rim.sum().clamp_min(1)
