"""One model of several materials: what it is told counts, what it is not told does not."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.data.classes import UNTOLD, crops_of_classes
from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.errors import UsageError
from dsdcli.network.checkpoint import load_model, save_config, save_tensors
from dsdcli.network.config import PRESETS, Architecture, ModelConfig
from dsdcli.network.coupling import shape as coupling_shape
from dsdcli.network.model import Given, UndoNet
from dsdcli.process.lattice import Lattice
from dsdcli.ranks import Ranks
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.guidance import Guided
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.calibrate import calibration
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import Run, make_config
from dsdcli.training.trainer import Trainer
from tests.conftest import blobs

SETTINGS = TrainSettings("tiny", (16, 16), 90, None, 16, 1e-2, 0, "noflux", "float32", holes=0.0, large=0.0)


@pytest.fixture(autouse=True)
def small_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    monkeypatch.setattr("dsdcli.training.run.LENGTH", 16)


@pytest.fixture
def two(rock, tmp_path):
    """Fine and coarse grains, of the same fractions; three times as much of the fine ones."""
    parts = [
        tuple(
            LabelledImage(blobs((depth, 32, 32), [0.3], seed, width), "ZYX", name)
            for name, width, depth in (("fine", 0.8, 24), ("coarse", 2.5, 8))
        )
        for seed in (0, 1)
    ]
    path = tmp_path / "two.dsd.h5"
    Dataset(path, rock.phases, 2.0, "um", "z", 1, {"sources": []}, *parts).write(path)
    return Dataset.open(path)


def faces(images):
    return float(np.mean([(np.diff(images.astype(int), axis=axis) != 0).mean() for axis in (1, 2)]))


def drawn(model, kind, guidance=1.0, number=12):
    totals = np.tile([77, 179], (number, 1))
    how = Trapezoidal(6)
    return stack_of(generate(model, totals, Lattice((16, 16)), how, 0, number, kind=kind, guidance=guidance))


def test_classes_are_kept_and_drawn_alike(two, rock):
    assert two.classes == ("fine", "coarse")
    assert [part.classes for part in two.materials] == [("fine",), ("coarse",)]
    crops, kinds = crops_of_classes(two, "train", 400, (16, 16), np.random.default_rng(0))
    assert 160 < (kinds == 0).sum() < 240
    assert faces(crops[kinds == 0]) > 1.5 * faces(crops[kinds == 1])
    assert two.digest != replace(two, train=rock.train, heldout=rock.heldout).digest
    with pytest.raises(UsageError, match="fine, coarse"):
        two.of_class("clay")


def test_a_dataset_of_one_material_draws_as_ever(rock):
    crops, kinds = crops_of_classes(rock, "train", 5, (16, 16), np.random.default_rng(3), augment=True)
    assert np.array_equal(crops, rock.crops("train", 5, (16, 16), np.random.default_rng(3), augment=True))
    assert (kinds == UNTOLD).all()
    assert rock.materials == (rock,)


def test_the_class_decides_what_is_made(two):
    """Trained briefly on both, one model makes what it is told; guidance exaggerates it; no class lies between."""
    trainer = Trainer(make_config(two, SETTINGS), SETTINGS, two, torch.device("cpu"))
    while not trainer.finished():
        trainer.train_step(trainer.learning_rate())
        trainer.step += 1
    fine, coarse, neither = (faces(drawn(trainer.average, kind)) for kind in (0, 1, None))
    assert fine > 1.25 * coarse
    assert coarse < neither < fine
    assert faces(drawn(trainer.average, 0, guidance=3.0)) > fine
    assert faces(drawn(trainer.average, 1, guidance=3.0)) < coarse


def random_network(config):
    torch.manual_seed(0)
    model = UndoNet(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.net.last.weight, std=0.2)
    return model


def test_guidance_is_a_line_through_the_two_answers(two):
    model, lattice = random_network(make_config(two, SETTINGS)), Lattice((8, 8))
    counts = torch.randint(0, 2, (2, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    dose = torch.tensor([0.5, 3.0], dtype=torch.float64)
    told, untold = Given(kinds=torch.tensor([1, 0])), Given()

    def heads(network, given):
        undo, clean = (head(counts, dose, lattice, given) for head in (network.undo, network.clean))
        return undo.clamp_min(1e-30).log(), clean.log() - clean.log().mean(1, keepdim=True)

    one, none = heads(model, told), heads(model, untold)
    twice, zero, same = (heads(Guided(model, weight), told) for weight in (2.0, 0.0, 1.0))
    for a, b, c, d, e in zip(one, none, twice, zero, same, strict=True):
        assert not torch.allclose(a, b, atol=1e-3)
        assert torch.allclose(c, 2 * a - b, atol=1e-4)
        assert torch.allclose(d, b, atol=1e-4)
        assert torch.allclose(e, a, atol=1e-4)


def test_not_told_is_any_class_to_the_network(two):
    model, lattice = random_network(make_config(two, SETTINGS)), Lattice((8, 8))
    counts, dose = torch.ones(1, 2, 8, 8, dtype=torch.int64), torch.tensor([1.0], dtype=torch.float64)
    told, untold, nothing = (
        model.undo(counts, dose, lattice, Given(kinds=kinds))
        for kinds in (torch.tensor([1]), torch.tensor([UNTOLD]), None)
    )
    assert torch.equal(untold, nothing)
    assert not torch.equal(told, untold)


def test_a_model_says_its_classes_and_one_without_is_what_it_was(two, rock, tmp_path):
    config = make_config(two, SETTINGS)
    assert [material.name for material in config.classes] == ["fine", "coarse"]
    assert config.classes[0].integral_range[0][0] < config.classes[1].integral_range[0][0]
    value = json.loads(json.dumps(config.to_json()))
    assert ModelConfig.from_json(value) == config
    assert value["format_version"] == 7
    older = replace(config, range_exponents=(), classes=tuple(replace(c, range_exponents=()) for c in config.classes))
    assert older.to_json()["format_version"] == 4
    assert all(set(each) == {"name", "fractions", "integral_range"} for each in older.to_json()["classes"])
    plain = replace(make_config(rock, SETTINGS), range_exponents=())
    assert plain.classes == ()
    assert "classes" not in plain.to_json()
    assert plain.to_json()["format_version"] == 3
    with_classes, without = (UndoNet(each).state_dict() for each in (config, plain))
    assert with_classes.keys() == without.keys()
    different = [name for name in without if with_classes[name].shape != without[name].shape]
    assert different == ["net.condition.0.weight"]


def test_ranks_share_a_batch_of_classes(two):
    """Whatever a network makes of the classes, the shares of two ranks add up to the loss of one."""

    def loss(ranks):
        trainer = Trainer(make_config(two, SETTINGS), SETTINGS, two, torch.device("cpu"), ranks)
        trainer.model = random_network(trainer.model.config)
        return sum(loss.item() for loss in trainer.batch_losses())

    assert sum(loss(Ranks(number, 2)) for number in (0, 1)) == pytest.approx(loss(Ranks()), rel=1e-5)


def test_each_class_has_tables_of_its_own_and_none_are_used_of_any(two, tmp_path):
    """Measured when a run ends, on images of the class, kept with the weights, used where the class is asked for."""
    settings = replace(SETTINGS, steps=2, batch=4, validate_every=2)
    trainer = Trainer(make_config(two, settings), settings, two, torch.device("cpu"))
    run = Run.create(tmp_path / "run", two, trainer.model.config, settings)
    *_, last = trainer.run()
    run.checkpoint(trainer, last.best)
    bare, lattice = load_model(run.folder), Lattice((16, 16))
    run.calibrate(two, trainer.device, 0, 2, lambda: False, lambda *_: None)
    model = load_model(run.folder)
    assert model.has_tables() and not bare.has_tables()
    powers = [model.of_class(kind).calibration[0, :, 0, 2] for kind in (0, 1)]
    materials = zip(two.materials, powers, strict=True)
    for kind, (material, power) in enumerate(materials):
        assert torch.equal(power, calibration(bare.of_class(kind), material, 0)[0, :, 0, 2])
    assert powers[1][3] > 1.5 * powers[0][3]  # coarse grains have longer waves
    counts = torch.randint(0, 2, (1, 2, 16, 16), generator=torch.Generator().manual_seed(0))
    dose = torch.tensor([20.0], dtype=torch.float64)
    for kind in (0, 1, None):
        given = Given() if kind is None else Given(kinds=torch.tensor([kind]))
        plain = bare.clean(counts, dose, lattice, given)
        assert torch.equal(model.clean(counts, dose, lattice, given), plain)  # of several materials
        one = model.of_class(kind).clean(counts, dose, lattice)
        assert torch.allclose(one, plain) == (kind is None)
        assert torch.equal(bare.of_class(kind).clean(counts, dose, lattice), plain)


def test_one_table_for_all_classes_is_read(two, tmp_path):
    """As earlier releases wrote it."""
    model = random_network(make_config(two, SETTINGS))
    model.coupling = torch.rand(coupling_shape(2))
    save_config(tmp_path, model.config)
    save_tensors(tmp_path / "model.safetensors", model.state_dict())
    for kind in (0, 1):
        assert torch.equal(load_model(tmp_path).of_class(kind).coupling, model.coupling)


def test_a_class_that_needs_no_table_gets_one_that_does_nothing(two):
    model = random_network(make_config(two, SETTINGS))
    classes = [model.of_class(kind) for kind in (0, 1)]
    classes[1].coupling = torch.tensor([[0.0, 0.3], [0.3, 0.0]])
    classes[0].calibration = torch.ones(14, 10, 2, 4)
    model.take_tables(classes)
    counts, lattice = torch.ones(1, 2, 8, 8, dtype=torch.int64), Lattice((8, 8))
    dose = torch.tensor([3.0], dtype=torch.float64)
    bare = random_network(model.config)
    assert torch.equal(model.of_class(1).coupling, classes[1].coupling) and not model.of_class(0).coupling.any()
    model.coupling_of_classes = None
    one, plain = (each.of_class(1).undo(counts, dose, lattice) for each in (model, bare))
    assert torch.allclose(one, plain, atol=1e-5)


def test_a_run_on_classes_is_saved_and_read(two, tmp_path):
    settings = replace(SETTINGS, steps=2, batch=4, validate_every=2)
    trainer = Trainer(make_config(two, settings), settings, two, torch.device("cpu"))
    run = Run.create(tmp_path / "run", two, trainer.model.config, settings)
    *_, last = trainer.run()
    run.checkpoint(trainer, last.best)
    assert load_model(run.folder).config == trainer.model.config
