"""What a training begins with: the shipped weights that foretell its crops best, unless others are named."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dsdcli.data.phases import Phase
from dsdcli.errors import UsageError
from dsdcli.network.catalogue import shipped_models
from dsdcli.network.checkpoint import load_model
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.network.model import Given, UndoNet
from dsdcli.pipeline.train import train
from dsdcli.process.lattice import Lattice
from dsdcli.training.kindred import choose_start, orders
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from dsdcli.training.start import start_from
from dsdcli.training.trainer import Trainer

CPU = torch.device("cpu")


def trainer_of(dataset, size=(16, 16), **config) -> Trainer:
    settings = TrainSettings("tiny", size, 6, None, 4, 1e-2, 3, "noflux", "float32", validate_every=3)
    return Trainer(replace(make_config(dataset, settings), **config), settings, dataset, CPU)


def parts(network):
    return [weight.clone() for weight in network.parameters()]


def same(network, other):
    return all(torch.equal(a, b) for a, b in zip(network.net.parameters(), other.net.parameters(), strict=True))


@pytest.mark.parametrize("name", ["nmc-2d", "nmc-3d"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_phases_in_another_order_are_foretold_alike(name, order):
    """Rates, guess and what known voxels tell belong to a phase, whatever its number."""
    model = load_model(shipped_models()[name])
    phases = tuple(model.config.phases[k] for k in order)
    other = UndoNet(replace(model.config, phases=phases)).eval()
    start_from(model, other, order=order)
    model.calibration = model.near = None
    ndim = model.config.ndim
    shape = (16,) * ndim
    rng = torch.Generator().manual_seed(1)
    counts = torch.randint(0, 3, (2, 3, *shape), generator=rng)
    known = torch.zeros(2, 3, *shape, dtype=torch.bool)
    known[0, 1, 3:6], known[1, 2, 5:9] = True, True
    dose = torch.tensor([0.3, 20.0], dtype=torch.float64)
    domains = [(2, Lattice(shape))]
    with torch.inference_mode():
        there = model(counts, dose, domains, Given(known))
        here = other(counts[:, list(order)], dose, domains, Given(known[:, list(order)]))
    assert not torch.equal(there.logits, there.logits[:, [1, 0, 2]])
    torch.testing.assert_close(here.logits, there.logits[:, list(order)], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(here.log_ratio, there.log_ratio[:, list(order)], rtol=1e-4, atol=1e-4)


def test_a_training_begins_with_the_shipped_weights_of_as_many_phases(electrode):
    trainer = trainer_of(electrode)
    without = trainer.validate()
    chosen = choose_start(trainer, None)
    assert chosen is not None and chosen.path.name == "nmc-2d"
    assert chosen.order == (0, 1, 2)  # the names say so
    assert trainer.validate() < without
    assert same(trainer.model, load_model(shipped_models()["nmc-2d"])) and same(trainer.average, trainer.model)
    assert choose_start(trainer_of(electrode, size=(8, 8, 8)), None).path.name == "nmc-3d"


def test_the_order_of_strange_phases_is_the_one_that_foretells_best(electrode, monkeypatch):
    names = ("glass", "pore", "metal")
    trainer = trainer_of(electrode, phases=tuple(Phase(name, k) for k, name in enumerate(names)))
    model = load_model(shipped_models()["nmc-2d"])
    best = (2, 0, 1)
    wanted = UndoNet(trainer.model.config)
    start_from(model, wanted, order=best)
    monkeypatch.setattr(trainer, "validate", lambda: 0.0 if same(trainer.average, wanted) else 1.0)
    for name in (None, "nmc-2d"):
        assert choose_start(trainer, name).order == best
        assert same(trainer.model, wanted)


def test_random_weights_stay_where_none_is_asked_for_or_none_is_better_or_fits(rock, monkeypatch):
    trainer = trainer_of(rock)
    before = parts(trainer.model)
    assert choose_start(trainer, "none") is None
    losses = itertools.count()
    monkeypatch.setattr(trainer, "validate", lambda: next(losses))  # the first is that of random weights
    assert choose_start(trainer, None) is None
    assert next(losses) > 1  # others were tried
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8,), fine=4),) * 2)
    assert choose_start(trainer_of(rock), None) is None


def test_names_say_which_phase_is_which():
    config = load_model(shipped_models()["nmc-2d"]).config
    turned = replace(config, phases=config.phases[::-1])
    assert list(orders(config, turned)) == [(2, 1, 0)]
    strange = replace(config, phases=(Phase("a", 0), Phase("b", 1), Phase("c", 2)))
    assert len(list(orders(config, strange))) == 6


def test_the_user_is_told_and_the_manifest_keeps_it(electrode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dsdcli.pipeline.train.draw_sheet", lambda trainer, path: path)
    said = []
    small = {"steps": 1, "batch": 2, "size": (16, 16), "stop": lambda: True}
    train(electrode, out="run", note=said.append, **small)
    assert any("beginning with the weights of nmc-2d (`start_from=none`" in line for line in said)
    kept = json.loads(Path("run/train.json").read_text())["start_from"]
    assert Path(kept["path"]).name == "nmc-2d" and kept["order"] == [0, 1, 2]
    train(electrode, out="plain", start_from="none", note=said.append, **small)
    assert json.loads(Path("plain/train.json").read_text())["start_from"] is None
    with pytest.raises(UsageError, match="number of phases"):
        train(electrode, out="other", start_from="berea-2d", **small)
