"""The attraction of phases is found with which samples have the contacts of the material."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.network.catalogue import shipped_models
from dsdcli.network.checkpoint import load_model
from dsdcli.network.config import Architecture
from dsdcli.network.model import UndoNet
from dsdcli.pipeline.train import make_config
from dsdcli.pipeline.trial import draw_like
from dsdcli.training.couple import ROUNDS, SETS, contacts, coupled
from dsdcli.training.start import start_from

from .test_training import make_settings


def draw(model, totals, seed):
    return draw_like(model, totals, seed, lambda: False)


def silent(dataset):
    """A network that says nothing: samples are noise."""
    config = make_config(dataset, make_settings(size=(16, 16)))
    return UndoNet(replace(config, architecture=Architecture((8,), blocks=1, fine=4))).eval()


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("sides", [(5, 4), (3, 4, 2)])
def test_contacts_are_counted(periodic, sides):
    images = np.random.default_rng(0).integers(0, 3, (4, *sides))
    wanted = np.zeros((4, 3, 3))
    for n, *site in np.ndindex(images.shape):
        for axis, side in enumerate(sides):
            there = list(site)
            there[axis] += 1
            if there[axis] < side or periodic:
                there[axis] %= side
                a, b = sorted((images[(n, *site)], images[(n, *there)]))
                wanted[n, a, b] += 1
    expected = np.stack([wanted[:, 0, 1], wanted[:, 0, 2], wanted[:, 1, 2]], 1)
    assert np.array_equal(contacts(images, 3, periodic), expected)


def test_samples_come_to_the_contacts_of_the_crops(electrode, monkeypatch):
    """Of a model of another material, whose pore touches the binder far more often, and NMC less."""
    monkeypatch.setattr("dsdcli.training.couple.MOST_CROPS", 32)
    model = UndoNet(replace(load_model(shipped_models()["nmc-2d"]).config, size=(16, 16))).eval()
    start_from(load_model(shipped_models()["nmc-2d"]), model)
    table = coupled(model, electrode, 0, draw)
    assert model.coupling is None
    assert table is not None and torch.equal(table, table.T) and not table.diagonal().any()
    crops = electrode.crops("train", 32, (16, 16), np.random.default_rng(0), augment=True)
    totals = np.stack([np.bincount(crop.ravel(), minlength=3) for crop in crops])

    def off():
        real, made = (contacts(images, 3, False).sum(0) for images in (crops, draw(model, totals, 1)))
        return np.abs(np.log((made + 10) / (real + 10)))

    before = off()
    model.coupling = table
    assert (before - off() > 0.1).all()


def test_it_is_found_whatever_contacts_make_of_it(electrode, monkeypatch):
    """Pairs that answer three times as much as another, and to each other."""
    monkeypatch.setattr("dsdcli.training.couple.MOST_CROPS", 64)
    response = np.array([[1.2, 0.0, -0.1], [0.1, 0.4, 0.1], [-0.2, 0.0, 0.5]])
    right = np.array([-0.3, 0.1, -0.2])
    asked = []

    def made(images, phases, periodic):
        real = np.full((len(images), 3), 1000.0) + np.arange(len(images))[:, None] % 7
        if images is crops[0]:
            return real
        table = model.coupling
        weights = np.zeros(3) if table is None else table[[0, 0, 1], [1, 2, 2]].numpy()
        asked.append(weights)
        noise = np.random.default_rng(0).normal(0, 40, real.shape)
        return real * np.exp(response @ (weights - right)) + noise - noise.mean(0)

    model, crops = silent(electrode), []
    monkeypatch.setattr("dsdcli.training.couple.contacts", made)
    cut = type(electrode).crops
    monkeypatch.setattr(type(electrode), "crops", lambda *a, **k: crops.append(cut(*a, **k)) or crops[0])
    table = coupled(model, electrode, 0, lambda *rest: crops[0].copy())
    assert len(asked) < SETS + ROUNDS
    excess = response @ (table[[0, 0, 1], [1, 2, 2]].numpy() - right)
    assert np.abs(excess).max() < 0.02 < np.abs(response @ right).max()


def test_there_is_none_where_contacts_are_right_or_nobody_waits(electrode, monkeypatch):
    model = silent(electrode)
    crops = electrode.crops("train", 8, (16, 16), np.random.default_rng(0), augment=True)
    assert coupled(model, electrode, 0, lambda *rest: crops) is None
    assert (
        coupled(model, electrode, 0, lambda model, totals, seed: draw_like(model, totals, seed, lambda: True)) is None
    )
