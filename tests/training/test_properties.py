"""A model that is told numbers of its crops: what it is told counts, what it is not told does not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.errors import DataError, UsageError
from dsdcli.evaluation.quantity import Quantity
from dsdcli.network.config import PRESETS, Architecture, ModelConfig, Property
from dsdcli.network.model import Given, UndoNet
from dsdcli.pipeline.properties import measured_bank, measured_beside
from dsdcli.pipeline.train import train
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice
from dsdcli.ranks import Ranks
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.guidance import Guided
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from dsdcli.training.told import Bank, draw_told, validation_crops
from dsdcli.training.trainer import Trainer
from tests.conftest import blobs, write_dataset

SETTINGS = TrainSettings(
    "tiny", (16, 16), 90, None, 16, 1e-2, 0, "noflux", "float32", holes=0.0, large=0.0, condition=("interface",)
)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    monkeypatch.setattr("dsdcli.training.run.LENGTH", 16)
    monkeypatch.setattr("dsdcli.training.told.BANK_CROPS", 300)
    monkeypatch.setattr("dsdcli.training.told.VALIDATION_CROPS", 32)


@pytest.fixture
def mixed(rock, tmp_path):
    """Slices of fine and of coarse grains: their interface differs, and nothing else that the network is told."""
    train_, heldout = (
        np.concatenate([blobs((n, 32, 32), [0.3], seed, width) for width in (0.8, 2.5)])
        for seed, n in ((0, 12), (1, 8))
    )
    return write_dataset(tmp_path / "mixed.dsd.h5", rock.phases, train_, heldout)


def faces(images):
    return float(np.mean([(np.diff(images.astype(int), axis=axis) != 0).mean() for axis in (1, 2)]))


def told_config(dataset, settings=SETTINGS):
    bank = measured_bank(dataset, settings)
    return replace(make_config(dataset, settings), properties=bank.properties), bank


def random_network(config):
    torch.manual_seed(0)
    model = UndoNet(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.net.last.weight, std=0.2)
    return model


def test_the_bank_knows_what_its_crops_have(mixed):
    settings = replace(SETTINGS, condition=("interface", "diffusivity.grain.x"))
    bank = measured_bank(mixed, settings)
    assert [each.name for each in bank.properties] == ["interface", "diffusivity.grain.x"]
    names = [phase.name for phase in mixed.phases]
    for column, each in enumerate(bank.properties):
        quantity = Quantity.of(each.name, names, 2)
        for row in (0, 7, 299):
            value = quantity.measure(bank.crops[row])
            assert bank.told.properties[row, column] == pytest.approx(each.standardised(value), abs=1e-5)
            assert each.low <= value <= each.high
        assert bank.told.properties[:, column].mean() == pytest.approx(0, abs=1e-5)
        assert bank.told.properties[:, column].std() == pytest.approx(1, abs=1e-5)


def test_what_is_told_of_a_drawn_crop_is_true_of_it(mixed):
    """Crops are flipped, and what is told of an axis still holds; a share is told nothing, wider crops neither."""
    settings = replace(SETTINGS, condition=("interface", "chords.grain"))
    bank, rng = measured_bank(mixed, settings), np.random.default_rng(0)
    crops, told = draw_told(mixed, bank, 400, (16, 16), rng, unconditional=0.2)
    numbers = [Quantity.of(each.name, ["pore", "grain"], 2) for each in bank.properties]
    for crop, values in zip(crops, told.properties, strict=True):
        for quantity, each, value in zip(numbers, bank.properties, values, strict=True):
            if not np.isnan(value):
                assert each.standardised(quantity.measure(crop)) == pytest.approx(value, abs=1e-4)
    none = np.isnan(told.properties).all(1).mean()
    assert 0.2 < none < 0.36  # 0.2, and 0.8 * 0.3^2 of those that are left out one by one
    assert 0.2 < np.isnan(told.properties).any(1).mean() - none < 0.5
    assert not any(np.array_equal(crop, other) for crop, other in zip(crops, bank.crops, strict=False))
    _, wide = draw_told(mixed, bank, 10, (32, 32), rng, unconditional=0.0)
    assert np.isnan(wide.properties).all()


def test_of_a_crop_with_a_hole_nothing_is_told(mixed):
    """As of an image with a hole that is to be filled, of which nobody knows it."""
    config, bank = told_config(mixed)
    crops, told = validation_crops(mixed, (16, 16), np.random.default_rng(0), bank)
    for holes in (0.0, 1.0):
        trainer = Trainer(config, replace(SETTINGS, holes=holes), mixed, CPU, bank=bank)
        walked = trainer.walk(crops, trainer.domains, np.random.default_rng(1), trainer.generator, told)
        within = np.concatenate([np.full(number, isinstance(domain, Hole)) for number, domain in walked.domains])
        assert within.all() if holes else not within.any()
        assert torch.equal(walked.properties.isnan().all(1), torch.from_numpy(within))


def test_held_out_crops_are_told_what_they_have(mixed):
    bank = measured_bank(mixed, SETTINGS)
    crops, told = validation_crops(mixed, (16, 16), np.random.default_rng(0), bank)
    quantity = Quantity.of("interface", ["pore", "grain"], 2)
    for crop, value in zip(crops[:5], told.properties[:5, 0], strict=True):
        assert bank.properties[0].standardised(quantity.measure(crop)) == pytest.approx(value, abs=1e-4)


def test_measured_once_beside_the_dataset_which_stays_as_it_is(mixed, monkeypatch):
    before = mixed.path.read_bytes()
    first = measured_bank(mixed, SETTINGS)
    assert mixed.path.read_bytes() == before
    assert measured_beside(mixed).is_file()

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("dsdcli.evaluation.workers.measure", never)
    again = measured_bank(Dataset.open(mixed.path), SETTINGS)
    assert again.properties == first.properties
    assert np.array_equal(again.told.properties, first.told.properties)


def test_numbers_that_say_nothing_of_crops_are_refused():
    crops, kinds = np.zeros((300, 4, 4), np.uint8), np.full(300, -1)
    for column, message in (
        (np.ones(300), "the same for all"),
        (np.where(np.arange(300) < 9, np.arange(300), np.inf), "only 9 of 300"),
    ):
        with pytest.raises(UsageError, match=message):
            Bank.of(["x"], crops, kinds, column[:, None], column[:32, None])


def test_what_is_told_decides_what_is_made(mixed):
    """Trained briefly, a model makes more interface where it is told of more; guidance exaggerates it."""
    config, bank = told_config(mixed)
    trainer = Trainer(config, SETTINGS, mixed, CPU, bank=bank)
    while not trainer.finished():
        trainer.train_step(trainer.learning_rate())
        trainer.step += 1
    totals = np.tile([77, 179], (12, 1))

    def made(told, guidance=1.0):
        how = Trapezoidal(6)
        return faces(
            stack_of(generate(trainer.average, totals, Lattice((16, 16)), how, 0, 12, told=told, guidance=guidance))
        )

    low, none, high = made([-1.0]), made(None), made([1.0])
    assert low < none < high
    assert high > 1.25 * low
    assert made([1.0], guidance=3.0) > high


def test_not_told_is_no_number_to_the_network(mixed):
    model, lattice = random_network(told_config(mixed)[0]), Lattice((8, 8))
    counts, dose = torch.ones(1, 2, 8, 8, dtype=torch.int64), torch.tensor([1.0], dtype=torch.float64)
    mean, none, nothing = (
        model.undo(counts, dose, lattice, Given(properties=values))
        for values in (torch.tensor([[0.0]]), torch.tensor([[np.nan]]), None)
    )
    assert torch.equal(none, nothing)
    assert not torch.equal(mean, none)
    guided = Guided(model, 0.0).undo(counts, dose, lattice, Given(properties=torch.tensor([[0.0]])))
    assert torch.allclose(guided, nothing, rtol=1e-4)


def test_ranks_share_a_batch_of_told_crops(mixed):
    config, bank = told_config(mixed)

    def loss(ranks):
        trainer = Trainer(config, SETTINGS, mixed, CPU, ranks, bank)
        trainer.model = random_network(config)
        return sum(loss.item() for loss in trainer.batch_losses())

    assert sum(loss(Ranks(number, 2)) for number in (0, 1)) == pytest.approx(loss(Ranks()), rel=1e-5)


def test_a_model_says_what_it_can_be_told_and_one_without_is_what_it_was(mixed):
    config, _ = told_config(mixed)
    value = json.loads(json.dumps(config.to_json()))
    assert ModelConfig.from_json(value) == config
    assert value["format_version"] == 7
    older = replace(config, range_exponents=())
    assert older.to_json()["format_version"] == 6
    plain = replace(older, properties=())
    assert "properties" not in plain.to_json()
    assert plain.to_json()["format_version"] == 3
    for wrong in (
        {"deviation": 0.0},
        {"high": -1.0},
        {"mean": "much"},
        {"name": ""},
        {"more": 1},
    ):
        damaged = {**value, "properties": [{**value["properties"][0], **wrong}]}
        with pytest.raises(DataError, match="damaged"):
            ModelConfig.from_json(damaged)


def test_a_model_that_is_told_more_begins_as_the_one_it_starts_from(mixed):
    """Whatever new numbers it is told; those of the same name go on to count, wherever they stand."""
    settings = replace(SETTINGS, condition=("chords.grain", "interface"))
    config, bank = told_config(mixed, settings)
    plain = random_network(replace(config, properties=()))
    trainer = Trainer(config, settings, mixed, CPU, bank=bank)
    trainer.start_from(plain)
    lattice, dose = Lattice((8, 8)), torch.tensor([1.0], dtype=torch.float64)
    counts = torch.ones(1, 2, 8, 8, dtype=torch.int64)
    for values in (None, torch.tensor([[1.0, -2.0]])):
        told = trainer.average.undo(counts, dose, lattice, Given(properties=values))
        assert torch.allclose(told, plain.undo(counts, dose, lattice))
    one = random_network(replace(config, properties=(Property("interface", 0.0, 1.0, 0.0, 1.0),)))
    trainer.start_from(one)
    both = trainer.average.undo(counts, dose, lattice, Given(properties=torch.tensor([[0.7, -2.0]])))
    assert torch.allclose(both, one.undo(counts, dose, lattice, Given(properties=torch.tensor([[-2.0]]))))
    assert not torch.allclose(both, one.undo(counts, dose, lattice))


def test_a_run_that_is_cut_goes_on_with_what_it_is_told(mixed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = {"size": (16, 16), "batch": 4, "validate_every": 2, "device": "cpu", "condition": ["interface"]}
    whole = train(mixed, out="whole", steps=4, **small).run
    train(mixed, out="cut", steps=4, stop=lambda: True, **small)
    train(out="cut", resume=True)
    for name in ("config.json", "last.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (Path(whole) / name).read_bytes()
    with pytest.raises(UsageError, match="leave out condition"):
        train(out="cut", resume=True, condition=["euler"])
