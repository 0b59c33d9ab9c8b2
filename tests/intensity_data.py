"""A small dataset and an untrained model of intensities."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.species import Species, records
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.intensity import IntensityNet

ONE = (Species("density", 12),)
TWO = (Species("iron", 12), Species("nickel", 300, "uint16"))


def field(shape: tuple[int, ...], species: tuple[Species, ...], seed: int) -> np.ndarray:
    """Smooth noise as counts (*L, C), half of them 0."""
    rng = np.random.default_rng(seed)
    smooth = [gaussian_filter(rng.standard_normal(shape), 1.5, mode="wrap") for _ in species]
    parts = [np.clip(f / f.max(), 0, 1) * each.cap for f, each in zip(smooth, species, strict=True)]
    return np.rint(np.stack(parts, -1)).astype(np.uint16 if len(species) > 1 else np.uint8)


def make_intensities(path, species=ONE, shape=(12, 32, 32)) -> Dataset:
    """A dataset of one volume for training and another one held out, 2 um a voxel."""
    parts = ((LabelledImage(records(field(shape, species, seed)), "ZYX"),) for seed in (0, 1))
    Dataset(path, (), 2.0, "um", "z", 1, {"sources": []}, *parts, species).write(path)
    return Dataset.open(path)


def random_intensity_model(
    species: tuple[Species, ...], ndim: int = 2, boundary: str = "noflux", classes: tuple = ()
) -> IntensityNet:
    """An untrained network whose outputs are far from constant."""
    torch.manual_seed(0)
    config = ModelConfig(
        phases=(),
        fractions=tuple(each.cap / 4 for each in species),
        boundary=boundary,
        size=(8,) * ndim,
        dose_min=0.01,
        dose_max=40.0,
        integral_range=tuple(tuple(float(i == j) for j in range(len(species))) for i in range(len(species))),
        architecture=Architecture((8, 16)),
        classes=classes,
        species=species,
    )
    model = IntensityNet(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.net.last.weight, std=0.2)
    return model
