"""A small two-phase and a three-phase material that every test file may use."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset, LabelledImage
from dsdcli.data.phases import Phase
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet


def blobs(shape, levels, seed):
    """Thresholded smooth noise: phase indices uint8 with volume fractions given by the quantiles ``levels``."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5, mode="wrap")
    return np.searchsorted(np.quantile(field, levels), field).astype(np.uint8)


def make_dataset(folder, phases, levels, name="toy"):
    """Write a dataset of volumes 24x32x32 (train) and 16x32x32 (held out) and open it."""
    path = folder / f"{name}.dsd.h5"
    train, heldout = (LabelledImage(blobs((depth, 32, 32), levels, seed), "ZYX") for seed, depth in ((0, 24), (1, 16)))
    Dataset(path, phases, 2.0, "um", "z", 1, {"sources": []}, (train,), (heldout,)).write(path)
    return Dataset.open(path)


def random_model(
    phases: int, ndim: int, boundary: str = "noflux", seed: int = 0, background: int | None = None
) -> UndoNet:
    """An untrained network whose outputs are far from constant."""
    torch.manual_seed(seed)
    names = tuple(Phase(f"p{i}", i) for i in range(phases))
    config = ModelConfig(
        phases=names,
        background=phases - 1 if background is None else background,
        fractions=(1 / phases,) * phases,
        boundary=boundary,
        size=(8,) * ndim,
        dose_min=0.05,
        dose_max=10.0,
        integral_range=tuple(tuple(float(4 * (i == j)) for j in range(phases - 1)) for i in range(phases - 1)),
        architecture=Architecture((8, 16)),
    )
    model = UndoNet(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.unet.last.conv.weight, std=0.2)
    return model


@pytest.fixture
def rock(tmp_path):
    """Two phases, pore 0.3."""
    return make_dataset(tmp_path, (Phase("pore", 0), Phase("grain", 255)), [0.3])


@pytest.fixture
def electrode(tmp_path):
    """Three phases, 0.45 / 0.4 / 0.15."""
    return make_dataset(tmp_path, (Phase("pore", 0), Phase("NMC", 85), Phase("CBD", 170)), [0.45, 0.85], "cell")


@pytest.fixture
def dsd(monkeypatch, capsys):
    """Run the `dsd` command in this process: exit code, stdout, stderr."""
    from dsdcli.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["dsd", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        return (int(caught.value.code), *capsys.readouterr())

    return run
