"""The studies run, in a short version, and count what they say they count."""

import itertools
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.network.calibration import shape
from dsdcli.network.checkpoint import save_config, save_tensors
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.network.model import UndoNet
from dsdcli.sampling.sweeps import PlaneSweeps
from dsdcli.training.loss import losses
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from tests.conftest import blobs, save_model
from tests.intensity_data import ONE, make_intensities, random_intensity_model

STUDIES = Path(__file__).parents[2] / "examples/studies"


@pytest.fixture
def model(rock, tmp_path, monkeypatch):
    """A small untrained model of the two-phase material, for small doses, which take tau-leaping fewer steps."""
    monkeypatch.setattr("dsdcli.training.run.LENGTH", 16)
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, rock, (16, 16))
    return folder


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """Run a study in this process, in a folder of its own: its stdout."""
    monkeypatch.syspath_prepend(STUDIES)
    monkeypatch.chdir(tmp_path)

    def run(script, *words, code=None):
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        try:
            runpy.run_path(str(STUDIES / script), run_name="__main__")
        except SystemExit as end:
            assert end.code == code
        return capsys.readouterr().out

    return run


def test_exactness(study):
    said = study("exactness.py", "-n", 8, "--steps", 1, code=0)
    assert re.search(r"^8 samples, .* 8 have requested == achieved counts, 0 have not$", said, re.MULTILINE)
    assert re.search(r"^8 images with \d+ holes, .* 8 exact in every hole, 8 untouched outside$", said, re.MULTILINE)
    assert re.search(r"^8 maps with \d+ cells .* 8 exact in every cell, 8 with all known", said, re.MULTILINE)
    assert re.search(r"^8 images, .* voxels known: 8 with exact totals, 8 with all known", said, re.MULTILINE)
    assert re.search(r"^1 volumes, \d+ voxels: 1 have requested == achieved counts, 0 have not$", said, re.MULTILINE)


def test_known_voxels(study, model, rock):
    said = study("known_voxels.py", model, rock.path, "-n", 2, "--crops", 1, "--steps", 1, "--shares", 0.05)
    rows = [row.split(" | ") for row in said.splitlines() if row.startswith("| 5 %")]
    assert [row[1] for row in rows] == [str(model), "kriging", "nearest"]
    assert all(float(row[2].split()[0]) > 40 for row in rows)


def test_benchmark(study, model):
    said = study("benchmark_generate.py", "--model", model, "-n", 3, "--batch", 2, "--steps", 4)
    assert said.startswith("3 samples of 16x16 with model on ")
    assert "9 evaluations a sample, 18 batches through the network" in said


def test_benchmark_of_training(study, rock):
    said = study("benchmark_train.py", rock.path, "--size", "16x16", "--batch", 2, "--steps", 2)
    assert "outside the network (first three)" in said


def test_large_dataset(study):
    said = study("large_dataset.py", "--side", 48, "--steps", 1, "--crop", "8x8", "--batch", 2)
    assert "48^3 voxels" in said


def test_memory(study, tmp_path):
    said = study("memory.py", "--numbers", 4, "--sizes", "16x8x8", "-o", "memory.png")
    assert re.search(r"^4 samples: peak \d+ MiB, \d+ s$", said, re.MULTILINE)
    assert re.search(r"^16x8x8: peak \d+ MiB, \d+ bytes a voxel, \d+ s$", said, re.MULTILINE)
    assert (tmp_path / "memory.png").is_file()


def test_steering(study, tmp_path, rock, model):
    words = ("-n", 4, "--steps", 3, "--walkers", 4, "--quantities", "interface", "-o", "steered.png")
    said = study("steering.py", model, rock.path, *words)
    rows = [row.split(" | ") for row in said.splitlines() if row.startswith("| interface 1/um")]
    assert [float(row[2].split()[0]) < float(row[1].split()[0]) for row in rows] == [True, False]
    assert "Counts are exact in all samples" in said
    assert Image.open(tmp_path / "steered.png").size


def test_any_size(study, tmp_path, rock, model):
    words = ("--real", rock.path, "--sizes", 16, 32, 64, "--area", 512, "--steps", 1, "-o", "a.png")
    said = study("any_size.py", model, *words)
    assert "| noflux | 2 of 16x16 | 16x16 |" in said
    assert "| periodic | 1 of 64x64 | 32x32 |" in said  # no real crops are so large
    assert "every count exact" in said
    assert Image.open(tmp_path / "a.png").size == (64, 64)


