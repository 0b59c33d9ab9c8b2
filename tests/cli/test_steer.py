"""Steering by the command: the record says what was asked for and what came of it."""

import json

import pytest

from dsdcli.data.samples import read_samples
from dsdcli.evaluation.quantity import Quantity
from tests.conftest import save_model


@pytest.fixture
def model(rock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "model", rock, (16, 16))
    return tmp_path / "model"


def test_record_says_what_was_asked_for_and_achieved(dsd, model):
    words = ("generate", "--model", model, "-n", 2, "--steps", 3, "--porosity", 0.3, "--seed", 1)
    more = ("--steer", "interface=0.1:0.01", "--steer", "chords.grain=8", "--walkers", 3, "-o", "a.tif")
    code, out, err = dsd(*words, *more)
    assert (code, out.strip()) == (0, "a.tif")
    audit = json.loads((model.parent / "a.json").read_text())
    assert audit["steering"] == {
        "walkers": 3,
        "targets": {
            "interface": {"value": 0.1, "tolerance": 0.01, "unit": "1/um"},
            "chords.grain": {"value": 8.0, "tolerance": 0.16, "unit": "um"},
        },
    }
    samples = read_samples(model.parent / "a.tif")
    for image, entry in zip(samples.stack, audit["samples"], strict=True):
        for name, power in (("interface", -1), ("chords.grain", 1)):
            measured = Quantity.of(name, ("pore", "grain"), 2).measure(image)
            assert entry["steered"][name] == pytest.approx(measured * 2.0**power)  # voxels of 2 um
        assert entry["achieved"] == entry["requested"]
    assert audit["evaluations_per_sample"] > 3 * 7
    assert "interface: 0.1 1/um asked for, " in err


def test_an_image_without_the_number_says_so(dsd, model):
    words = ("generate", "--model", model, "-n", 2, "--steps", 3, "--counts", "pore=2", "-o", "b.tif")
    code, _, err = dsd(*words, "--steer", "tortuosity.y=2")
    assert code == 0
    assert "2 of 2 samples have no such thing" in err
    audit = json.loads((model.parent / "b.json").read_text())
    assert [entry["steered"] for entry in audit["samples"]] == [{"tortuosity.y": None}] * 2


def test_cells_stay_exact(dsd, model):
    words = ("generate", "--model", model, "-n", 2, "--steps", 3, "--profile", "pore=y:0.2..0.4", "--exact-in", 8)
    code, _, _ = dsd(*words, "--steer", "interface=0.1", "--walkers", 3, "-o", "c.tif")
    assert code == 0
    cells = [entry["cells"] for entry in json.loads((model.parent / "c.json").read_text())["samples"]]
    assert cells[0] == cells[1]
    assert cells[0]["pore"][0] < cells[0]["pore"][-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steer", "wetness=1"], "interface, triple-junction"),
        (["--steer", "memorisation=1"], "no number of one image"),
        (["--steer", "diffusivity.z=1"], "diffusivity.pore.y"),
        (["--steer", "interface"], "NAME=VALUE:TOLERANCE"),
        (["--steer", "interface=0.1:0"], "tolerance above 0"),
        (["--steer", "euler=0"], "tolerance above 0"),
        (["--steer", "interface=1", "--steer", "interface=2"], "twice"),
        (["--walkers", "4"], "--steer"),
        (["--steer", "interface=1", "--walkers", "100000"], "--walkers 100000"),
        (["--steer", "interface=1", "--sampler", "cfl"], "leave out --sampler cfl"),
        (["--steer", "interface=1", "--scheduler", "tcp://127.0.0.1:1"], "make parts of the job by --part"),
        (["--steer", "interface=1", "--size", "16x16x16"], "take a 3D model"),
    ],
)
def test_what_cannot_be_steered_to_is_one_line(dsd, model, words, message):
    code, out, err = dsd("generate", "--model", model, "-n", 1, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
