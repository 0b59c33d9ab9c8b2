"""What a finished network is taught beside known voxels, and that it forgets nothing else by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.network.config import Architecture
from dsdcli.network.model import Given, UndoNet
from dsdcli.pipeline.train import make_config
from dsdcli.process.hole import Hole
from dsdcli.process.image import beside, one_hot
from dsdcli.process.lattice import Lattice
from dsdcli.training.near import FEWER, second_look

from .test_training import make_settings


@pytest.fixture
def silent(electrode, monkeypatch):
    """A network that says nothing: all phases are equally likely everywhere."""
    monkeypatch.setattr("dsdcli.training.near.CROPS", 16)
    config = make_config(electrode, make_settings(size=(16, 16)))
    net = UndoNet(replace(config, architecture=Architecture((8,), blocks=1, fine=4)))
    return net.eval().requires_grad_(False)


@torch.no_grad()
def unlike(model, dataset, told):
    """Unlike neighbours across the rim of a hole, or of a region that the network is told: how many it expects for each
    that there is."""
    images = torch.from_numpy(dataset.crops("heldout", 64, (16, 16), np.random.default_rng(5))).long()
    mask = np.zeros((16, 16), bool)
    mask[4:12, 3:13] = True
    inside = torch.from_numpy(mask)
    clean = one_hot(images, len(model.config.phases))
    seen, dose = clean & ~inside, torch.full((64,), 20.0, dtype=torch.float64)
    domain = Lattice((16, 16)) if told else Hole((16, 16), mask=mask)
    guess = model(clean.long(), dose, [(64, domain)], Given(seen if told else None)).logits.softmax(1)
    near = beside(seen, False) * inside
    return float((near * (1 - guess)).sum() / (near * ~clean).sum())


def test_a_network_that_says_nothing_learns_what_known_voxels_say(electrode, silent):
    weights = {name: tensor.clone() for name, tensor in silent.state_dict().items()}
    before = [unlike(silent, electrode, told) for told in (False, True)]
    second_look(silent, electrode, 0, trained=FEWER * 80)
    assert silent.near is not None and not silent.near.training
    for told, value in zip((False, True), before, strict=True):
        assert value > 1.5 and 0.7 < unlike(silent, electrode, told) < 1.3
    assert all(torch.equal(silent.state_dict()[name], tensor) for name, tensor in weights.items())


def test_the_same_is_learned_from_the_same_seed(electrode, silent):
    found = []
    for seed in (1, 1, 2):
        silent.near = None
        second_look(silent, electrode, seed, trained=FEWER)
        found.append(silent.near.stem.weight)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_nothing_is_learned_once_told_to_stop(electrode, silent):
    asked = []
    second_look(silent, electrode, 0, trained=100, stop=lambda: bool(asked.append(1)) or len(asked) > 2)
    assert silent.near is None and len(asked) == 3