def test_round_trip(study, rock, model):
    said = study("round_trip.py", model, rock.path, "-n", 4, "--doses", 0.5, "--ends", 0.06, 0.02, "--steps", 2)
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith(("| 0", "| start"))]
    assert [row[:3] for row in rows] == [
        ["| 0.06", "", "0.06"], ["| 0.02", "", "0.02"], ["| 0.5", "1", "0.06"], ["| 0.5", "1", "0.02"],
        ["| start", "2", "0.06"], ["| start", "2", "0.02"]
    ]  # fmt: skip
    assert len({len(row) for row in rows}) == 1


def test_waves(study, tmp_path, rock, model):
    said = study("waves.py", model, rock.path, "-n", 8, "--seeds", 1, 2, "--steps", 2)
    rows = [line.strip("| ").split(" | ") for line in said.splitlines()]
    assert rows[0] == [
        "wavelength",
        *(f"{of}: pore / grain" for of in ("power", "growth lacks, %", "seed 1", "seed 2")),
    ]
    assert [row[0] for row in rows[2:]] == ["33", "24", "17", "13", "8", "6", "4"]
    counts = make_intensities(tmp_path / "map.dsd.h5")
    network = random_intensity_model(ONE)
    network.calibration = torch.zeros(shape(1))
    save_config(tmp_path, network.config)
    save_tensors(tmp_path / "model.safetensors", network.state_dict())
    said = study("waves.py", tmp_path, counts.path, "--size", "16x16", "-n", 8, "--seeds", "--steps", 2)
    assert said.splitlines()[0] == "| wavelength | power: density | growth lacks, %: density | calibrated: density |"


def test_rims_and_a_second_look(study, tmp_path, rock, model):
    """Given to weights that lack it, and nothing else of them changes."""
    assert study("second_look.py", model, rock.path, "-o", "again", "--steps", 2).startswith("again: ")
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "again"))
    assert {name for name in after if not name.startswith("near.")} == set(before) != set(after)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    said = study("rims.py", "again", rock.path, "-n", 20)
    rows = [line.strip("| ").split(" | ") for line in said.splitlines()]
    assert {len(row) for row in rows} == {9} and rows[0][:3] == [
        "dose",
        "in holes, network alone",
        "in holes, second look",
    ]
    assert all(re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d\)", cell) for row in rows[2:] for cell in (*row[1:3], *row[5:7]))
    assert all(0 < float(cell) < 2 for row in rows[2:] for cell in (*row[3:5], *row[7:9]))


def test_long_waves(study, tmp_path, rock, model):
    """The weights stay; without a folder to write, tables of every phase and nothing else."""
    assert study("long_waves.py", model, rock.path, "-o", "again").startswith("again: exponents ")
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "again"))
    assert set(before) == set(after) and all(torch.equal(after[name], tensor) for name, tensor in before.items())
    said = study("long_waves.py", "again", rock.path, "--show", 60)
    rows = [line[2:-2].split(" | ") for line in said.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == 2 * ["", "---", "real", "law", "Gaussian, f (1 - f)"]
    assert {len(row) for row in rows} == {8} and all(float(cell) > 0 for cell in rows[2][1:-1])
    study("long_waves.py", model, rock.path, code=2)


def test_sweeps(study, rock, model):
    said = study("sweeps.py", model, rock.path, "--size", 16, "-n", 1, "default", "sweeps=3,leaps=1")
    rows = [line.strip("| ").split(" | ") for line in said.splitlines()]
    assert [row[0] for row in rows[2:6]] == ["training cubes", "held-out cubes", "default", "sweeps=3, leaps=1"]
    assert [row[1] for row in rows[4:6]] == [str(PlaneSweeps().evaluations), "12"]  # three of all orientations
    assert rows[7] == ["wavelength", "training cubes", "beginning", "default", "sweeps=3, leaps=1"]
    assert [row[0] for row in rows[9:]] == ["24", "17", "13", "8", "6", "4"]


def test_digits(study, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8,), blocks=1, fine=4),) * 2)
    quick = ("--max-time", "1s", "--steps", 1, "--judge-steps", 300)
    said = study("digits.py", "digits", "-n", 2, *quick, "-o", "digits.png")
    rows = [line.strip("| ").split(" | ") for line in said.splitlines()]
    assert rows[2][:2] == ["held out", "359"] and float(rows[2][-1].split()[0]) > 95  # the classifier knows digits
    assert [(row[1], row[3]) for row in rows[3:7]] == [("20", "all")] * 3 + [("10", "all")]
    less, same, more = (float(row[2]) for row in rows[3:6])
    assert less < same < more and more == pytest.approx(2 * less, rel=0.02)
    assert Image.open(tmp_path / "digits.png").size


