"""The evidence of known voxels, as it is measured when a training ends, and in the files of a model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.network.checkpoint import load_model, save_config, save_tensors
from dsdcli.network.config import Architecture
from dsdcli.network.model import Given, UndoNet
from dsdcli.network.neighbours import shape
from dsdcli.pipeline.train import make_config
from dsdcli.process.hole import Hole
from dsdcli.process.image import beside, one_hot
from dsdcli.process.lattice import Lattice
from dsdcli.training.beside import beside_known

from .test_training import make_settings


@pytest.fixture
def silent(electrode, monkeypatch):
    """A network that says nothing: all phases are equally likely everywhere."""
    monkeypatch.setattr("dsdcli.training.beside.HOLES", 16)
    monkeypatch.setattr("dsdcli.training.beside.MOST_CROPS", 256)
    config = make_config(electrode, make_settings(size=(16, 16)))
    return UndoNet(replace(config, architecture=Architecture((8,), blocks=1, fine=4))).eval()


@torch.no_grad()
def unlike(model, dataset, told):
    """Unlike neighbours across the rim of a hole, or across planes that the network is told: how many it expects for
    each that there is."""
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


@pytest.mark.parametrize("told", [False, True])
def test_a_network_that_says_nothing_is_told_what_known_voxels_say(electrode, silent, tmp_path, told):
    before = unlike(silent, electrode, told)
    table = beside_known(silent, electrode, 0)
    assert table.shape == shape(3) and silent.neighbours is None
    own = table - table.mean(-1, keepdim=True)
    assert (own.diagonal(dim1=2, dim2=3) > 0.2).all()  # a neighbour speaks for its own phase, at every dose
    silent.neighbours = table
    assert before > 1.5 and 0.7 < unlike(silent, electrode, told) < 1.3
    save_config(tmp_path, silent.config)
    save_tensors(tmp_path / "model.safetensors", silent.state_dict())
    assert torch.equal(load_model(tmp_path).neighbours, table)


def test_nothing_is_measured_once_told_to_stop(electrode, silent):
    asked = []
    assert beside_known(silent, electrode, 0, stop=lambda: bool(asked.append(1)) or len(asked) > 2) is None
