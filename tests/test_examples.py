"""The examples run; the long ones in a short version."""

import itertools
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dsdcli.data.dataset import Dataset, LabelledImage
from dsdcli.network.checkpoint import save_config, save_tensors
from dsdcli.network.config import Architecture
from dsdcli.network.model import UndoNet
from dsdcli.training.loss import losses
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from tests.conftest import blobs

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(tmp_path, script, *words):
    """Run an example as a user does: exit code 0 and its stdout."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def model(rock, tmp_path):
    """A small untrained model of the two-phase material."""
    settings = TrainSettings("tiny", (16, 16), 1, None, 1, 1e-3, 0, "noflux", "float32")
    config = replace(make_config(rock, settings), architecture=Architecture((8, 16)))
    folder = tmp_path / "model"
    folder.mkdir()
    save_config(folder, config)
    save_tensors(folder / "model.safetensors", UndoNet(config).state_dict())
    return folder


def test_toy_rock(tmp_path, dsd):
    assert run(tmp_path, "make_toy_rock.py", "a.tif", "--shape", 10, 12, 14, "--fractions", 0.5, 0.3, 0.2) == "a.tif\n"
    volume = tifffile.imread(tmp_path / "a.tif")
    assert volume.shape == (10, 12, 14)
    assert np.bincount(volume.ravel())[[0, 127, 255]] == pytest.approx([840, 504, 336], abs=1)
    code, _, err = dsd("ingest", tmp_path / "a.tif", "-o", tmp_path / "a.dsd.h5")
    assert code == 0, err
    assert "voxel size 2.5 um (ImageJ)" in err


def test_exactness(tmp_path):
    said = run(tmp_path, "studies/exactness.py", "-n", 8, "--steps", 1)
    assert re.search(r"^8 samples, .* 8 have requested == achieved counts, 0 have not$", said, re.MULTILINE)
    assert re.search(r"^8 images with \d+ holes, .* 8 exact in every hole, 8 untouched outside$", said, re.MULTILINE)


def test_benchmark(tmp_path, model):
    said = run(tmp_path, "studies/benchmark_generate.py", "--model", model, "-n", 3, "--batch", 2, "--steps", 4)
    assert said.startswith("3 samples of 16x16 with model on ")
    assert "9 evaluations a sample, 18 batches through the network" in said


def test_benchmark_of_training(tmp_path, rock):
    said = run(tmp_path, "studies/benchmark_train.py", rock.path, "--size", "16x16", "--batch", 2, "--steps", 2)
    assert "outside the network (first three)" in said


def test_any_size(tmp_path, rock, model):
    words = ("--real", rock.path, "--sizes", 16, 32, 64, "--area", 512, "--steps", 1, "-o", "a.png")
    said = run(tmp_path, "studies/any_size.py", model, *words)
    assert "| noflux | 2 of 16x16 | 16x16 |" in said
    assert "| periodic | 1 of 64x64 | 32x32 |" in said  # no real crops are so large
    assert "every count exact" in said
    assert Image.open(tmp_path / "a.png").size == (64, 64)


def test_round_trip(tmp_path, rock, model):
    said = run(
        tmp_path, "studies/round_trip.py", model, rock.path, "-n", 4, "--doses", 0.5, "--ends", 0.06, 0.02, "--steps", 2
    )
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| 0")]
    assert [row[:3] for row in rows] == [
        ["| 0.06", "", "0.06"], ["| 0.02", "", "0.02"], ["| 0.5", "1", "0.06"], ["| 0.5", "1", "0.02"]
    ]  # fmt: skip
    assert len({len(row) for row in rows}) == 1


def test_quality_of_fillings(tmp_path, rock, model):
    train, heldout = (LabelledImage(blobs((2, 80, 80), [0.3], seed), "ZYX") for seed in (0, 1))
    path = tmp_path / "wide.dsd.h5"
    Dataset(path, rock.phases, 2.0, "um", "z", 1, {"sources": []}, (train,), (heldout,)).write(path)
    said = run(tmp_path, "studies/inpaint_quality.py", model, path, "-n", 16, "--steps", 1, "-o", "holes.png")
    assert "8 holes of each kind in 2 held-out crops of 80x80, each filled 2 times" in said
    assert len(re.findall(r"^\| (?:dsd|pasted piece|random voxels) \| \d", said, re.MULTILINE)) == 6
    assert Image.open(tmp_path / "holes.png").size


def test_correlation_across_a_rim_counts_every_pair():
    example = runpy.run_path(str(EXAMPLES / "studies/inpaint_quality.py"))
    rng = np.random.default_rng(0)
    image, hole = rng.integers(3, size=(5, 6)), rng.random((5, 6)) < 0.4
    found = example["covariance"](image, hole, ~hole, 3)
    same = np.zeros((3, 20, 2))
    for x, y in itertools.product(np.argwhere(hole), np.argwhere(~hole)):
        lag = int(np.hypot(*(x - y)))
        for phase in range(3):
            same[phase, lag] += (image[*x] == image[*y] == phase, 1)
    for phase in range(3):
        expected = same[phase, 1:5, 0] / same[phase, 1:5, 1]
        product = (image[hole] == phase).mean() * (image[~hole] == phase).mean()
        np.testing.assert_allclose(found[phase, :4], expected - product, atol=1e-12)


def test_picture_of_real_beside_generated(tmp_path, rock, model, monkeypatch):
    widths = []
    for flags in ([], ["--curves-only"]):
        words = [str(rock.path), str(model), "-n", "8", "--steps", "2", "-o", str(tmp_path / "picture.png"), *flags]
        monkeypatch.setattr(sys, "argv", ["real_beside_generated.py", *words])
        runpy.run_path(str(EXAMPLES / "real_beside_generated.py"), run_name="__main__")
        widths.append(Image.open(tmp_path / "picture.png").width)
    assert widths[0] > widths[1]  # the real crops are left out


def test_sampler_study(tmp_path, rock, model, monkeypatch, capsys):
    picture = tmp_path / "study.png"
    words = [str(rock.path), "--model", str(model), "--quick", "-o", str(picture)]
    monkeypatch.setattr(sys, "argv", ["sampler_study.py", *words])
    runpy.run_path(str(EXAMPLES / "studies/sampler_study.py"), run_name="__main__")
    said = capsys.readouterr().out
    for title in ("Oracle, ", "leaps: model, ", "decoding: model, ", "curve: model, ", "cfl: model, "):
        assert f"\n{title}" in said
    network = said[said.index("\ncfl: model, ") :]
    assert re.search(r"^\| tau-leaping, bound 1 \| \d{2,} \|", network, re.MULTILINE)
    assert Image.open(picture).width > 800


def test_training_study(rock, monkeypatch, capsys):
    study = runpy.run_path(str(EXAMPLES / "studies/training_study.py"))
    settings = TrainSettings("tiny", (16, 16), 1, None, 32, 1e-3, 0, "noflux", "float32")
    config = replace(make_config(rock, settings), architecture=Architecture((8, 16)))
    torch.manual_seed(0)
    model = UndoNet(config)
    torch.nn.init.normal_(model.net.last.weight, std=0.1)
    walked = study["judged_walks"](config, rock)[0]
    ours, expected = study["weighted"]()(model, walked), losses(model, walked)
    assert (ours.undo.item(), ours.clean.item()) == pytest.approx((expected.undo.item(), expected.clean.item()), 1e-3)

    names = "doses denser at small s (weighted back),attention at the coarsest level,origins not balanced"
    words = [str(rock.path), "--size", "16x16", "--steps", "3", "--variants", names, "--fidelity", "4"]
    monkeypatch.setattr(sys, "argv", ["training_study.py", *words])
    study["main"]()
    head, rule, *rows = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines())
    assert head[0] == "variant" and set(rule) == {"---"}
    assert [(row[0], row[3]) for row in rows] == [(name, "3") for name in names.split(",")]
    assert all(float(undo) > 0 and float(clean) > 0 for *_, undo, clean, _, _, _ in rows)