def test_quality_of_fillings(study, tmp_path, rock, model):
    train, heldout = (LabelledImage(blobs((2, 80, 80), [0.3], seed), "ZYX") for seed in (0, 1))
    path = tmp_path / "wide.dsd.h5"
    Dataset(path, rock.phases, 2.0, "um", "z", 1, {"sources": []}, (train,), (heldout,)).write(path)
    said = study("inpaint_quality.py", model, path, "-n", 16, "--steps", 1, "-o", "holes.png")
    assert "8 holes of each kind in 2 held-out crops of 80x80, each filled 2 times" in said
    assert len(re.findall(r"^\| (?:dsd|pasted piece|random voxels) \| \d", said, re.MULTILINE)) == 6
    assert Image.open(tmp_path / "holes.png").size


def test_correlation_across_a_rim_counts_every_pair(monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)
    from inpaint_measures import covariance

    rng = np.random.default_rng(0)
    image, hole = rng.integers(3, size=(5, 6)), rng.random((5, 6)) < 0.4
    found = covariance(image, hole, ~hole, 3)
    same = np.zeros((3, 20, 2))
    for x, y in itertools.product(np.argwhere(hole), np.argwhere(~hole)):
        lag = int(np.hypot(*(x - y)))
        for phase in range(3):
            same[phase, lag] += (image[*x] == image[*y] == phase, 1)
    for phase in range(3):
        expected = same[phase, 1:5, 0] / same[phase, 1:5, 1]
        product = (image[hole] == phase).mean() * (image[~hole] == phase).mean()
        np.testing.assert_allclose(found[phase, :4], expected - product, atol=1e-12)


def test_sampler_study(study, rock, model):
    said = study("sampler_study.py", rock.path, "--model", model, "--quick", "-o", "study.png")
    for title in ("Oracle, ", "leaps: model, ", "decoding: model, ", "curve: model, ", "cfl: model, "):
        assert f"\n{title}" in said
    network = said[said.index("\ncfl: model, ") :]
    assert re.search(r"^\| tau-leaping, bound 1 \| \d{2,} \|", network, re.MULTILINE)
    assert Image.open("study.png").width > 800


def test_a_random_image_of_fixed_size_has_its_size_and_goes_by_the_probabilities(monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)
    from sampler_variants import _drawn

    probability = np.repeat([0.02, 0.5, 0.9], 400)
    draws = np.array([_drawn(probability, 568, np.random.default_rng(seed)) for seed in range(20)])
    assert (draws.sum(1) == 568).all()
    np.testing.assert_allclose(draws.reshape(20, 3, 400).mean((0, 2)), [0.02, 0.5, 0.9], atol=0.03)


def test_training_study(study, rock, monkeypatch, capsys):
    import training_study
    from training_variants import weighted

    for name, value in {"CHANNELS": (8, 8, 8), "JUDGED": 16, "BLOCK": 8}.items():
        monkeypatch.setattr(training_study, name, value)
    config = make_config(rock, TrainSettings("tiny", (16, 16), 1, None, 32, 1e-3, 0, "noflux", "float32"))
    torch.manual_seed(0)
    model = UndoNet(config)
    torch.nn.init.normal_(model.net.last.weight, std=0.1)
    walked = training_study.judged_walks(config, rock)[0]
    ours, expected = weighted(model, walked), losses(model, walked)
    assert (ours.undo.item(), ours.clean.item()) == pytest.approx((expected.undo.item(), expected.clean.item()), 1e-3)

    names = "doses denser at small s (weighted back),attention at the coarsest level,origins not balanced"
    words = [str(rock.path), "--size", "16x16", "--steps", "3", "--variants", names, "--fidelity", "4"]
    monkeypatch.setattr(sys, "argv", ["training_study.py", *words])
    training_study.main()
    head, rule, *rows = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines())
    assert head[0] == "variant" and set(rule) == {"---"}
    assert [(row[0], row[3]) for row in rows] == [(name, "3") for name in names.split(",")]
    assert all(float(undo) > 0 and float(clean) > 0 for *_, undo, clean, _, _, _ in rows)


def test_every_variant_of_the_training_differs_from_the_recipe_in_something(monkeypatch, rock):
    monkeypatch.syspath_prepend(STUDIES)
    from training_study import BATCH
    from training_variants import CHANNELS, Variant, variants

    settings = TrainSettings("tiny", (16, 16), 1, None, BATCH, 1e-3, 0, "noflux", "float32", holes=0.0, large=0.0)
    recipe, architecture = Variant(), Architecture(CHANNELS)
    same = [
        name
        for name, variant in variants(make_config(rock, settings)).items()
        if replace(settings, **variant.settings) == settings
        and replace(architecture, **variant.architecture) == architecture
        and replace(variant, settings=recipe.settings, architecture=recipe.architecture) == recipe
    ]
    assert same == ["base"]


