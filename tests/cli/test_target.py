"""Targets by the command: a model that was told of a number makes samples that are asked to have it."""

import json

import pytest

from dsdcli.data.samples import read_samples
from dsdcli.evaluation.quantity import Quantity
from dsdcli.network.config import PRESETS, Architecture
from tests.conftest import save_model


@pytest.fixture
def run(dsd, rock, tmp_path, monkeypatch):
    """A run of two steps that is told of interface and chords, in this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    monkeypatch.setattr("dsdcli.training.told.BANK_CROPS", 300)
    monkeypatch.setattr("dsdcli.training.told.VALIDATION_CROPS", 32)
    words = ("--size", "16x16", "--steps", 2, "--batch", 4, "--condition", "interface", "--condition", "chords.grain")
    code, out, err = dsd("train", rock.path, *words, "-o", "run")
    assert (code, out.strip()) == (0, "run")
    assert "measuring interface, chords.grain on 332 crops, once; kept in " in err
    return tmp_path / "run"


def test_record_says_what_was_asked_for_and_achieved(dsd, run):
    words = ("generate", "--model", run, "-n", 2, "--steps", 3, "--porosity", 0.3, "--seed", 1)
    code, out, err = dsd(*words, "--target", "interface=0.1", "--guidance", 1.5, "-o", "a.tif")
    assert (code, out.strip()) == (0, "a.tif")
    audit = json.loads((run.parent / "a.json").read_text())
    config = json.loads((run / "config.json").read_text())["properties"][0]
    asked = audit["targets"]["interface"]
    assert (asked["value"], asked["unit"]) == (0.1, "1/um")
    assert asked["trained"] == pytest.approx([config["low"] / 2, config["high"] / 2])  # voxels of 2 um
    assert (audit["guidance"], audit["evaluations_per_sample"]) == (1.5, 14)
    quantity = Quantity.of("interface", ("pore", "grain"), 2)
    for image, entry in zip(read_samples(run.parent / "a.tif").stack, audit["samples"], strict=True):
        assert entry["targeted"]["interface"] == pytest.approx(quantity.measure(image) / 2)
        assert entry["achieved"] == entry["requested"]
    assert "interface: 0.1 1/um asked for, " in err
    assert "WARNING" not in err


def test_several_targets_and_one_beyond_training(dsd, run):
    words = ("generate", "--model", run, "-n", 2, "--steps", 2, "--seed", 1, "-o", "b.tif")
    code, _, err = dsd(*words, "--target", "interface=0.1", "--target", "chords.grain=900")
    assert code == 0
    assert "WARNING: chords.grain of 900 um is outside what training saw, " in err
    assert "interface of" not in err
    assert set(json.loads((run.parent / "b.json").read_text())["targets"]) == {"interface", "chords.grain"}


def test_steering_and_a_target_go_together(dsd, run):
    words = ("generate", "--model", run, "-n", 1, "--steps", 4, "--seed", 1, "-o", "c.tif")
    code, _, err = dsd(*words, "--target", "interface=0.1", "--steer", "euler=0:0.1", "--walkers", 2)
    assert code == 0, err
    audit = json.loads((run.parent / "c.json").read_text())
    assert audit["samples"][0].keys() >= {"targeted", "steered"}


def test_what_cannot_be_asked_for_is_one_line(dsd, run, rock):
    save_model(run.parent / "plain", rock, (16, 16))
    for words, message in (
        (
            ("--model", run, "--target", "euler=1"),
            "run is told interface, chords.grain; train one with --condition euler",
        ),
        (("--model", "plain", "--target", "interface=1"), "plain is told no numbers"),
        (("--model", run, "--target", "interface"), "write NAME=V"),
        (("--model", run, "--target", "interface=1", "--target", "interface=2"), "twice"),
        (("--model", run, "--guidance", 2), "name one by --class or --target"),
        (("--model", run, "--target", "interface=0.1", "--size", "16x16x16"), "leave out --target"),
    ):
        code, out, err = dsd("generate", "-n", 1, *words)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
    for words, message in (
        (("--condition", "wetness"), "there are "),
        (("--condition", "interface", "--condition", "interface"), "given twice"),
    ):
        code, out, err = dsd("train", rock.path, "--size", "16x16", "--steps", 1, *words, "-o", "x")
        assert (code, out) == (2, "")
        assert message in err.strip().splitlines()[-1]
        assert not (run.parent / "x").exists()
