"""Crops to train on, and what the network is told of each: its class, and properties that were measured beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dsdcli.data.classes import UNTOLD, crops_of_classes
from dsdcli.data.dataset import Dataset
from dsdcli.errors import UsageError
from dsdcli.network.config import Property

BANK_CROPS = 16384
BANK_VOXELS = {2: 2**26, 3: 2**24}  # of all of them at most, by their dimension, but for `FEWEST` crops
FEWEST = 256
VALIDATION_CROPS = 256
VALIDATION_SITES = 2**21  # of all of them at most, but for 32 crops
LEFT_OUT = 0.3  # of each property of a crop that is told of some, where there are several: so that one may be asked for


@dataclass(frozen=True, eq=False)
class Told:
    """What the network is told of crops.

    Attributes:
        kinds: numbers of their classes, int64 (B,), `UNTOLD` for none.
        properties: standardised, float32 (B, P), NaN for none.
    """

    kinds: np.ndarray
    properties: np.ndarray

    @classmethod
    def of(cls, kinds: np.ndarray, properties: int = 0) -> "Told":
        """The classes, and nothing of so many properties."""
        return cls(kinds, np.full((len(kinds), properties), np.nan, np.float32))

    def part(self, which: slice) -> "Told":
        """Of some of the crops."""
        return Told(self.kinds[which], self.properties[which])

    def tensors(self, which: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Of some of the crops: the classes, and the properties."""
        return torch.from_numpy(self.kinds[which]), torch.from_numpy(self.properties[which])


@dataclass(frozen=True, eq=False)
class Bank:
    """Training crops whose properties are known, drawn once and measured: some properties take too long to be measured
    at every step.

    Attributes:
        crops: phase indices (N, *L).
        told: of these, all that there is to tell.
        heldout: of the crops of the validation.
    """

    properties: tuple[Property, ...]
    crops: np.ndarray
    told: Told
    heldout: np.ndarray

    @classmethod
    def of(
        cls, names: Sequence[str], crops: np.ndarray, kinds: np.ndarray, values: np.ndarray, heldout: np.ndarray
    ) -> "Bank":
        """From the values (N, P) in voxels, not finite where a crop has no such number, and those of held-out crops.

        Raises:
            UsageError: too few crops have the number, or all have the same.
        """
        values = np.where(np.isfinite(values), values, np.nan)
        found = []
        for name, column in zip(names, values.T, strict=True):
            has = column[~np.isnan(column)]
            if len(has) < FEWEST / 2 or not has.std() > 0:
                what = f"only {len(has)} of {len(column)} training crops have such a number"
                what = "it is the same for all training crops" if len(has) >= FEWEST / 2 else what
                raise UsageError(f"`condition={name}`: {what}; leave it out")
            found.append(Property(name, *map(float, (has.mean(), has.std(), has.min(), has.max()))))
        mean, deviation = (np.array([getattr(each, name) for each in found]) for name in ("mean", "deviation"))
        scaled, other = (((part - mean) / deviation).astype(np.float32) for part in (values, heldout))
        other[~np.isfinite(other)] = np.nan
        return cls(tuple(found), crops, Told(kinds, scaled), other)


def bank_crops(dataset: Dataset, size: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The crops of a bank, and the class of each; flipped and turned as those that are drawn at every step."""
    number = min(BANK_CROPS, max(FEWEST, BANK_VOXELS[len(size)] // math.prod(size)))
    return crops_of_classes(dataset, "train", number, size, np.random.default_rng([seed, number]), augment=True)


def draw_told(
    dataset: Dataset,
    bank: Bank | None,
    number: int,
    size: tuple[int, ...],
    rng: np.random.Generator,
    unconditional: float,
) -> tuple[np.ndarray, Told]:
    """Random training crops (B, *L), and what the network is told of them.

    Nothing of a share ``unconditional``, and of crops of another size than those of the bank no properties. The others
    come from the bank, flipped along random axes, which changes none of their properties.
    """
    crops, kinds = crops_of_classes(dataset, "train", number, size, rng, augment=True)
    if bank is None and not dataset.classes:
        return crops, Told.of(kinds)
    untold = rng.random(number) < unconditional
    told = Told.of(kinds, len(bank.properties) if bank else 0)
    if bank is not None and size == bank.crops.shape[1:]:
        for row in np.flatnonzero(~untold):
            which = int(rng.integers(len(bank.crops)))
            flips = tuple(slice(None, None, 1 - 2 * int(flip)) for flip in rng.integers(2, size=len(size)))
            crops[row], kinds[row] = bank.crops[which][flips], bank.told.kinds[which]
            told.properties[row] = bank.told.properties[which]
        if len(bank.properties) > 1:
            told.properties[rng.random(told.properties.shape) < LEFT_OUT] = np.nan
    kinds[untold] = UNTOLD
    return crops, told


def validation_crops(
    dataset: Dataset, size: tuple[int, ...], rng: np.random.Generator, bank: Bank | None = None
) -> tuple[np.ndarray, Told]:
    """Held-out crops (B, *L), and all that there is to tell of them."""
    number = min(VALIDATION_CROPS, max(32, VALIDATION_SITES // math.prod(size)))
    crops, kinds = crops_of_classes(dataset, "heldout", number, size, rng)
    told = Told.of(kinds)
    return crops, told if bank is None else replace(told, properties=bank.heldout)