def test_flow_study(study, rock):
    said = study("flow_study.py", "--sides", 8, 12, "--cube", 12, "-n", 1, "--real", rock.path)
    assert "| slit of 1 | 1.0000 | 1.5000 |" in said
    assert re.search(r"^\| order of convergence, ducts from 4 \| (1\.[89]|2\.)", said, re.MULTILINE)
    assert len(re.findall(r"^\| 0 \| [zyx] \|", said, re.MULTILINE)) == 6
    assert "1 held-out cubes of" in said


def test_hostile_arguments_end_in_one_line(study, monkeypatch):
    """Some of the cases that `examples/studies/fuzz_arguments.py` makes for as long as anyone likes."""
    monkeypatch.syspath_prepend(STUDIES)
    import fuzz_arguments

    monkeypatch.setitem(PRESETS, "tiny", (fuzz_arguments.SMALLEST,) * 2)
    seeds = Path("seeds")
    seeds.mkdir()
    fuzz_arguments.make_seeds(seeds)
    for command, (arguments, quick, _) in fuzz_arguments.COMMANDS.items():
        words = fuzz_arguments.line(command, arguments or ["rock.tif"] * (command == "info"), quick)
        assert fuzz_arguments.call(words, seeds) == "done", words  # so that it is the hostile values that are refused
    outcomes = {fuzz_arguments.run(seeds.resolve(), 0, number) for number in range(60)}
    assert outcomes == {"done", "refused"}


def test_a_call_that_ends_badly_is_noticed(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(STUDIES)
    import fuzz_arguments

    (tmp_path / "scan.tif").write_text("a scan")

    def broken():
        raise KeyError("oh")

    def harmful():
        Path("scan.tif").write_text("gone")
        sys.exit(0)

    def half():
        Path(".dsd-1").write_text("half")
        sys.exit(0)

    for dsd, said in (
        (broken, "KeyError"),
        (harmful, "changed"),
        (half, "left"),
        (lambda: sys.exit(7), "exit code 7"),
        (lambda: sys.exit(2), "exit code 2"),  # without a line that says why
    ):
        monkeypatch.setattr(fuzz_arguments, "dsd", dsd)
        with pytest.raises(AssertionError, match=said):
            fuzz_arguments.call(["info", "a"], tmp_path)


def test_coverage_of_intervals(study):
    said = study("rev_coverage.py", "--windows", 3, "--sides", 24)
    rows = [row.split(" | ") for row in said.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| discs 0.15", "| discs 0.4", "| spheres 0.15", "| spheres 0.4"]
    assert [row[-1] for row in rows] == ["108 |", "98 |", "254 |", "224 |"]  # of the integral range


def test_targets(study, tmp_path, rock, monkeypatch):
    from dsdcli.pipeline.train import train

    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    monkeypatch.setattr("dsdcli.training.told.BANK_CROPS", 256)
    words = {"size": (16, 16), "steps": 2, "batch": 4, "device": "cpu", "condition": ["interface"]}
    train(rock, out=tmp_path / "told", **words)
    said = study("targets.py", tmp_path / "told", rock.path, "-n", 4, "--steps", 2, "-o", "asked.png")
    rows = [row.split(" | ") for row in said.splitlines() if row.startswith("| interface 1/um")]
    assert [float(row[3]) < float(row[2].split()[0]) for row in rows] == [True, False]
    assert "Counts are exact in all samples" in said
    assert Image.open(tmp_path / "asked.png").size
    new = ("--max-time", "1s", "--from", tmp_path / "told", "--batch", 4, "--quantities", "interface")
    study("targets.py", tmp_path / "all", rock.path, *new, "-n", 4, "--steps", 2, "-o", "all.png")
    assert (tmp_path / "all" / "best.safetensors").is_file()


def test_two_rocks(study, tmp_path, rock, model):
    both = [
        tuple(LabelledImage(image.array, image.axes, name) for name in ("a", "b") for image in images)
        for images in (rock.train, rock.heldout)
    ]
    classes = replace(rock, path=tmp_path / "two.dsd.h5", train=both[0], heldout=both[1])
    classes.write(classes.path)
    save_model(tmp_path / "both", classes, (16, 16))
    said = study("two_rocks.py", classes.path, tmp_path / "both", model, model, "-n", 4, "--steps", 1, "-o", "two.png")
    assert sum(row.startswith(("| a | ", "| b | ")) for row in said.splitlines()) >= 8
    assert Image.open(tmp_path / "two.png").size
