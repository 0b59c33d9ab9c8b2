"""A small two-phase and a three-phase material that every test file may use."""

import os
import sys
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each of two processes (pyproject.toml)

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import Phase
from dsdcli.network.checkpoint import save_config, save_tensors
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config


def blobs(shape, levels, seed, width=1.5):
    """Thresholded smooth noise: phase indices uint8 with volume fractions given by the quantiles ``levels``."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width, mode="wrap")
    return np.searchsorted(np.quantile(field, levels), field).astype(np.uint8)


def write_dataset(path, phases, train, heldout):
    """Write a dataset of these volumes of phase indices, 2 um a voxel, and open it."""
    parts = ((LabelledImage(volume, "ZYX"),) for volume in (train, heldout))
    Dataset(path, phases, 2.0, "um", "z", 1, {"sources": []}, *parts).write(path)
    return Dataset.open(path)


def make_dataset(folder, phases, levels, name="toy"):
    """A dataset of volumes 24x32x32 (train) and 16x32x32 (held out)."""
    train, heldout = (blobs((depth, 32, 32), levels, seed) for seed, depth in ((0, 24), (1, 16)))
    return write_dataset(folder / f"{name}.dsd.h5", phases, train, heldout)


def random_model(phases: int, ndim: int, boundary: str = "noflux", seed: int = 0) -> UndoNet:
    """An untrained network whose outputs are far from constant."""
    torch.manual_seed(seed)
    names = tuple(Phase(f"p{i}", i) for i in range(phases))
    config = ModelConfig(
        phases=names,
        fractions=(1 / phases,) * phases,
        boundary=boundary,
        size=(8,) * ndim,
        dose_min=0.05,
        dose_max=10.0,
        integral_range=tuple(tuple(float(4 * (i == j)) for j in range(phases)) for i in range(phases)),
        architecture=Architecture((8, 16)),
        range_exponents=(0.5,) + (-0.25,) * (phases - 1),
    )
    model = UndoNet(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.net.last.weight, std=0.2)
    return model


def save_model(folder, dataset, size):
    """An untrained model: exactness must not depend on what a network has learned."""
    settings = TrainSettings("tiny", size, 1, None, 1, 1e-3, 0, "noflux", "float32")
    config = replace(make_config(dataset, settings), architecture=Architecture((8, 16)))
    torch.manual_seed(0)
    model = UndoNet(config)
    torch.nn.init.normal_(model.net.last.weight, std=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    save_config(folder, config)
    save_tensors(folder / "model.safetensors", model.state_dict())


@pytest.fixture(autouse=True)
def few_crops(monkeypatch):
    """What ends every training takes a tenth of the time."""
    monkeypatch.setattr("dsdcli.training.near.CROPS", 4)
    monkeypatch.setattr("dsdcli.training.couple.MOST_CROPS", 8)


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
