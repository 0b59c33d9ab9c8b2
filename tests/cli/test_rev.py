"""`dsd rev` as a user meets it: tables, JSON, a figure, bad input; and what ingest and train say of small images."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

import dsdcli
from dsdcli.cli import app
from dsdcli.data.dataset import Dataset
from dsdcli.data.split import independent_images
from dsdcli.errors import UsageError
from dsdcli.training.recipes import choose_settings
from tests.conftest import blobs


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("rock.tif", blobs((160, 144), [0.3], 1, 2.0))
    return tmp_path


def run(*words: str, command: str = "rev"):
    return CliRunner().invoke(app, [command, *words])


def test_tables_say_interval_side_and_spread(here):
    said = run("rock.tif", "--pore", "0", "--voxel-size", "2um", "--error", "0.1")
    assert said.exit_code == 0
    head, pore = said.stdout.splitlines()[:2]
    assert head.split()[:4] == ["phase", "fraction", "95", "%"] and head.endswith("side for 10 %")
    assert pore.split()[:2] == ["pore", "0.3000"]
    assert pore.endswith("um")
    assert "volume-fraction" in said.stdout
    assert "training crops of 64x64 (the default) are large enough" in said.stderr


def test_json_and_the_library_say_the_same(here):
    words = ["rock.tif", "--metric", "interface", "--metric", "euler", "--crop", "32x32", "--jobs", "1", "--json", "-q"]
    about = json.loads(run(*words).stdout)
    found = dsdcli.rev("rock.tif", metrics=["interface", "euler"], crop=(32, 32), jobs=1)
    (pore, _), theirs = about["phases"], found.to_json()
    assert {k: about[k] for k in ("phases", "windows", "crop", "notes")} == {
        k: theirs[k] for k in ("phases", "windows", "crop", "notes")
    }
    assert pore["low"] < pore["fraction"] < pore["high"] and pore["speaks"]
    assert {row["metric"] for row in about["windows"]} == {"volume-fraction", "interface", "euler"}
    assert about["crop"]["size"] == [32, 32] and about["crop"]["enough"] == (about["crop"]["needed"] <= 32)


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_figure(here, name):
    assert run("rock.tif", "--figure", name, "--metric", "two-point", "-q").exit_code == 0
    if name.endswith("png"):
        assert Image.open(name).width > 500
    else:
        assert "<svg" in (here / name).read_text(encoding="utf-8")


def test_a_dataset_counts_as_the_image_it_was_made_of(here):
    assert run("rock.tif", "-o", "rock.dsd.h5", command="ingest").exit_code == 0
    whole = dsdcli.rev("rock.tif")
    assert dsdcli.rev().fractions == whole.fractions  # the newest dataset here
    with pytest.raises(UsageError, match="knows how its images are read"):
        dsdcli.rev("rock.dsd.h5", ignore=[1])
    (array,) = independent_images(Dataset.open("rock.dsd.h5"))
    assert array.shape == (160, 144)


def test_ignored_labels_and_masks(here):
    image = blobs((160, 144), [0.3], 1, 2.0)
    image[:, :20] = 7
    tifffile.imwrite("left.tif", image)
    tifffile.imwrite("mask.tif", (image == 7).astype(np.uint8))
    image[:, :20] = 1
    tifffile.imwrite("filled.tif", image)
    by_label = dsdcli.rev("left.tif", ignore=[7])
    by_mask = dsdcli.rev("filled.tif", ignore_masks=["mask.tif"])
    assert by_label.fractions == by_mask.fractions
    assert by_label.fractions[0].fraction == pytest.approx((image[:, 20:] == 0).mean())


def test_stacks_are_independent_images(here):
    tifffile.imwrite("stack.tif", np.stack([blobs((48, 48), [0.3 + 0.02 * n], n) for n in range(12)]))
    about = dsdcli.rev("stack.tif", axes="t").fractions[0]
    assert about.freedom == 11 and len(about.lengths) == 2


def test_too_small_and_uneven_images_are_said_to_be(here):
    tifffile.imwrite("small.tif", blobs((24, 24), [0.5], 1, 4.0))
    said = run("small.tif")
    assert said.exit_code == 0
    assert (
        "too small to say" in said.stdout and "too small to say anything of the volume fraction of pore" in said.stderr
    )
    tifffile.imwrite("long.tif", blobs((60, 200), [0.5], 1).repeat(4, axis=0))
    assert "the axes differ" in run("long.tif").stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--metric", "beauty"), "--metric beauty: no such metric"),
        (("--error", "0"), "--error 0"),
        (("--figure", "a.txt"), "--figure a.txt"),
        (("--axes", "q"), "axes"),
    ],
)
def test_bad_requests_are_one_line(here, words, part, capsys, monkeypatch):
    import sys

    from dsdcli.cli import main

    monkeypatch.setattr(sys, "argv", ["dsd", "rev", "rock.tif", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line


def test_ingest_says_what_a_small_image_leaves_open(here):
    assert (
        "note: the volume fraction of phase"
        in run("rock.tif", "--phase", "phase=0", "--phase", "x=1", command="ingest").stderr
    )


def test_training_on_crops_asked_for_is_told_when_they_are_narrow(here):
    run("rock.tif", "-o", "rock.dsd.h5", command="ingest")
    dataset = Dataset.open("rock.dsd.h5")
    _, narrow = choose_settings(dataset, {"size": (12, 12)}, False)
    assert len(narrow) == 1 and "crops of 12 are less than 4 times as wide" in narrow[0]
    assert choose_settings(dataset, {"size": (48, 48)}, False)[1] == []
