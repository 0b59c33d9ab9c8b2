"""The settings of a training run: what they are, and what they are where none are given.

They follow from the structure, the size and the dimension of the images, and from the machine. The settings of a run
are kept in its manifest, so that it can be resumed and repeated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.fit import SIDES, USUAL, fitting_sides, largest_side
from dsdcli.errors import DataError, UsageError
from dsdcli.network.config import Architecture
from dsdcli.network.config import preset as check_preset
from dsdcli.process.lattice import Boundary
from dsdcli.record import check_seed

# Of each preset; ``voxels``: of the crops of one step together.
RECIPES: dict[str, dict[str, Any]] = {
    "tiny": {"steps": 12_000, "voxels": 2**16, "lr": 2e-3},
    "small": {"steps": 20_000, "voxels": 2**17, "lr": 1e-3},
    "base": {"steps": 50_000, "voxels": 2**17, "lr": 1e-3},
}
# Of models that are told properties, which neither crops with holes nor wider ones have.
TOLD = {"holes": 0.2, "large": 0.2}
STRUCTURES = 4  # a crop should be as many times as wide as structure reaches
LARGEST = {(2, False): USUAL, (3, False): 48, (2, True): SIDES[-1], (3, True): USUAL}  # side, by dimension and GPU
_DECAYED = 0.1  # structure reaches as far as the covariance of a phase exceeds this share of its variance
SHORTEST = 4  # side of a crop: of fewer voxels, next to nothing is left around a hole
MOST = 10**9  # of steps and of crops
DEEP, FINE = 23, 57  # numbers kept for the way back, of a feature: of a block of the first level, at full resolution
WIDE = (2, 4)  # times as wide, of wider crops; the widest without holes, which would be lost in them
_PROBED = 2**19  # voxels of the crops that the reach is measured on


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
        accumulate: parts of a step's crops that pass through the network one after another, which takes less memory and
            changes no more than the rounding.
        condition: names of the properties that the network is told of a crop.
        unconditional: share of the crops of which the network is told neither these nor the class, where there are
            several, so that one model also stands for all, and can be guided away from that.
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
    unconditional: float = 0.15
    large: float = 0.4
    validate_every: int = 500
    condition: tuple[str, ...] = ()
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "accumulate"):
            number = getattr(self, name)
            if not 1 <= number <= MOST:
                raise UsageError(f"`{name}={number}`: it must lie between 1 and {MOST}")
        if len(self.size) not in (2, 3) or min(self.size) < SHORTEST:
            raise UsageError(f"`size={self.size}`: crops have two or three sides of {SHORTEST} voxels or more")
        if self.precision not in ("float32", "bfloat16"):
            raise UsageError(f"unknown precision '{self.precision}': use float32 or bfloat16")
        if not 0 < self.lr <= 1:
            raise UsageError(f"`lr={self.lr:g}`: the learning rate must be positive, and 1 at most")
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise UsageError(f"`max_seconds={self.max_seconds:g}`: the time limit must be positive and finite")
        check_seed(self.seed)


def choose_settings(
    dataset: Dataset, given: Mapping[str, Any], gpu: bool, ndim: int = 2
) -> tuple[TrainSettings, list[str]]:
    """Settings of a new run.

    Args:
        dataset: what it will train on.
        given: those that were asked for, by name.
        gpu: whether it will run on one.
        ndim: dimension of the crops where their size is not given.

    Returns:
        the settings, and what a user should know of them.

    Raises:
        UsageError: unusable settings.
        DataError: the images are too small for crops of the size asked for, or of any usual size.
    """
    preset = given.get("preset", "small" if gpu else "tiny")
    check_preset(preset)
    recipe = dict(RECIPES[preset])
    voxels = recipe.pop("voxels")
    notes: list[str] = []
    if "size" in given:
        size = given["size"]
    else:
        side, notes = choose_side(dataset, ndim, gpu)
        size = (side,) * ndim
    chosen = {
        "size": size,
        "batch": max(1, voxels // max(1, math.prod(size))),
        "max_seconds": None,
        "seed": 0,
        "boundary": "noflux",
        "precision": "bfloat16" if gpu else "float32",
    }
    told = TOLD if given.get("condition") else {}
    settings = TrainSettings(**{**recipe, **chosen, **told, **given, "preset": preset})
    for split in ("train", "heldout"):
        for material in dataset.materials:
            material.crops(split, 1, size, np.random.default_rng(0))  # fails before training, not during it
    if "size" in given:
        notes = _doubt_side(min(size), structure_reach(dataset, min(size), len(size)), "a larger `size`")
    return settings, notes


def step_bytes(architecture: Architecture, settings: TrainSettings, dataset: Dataset, ranks: int = 1) -> int:
    """Memory that a training step takes on each of ``ranks``, beside the weights: what the network keeps of every site
    for the way back.

    As measured for the presets in 2D and 3D, within 15 %. At least one of the wider crops passes at a time.
    """
    ndim = len(settings.size)
    parts = ranks * settings.accumulate
    crops = -(-settings.batch // parts)
    if parts > 1:
        for number, factor in wider_crops(settings):
            if dataset.holds("train", [factor * side for side in settings.size]):
                crops = max(crops, -(-number // parts) * factor**ndim)
    features = architecture.blocks * architecture.channels[0] / architecture.patch**ndim
    return int(crops * math.prod(settings.size) * 4 * (DEEP * features + FINE * architecture.fine))


def wider_crops(settings: TrainSettings) -> list[tuple[int, int]]:
    """How many wider crops make up a batch, for every width, in usual ones, for which that is large enough."""
    found = []
    for factor in WIDE:
        sites = factor ** len(settings.size)
        if 2 * settings.batch >= sites:
            found.append((max(1, settings.batch // sites), factor))
    return found


def choose_side(dataset: Dataset, ndim: int, gpu: bool) -> tuple[int, list[str]]:
    """Side of square or cubic crops: the least that shows structure several times, but the usual one at least, as far
    as the images hold it with room to move.

    Raises:
        DataError: not even the smallest fits into both parts of the dataset.
    """
    fits = [side for side in fitting_sides(dataset, ndim) if side <= LARGEST[ndim, gpu]]
    if not fits and dataset.species and (side := largest_side(dataset, ndim)) >= SHORTEST:
        return side, []  # small images of whole things, such as digits
    if not fits:
        least, side = "x".join([str(SIDES[0])] * ndim), largest_side(dataset, ndim)
        small = f"`size={(side,) * ndim}`"
        fix = f"give {small}, the largest that fits, or better a larger image" if side else "take a larger image"
        raise DataError(
            f"crops of {least}, the smallest by default, do not fit into both the training and the held-out part of "
            f"{dataset.path}; {fix}, or run dsd ingest again with another `holdout` or a smaller `downsample`"
        )
    roomy = [side for side in fits if 2 * side <= _shortest(dataset, ndim)] or fits[:1]
    reach = structure_reach(dataset, fits[-1], ndim)
    wanted = max(STRUCTURES * reach, USUAL if ndim == 2 else SIDES[0])
    side = next((side for side in roomy if side >= wanted), roomy[-1])
    confined = side == roomy[-1] < LARGEST[ndim, gpu]
    return side, _doubt_side(side, reach, "a larger image" if confined else "`downsample` of dsd ingest")


def _doubt_side(side: int, reach: int, fix: str) -> list[str]:
    """What a user should know of crops that are small beside the structure."""
    if side >= STRUCTURES * reach:
        return []
    return [
        f"structure reaches {reach} voxels, and crops of {side} are less than {STRUCTURES} times as wide: what is "
        f"longer than a crop is not learned; {fix} helps"
    ]


def structure_reach(dataset: Dataset, side: int, ndim: int) -> int:
    """The lag, in voxels, at which the covariance of every phase has fallen to a tenth of its variance, averaged over
    axes; half of ``side``, of the crops looked at, if it has not by then."""
    number = max(4, _PROBED // side**ndim)
    crops = dataset.crops("train", number, (side,) * ndim, np.random.default_rng(0))
    half = side // 2
    reach = 1
    for index, fraction in enumerate(dataset.fractions("train").tolist()):
        field = crops[:, index] if dataset.species else crops == index
        phase = field.astype(np.float32) - np.float32(fraction)
        variance = float(np.square(phase).mean()) if dataset.species else fraction * (1 - fraction)
        if not variance > 0:
            continue
        for lag in range(1, half + 1):
            products = [
                np.vdot(_shifted(phase, axis, lag, side), _shifted(phase, axis, 0, side - lag)) / phase[0].size
                for axis in range(1, ndim + 1)
            ]
            covariance = np.mean(products) / number * side / (side - lag)
            if covariance <= _DECAYED * variance:
                break
        reach = max(reach, lag)
    return reach


def _shifted(crops: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    return crops[(slice(None),) * axis + (slice(start, stop),)]


def _shortest(dataset: Dataset, ndim: int) -> int:
    """The shortest side of the training images that crops of a dimension are cut from."""
    return min(min(image.array.shape[-ndim:]) for image in dataset.train)
