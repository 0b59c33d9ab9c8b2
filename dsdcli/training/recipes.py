"""The settings of a training run, kept in its manifest so that it can be resumed and repeated."""

from dataclasses import dataclass
from typing import Any

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Boundary

# What a preset of the network is trained with unless told otherwise.
RECIPES: dict[str, dict[str, Any]] = {
    "tiny": {"steps": 12_000, "batch": 16, "lr": 2e-3},
    "small": {"steps": 20_000, "batch": 32, "lr": 1e-3},
    "base": {"steps": 50_000, "batch": 32, "lr": 1e-3},
}


@dataclass(frozen=True)
class TrainSettings:
    """What decides the weights a run ends with, besides the dataset.

    Attributes:
        size: sides of the training crops, in voxels.
        steps: optimiser steps; the learning rate follows a cosine over them.
        max_seconds: stop (and end the cosine) after this much training time, if sooner than ``steps``.
        batch: crops per step.
        lr: peak learning rate of AdamW.
        ema: decay of the averaged weights, the ones that are used.
        precision: arithmetic of the network; bfloat16 means autocast with float32 weights.
        holes: share of the crops that walk in a hole instead of whole, so that one model generates and in-paints.
        known: share of the whole crops of which some voxels are known, so that the model honours data as well.
        large: share of the steps that take crops two or four times as wide, as many voxels in all, so that the network
            sees sites far from every wall, and surroundings unlike the mean of the image, as in samples larger than
            the crops; only those for which the images and the batch are large enough.
        validate_every: steps between validations, checkpoints and sample sheets.
    """

    preset: str
    size: tuple[int, ...]
    steps: int
    max_seconds: float | None
    batch: int
    lr: float
    seed: int
    boundary: Boundary
    precision: str
    ema: float = 0.999
    warmup: int = 100
    dose_min: float = 0.01
    holes: float = 0.5
    known: float = 0.25
    large: float = 0.4
    validate_every: int = 500

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.validate_every < 1:
            raise UsageError("steps, batch and the validation interval must be at least 1")
        if self.precision not in ("float32", "bfloat16"):
            raise UsageError(f"unknown precision '{self.precision}': use float32 or bfloat16")
        if not self.lr > 0:
            raise UsageError(f"the learning rate must be positive, not {self.lr}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise UsageError("the time limit must be positive")
