"""The network of intensities says the same of few particles and of many, and its file tells what it is."""

import json
from dataclasses import replace

import pytest
import torch

from dsdcli.data.species import Species
from dsdcli.errors import DataError
from dsdcli.network.checkpoint import load_model, save_config, save_tensors
from dsdcli.network.config import Material, ModelConfig
from dsdcli.network.intensity import IntensityNet
from dsdcli.process.lattice import Lattice
from tests.conftest import random_model
from tests.intensity_data import ONE, TWO, random_intensity_model


def test_a_config_of_intensities_comes_back_and_others_do_not_speak_of_species():
    classes = (Material("a", (3.0,), ((1.0,),)),)
    for config in (random_intensity_model(TWO).config, random_intensity_model(ONE, classes=classes).config):
        value = json.loads(json.dumps(config.to_json()))
        assert ModelConfig.from_json(value) == config
    assert "species" not in random_model(2, 2).config.to_json()
    for key, wrong in (("cap", 0), ("dtype", "float32"), ("name", "")):
        value = random_intensity_model(ONE).config.to_json()
        value["species"] = [{**value["species"][0], key: wrong}]
        with pytest.raises(DataError, match="species"):
            ModelConfig.from_json(value)


def test_a_saved_model_is_loaded_as_what_it_is(tmp_path):
    model = random_intensity_model(TWO)
    save_config(tmp_path, model.config)
    save_tensors(tmp_path / "model.safetensors", model.state_dict())
    loaded = load_model(tmp_path)
    assert isinstance(loaded, IntensityNet)
    counts, dose = torch.randint(0, 12, (2, 2, 8, 8)), torch.tensor([0.1, 3.0])
    for name in ("undo", "clean"):
        one, other = (getattr(each, name)(counts, dose, Lattice((8, 8))) for each in (model, loaded))
        assert torch.equal(one, other)


@pytest.mark.parametrize("cap", [1, 16, 255, 65535])
def test_guesses_lie_between_nothing_and_the_cap_and_nothing_goes_into_walls(cap):
    model, lattice = random_intensity_model((Species("a", cap, "uint16"),)), Lattice((6, 9))
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, cap + 1, (3, 1, 6, 9), generator=generator)
    dose = torch.tensor([0.02, 1.0, 40.0], dtype=torch.float64)
    clean, undo = (head(counts, dose, lattice) for head in (model.clean, model.undo))
    assert clean.min() >= 0 and clean.max() <= cap
    assert torch.isfinite(undo).all() and undo.min() >= 0
    assert (undo * ~lattice.open_bonds()).abs().max() == 0


def test_without_corrections_few_hops_leave_the_counts_and_many_leave_their_mean():
    model = random_intensity_model(ONE)
    torch.nn.init.zeros_(model.net.last.weight)
    counts = torch.randint(1, 12, (2, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    clean = model.clean(counts, torch.tensor([1e-4, 30.0]), Lattice((8, 8)))
    assert torch.allclose(clean[0], counts[0].double(), atol=0.02)
    assert torch.allclose(clean[1], counts[1].double().mean().expand(1, 8, 8), atol=1e-3)


def test_what_is_known_as_a_class_changes_the_guess():
    classes = tuple(Material(name, (3.0,), ((1.0,),)) for name in "ab")
    model, lattice = random_intensity_model(ONE, classes=classes), Lattice((8, 8))
    assert replace(model.config, classes=()) != model.config
    counts, dose = torch.full((1, 1, 8, 8), 3), torch.tensor([1.0])
    from dsdcli.network.model import Given

    told = [model.clean(counts, dose, lattice, Given(kinds=torch.tensor([k]))) for k in (-1, 0, 1)]
    assert not torch.equal(told[0], told[1]) and not torch.equal(told[1], told[2])
