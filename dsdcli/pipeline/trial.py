"""Samples that are drawn of a model while it trains, and when it ends."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.classes import UNTOLD, crops_of_classes
from dsdcli.device import free_memory
from dsdcli.network.intensity import IntensityNet
from dsdcli.network.model import UndoNet
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.blocks import fitting_batch
from dsdcli.sampling.generate import Progress, generate, stack_of
from dsdcli.sampling.intensity import DOSE_END, counts_like, generate_counts
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.trainer import Trainer
from dsdcli.view.sheet import intensity_image, save_picture, write_sheet

SHEET_IMAGES = 8
SHEET_SITES = 2**19  # of all of them at most, but for one
SHEET_STEPS = 8


def draw_like(model: UndoNet, totals: np.ndarray, seed: int, stop: Callable[[], bool]) -> np.ndarray | None:
    """Samples of the size of the training crops, of the class that the model is of, with totals (n, K) of the phases,
    or of intensities what is expected at the end of walks with these totals; None where ``stop`` says so."""
    config, device, kind = model.config, next(model.parameters()).device, model.kind
    lattice = Lattice(config.size, config.boundary)
    batch = fitting_batch(config, lattice, device, free_memory(device))
    states: Iterator[Progress[Any]]
    if isinstance(model, IntensityNet):
        sampler = Trapezoidal(dose_end=DOSE_END)
        what, states = "expected", generate_counts(model, totals, lattice, sampler, seed, batch, kind=kind)
    else:
        sampler = Trapezoidal.usual(config.ndim)
        what, states = "image", generate(model, totals, lattice, sampler, seed, batch, kind=kind)
    found = []
    for state in states:
        if stop():
            return None
        found += [getattr(made, what) for _, made in state.finished]
    return np.stack(found)


def draw_sheet(trainer: Trainer, path: Path) -> Path:
    """Draw a few samples with the counts of held-out crops, and write them below these as a PNG sheet."""
    size, config = trainer.settings.size, trainer.model.config
    number = max(1, min(SHEET_IMAGES, SHEET_SITES // trainer.lattice.sites))
    crops, kinds = crops_of_classes(trainer.dataset, "heldout", number, size, np.random.default_rng(1))
    titles = ["real"] * len(crops) + ["generated"] * len(crops)
    if isinstance(trainer.average, IntensityNet):
        made = counts_like(trainer.average, crops, kinds, trainer.lattice, SHEET_STEPS)
        picture = intensity_image(np.concatenate([crops, made]), config.species, len(crops), titles)
        save_picture(picture, path)
        return path
    totals = np.stack([(crops == k).reshape(len(crops), -1).sum(1) for k in range(len(config.phases))], axis=1)
    sampler = Trapezoidal(steps=SHEET_STEPS)
    images = np.empty_like(crops)
    for kind in np.unique(kinds).tolist():
        own, told = kinds == kind, None if kind == UNTOLD else kind
        states = generate(trainer.average, totals[own], trainer.lattice, sampler, 0, number, kind=told)
        images[own] = stack_of(states)
    write_sheet(path, np.concatenate([crops, images]), config.phases, len(crops), titles)
    return path
