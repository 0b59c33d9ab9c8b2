"""dsd info tells what is in a file; discovery picks the newest file of its kind."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import Phase
from dsdcli.data.samples import write_samples
from dsdcli.pipeline.defaults import newest_dataset, newest_run, newest_samples

ROCK = (Phase("pore", 0), Phase("grain", 255))


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def info(dsd):
    """Run `dsd info` and return its exit code, stdout and stderr."""
    return lambda *words: dsd("info", *words)


def write_dataset(path: str) -> Dataset:
    array = np.zeros((5, 4, 4), np.uint8)
    array[:, 0] = 1
    dataset = Dataset(
        path=Path(path),
        phases=ROCK,
        voxel_size=2.25,
        voxel_unit="um",
        slice_axes="zyx",
        downsample=2,
        provenance={"sources": [{"name": "rock.tif", "sha256": "0"}], "date": "2026-01-01"},
        train=(LabelledImage(array[:4], "ZYX"),),
        heldout=(LabelledImage(array[4:], "ZYX"),),
    )
    dataset.write(path)
    return dataset


def test_a_dataset_is_described(info):
    dataset = write_dataset("rock.dsd.h5")
    code, out, _ = info("rock.dsd.h5")
    assert code == 0
    for words in ("4x4x4", "1x4x4", "2.25 um", "downsampled by 2", "z, y, x", "rock.tif", dataset.digest):
        assert words in out
    assert ["grain", "255", "0.2500", "0.2500", "0.2500"] in [line.split() for line in out.splitlines()]
    about = json.loads(info("rock.dsd.h5", "--json")[1])
    assert about["kind"] == "dataset"
    assert about["phases"][0] == {"name": "pore", "label": 0, "fraction": 0.75, "train": 0.75, "heldout": 0.75}
    assert about["images"]["heldout"] == [{"axes": "ZYX", "shape": [1, 4, 4]}]
    assert about["provenance"]["date"] == "2026-01-01"
    assert (about["digest"], about["voxel_size"]) == (dataset.digest, 2.25)


def test_samples_are_described_with_their_audit_record(info):
    images = np.zeros((3, 4, 5), np.uint8)
    images[1, :2] = 1
    write_samples("samples.tif", images, ROCK, 2.0, "um")
    Path("samples.json").write_text(json.dumps({"format": "dsd-audit", "seed": 5}))
    code, out, _ = info("samples.tif")
    assert code == 0
    assert "3 samples of 4x5" in out
    assert ["grain", "255", "0.1667", "0", "10"] in [line.split() for line in out.splitlines()]
    about = json.loads(info("samples.tif", "--json")[1])
    assert (about["kind"], about["samples"], about["size"]) == ("samples", 3, [4, 5])
    assert about["audit"]["seed"] == 5


def test_an_image_from_elsewhere_shows_its_labels(info):
    array = np.zeros((4, 5, 6), np.uint8)
    array[0] = 170
    tifffile.imwrite("scan_3um.tif", array, photometric="minisblack")
    code, out, _ = info("scan_3um.tif")
    assert code == 0
    assert "4x5x6 uint8" in out
    assert "3 um (file name)" in out
    assert ["170", "0.2500", "30"] in [line.split() for line in out.splitlines()]
    np.save("grey.npy", np.arange(100).reshape(10, 10))
    assert "100 different values in all: not segmented" in info("grey.npy")[1]


def test_several_files_give_a_list_in_json(info):
    write_dataset("a.dsd.h5")
    write_samples("b.npy", np.zeros((1, 2, 2), np.uint8), ROCK)
    about = json.loads(info("a.dsd.h5", "b.npy", "--json")[1])
    assert [entry["kind"] for entry in about] == ["dataset", "image"]


def test_run_and_model_folders_go_to_the_network(info, monkeypatch):
    described = {"kind": "run", "path": "runs/a", "config": {"size": [64, 64], "voxel_size": None}, "loss": 0.123456789}
    monkeypatch.setattr("dsdcli.pipeline.describe.describe_model", lambda path: described)
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/config.json").write_text("{}")
    Path("weights.safetensors").touch()
    for name in ("runs/a", "weights.safetensors"):
        assert json.loads(info(name, "--json")[1]) == described
        lines = info(name)[1].splitlines()
        assert lines[0] == "runs/a: run"
        assert ["size", "64,", "64"] in [line.split() for line in lines]
        assert ["loss", "0.123457"] in [line.split() for line in lines]


def test_what_cannot_be_described_ends_in_one_line(info):
    Path("notes.txt").write_text("hello")
    Path("broken.dsd.h5").write_bytes(b"\x89HDF\r\n\x1a\n nothing more")
    for name, expected in (("missing.h5", 2), ("notes.txt", 4), ("broken.dsd.h5", 4)):
        code, out, err = info(name)
        assert (code, out, err.count("\n")) == (expected, "", 1)
        assert name in err


def aged(path: Path, seconds: int) -> Path:
    os.utime(path, (seconds, seconds))
    return path


def test_the_newest_dataset_and_samples_are_found_and_nothing_else():
    assert newest_dataset() is None
    assert newest_samples() is None
    for number in (1, 3, 2):
        write_dataset(f"{number}.dsd.h5")
        aged(Path(f"{number}.dsd.h5"), number)
        write_samples(f"{number}.tif", np.zeros((1, 2, 2), np.uint8), ROCK)
        aged(Path(f"{number}.tif"), number)
    tifffile.imwrite("scan.tif", np.zeros((2, 2), np.uint8))
    Path("broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n nothing more")
    Path(".half.dsd.h5").touch()
    assert newest_dataset() == Path("3.dsd.h5")
    assert newest_samples() == Path("3.tif")
    write_samples("4.h5", np.zeros((1, 2, 2), np.uint8), ROCK)
    assert newest_samples() == Path("4.h5")


def test_the_newest_run_is_the_one_worked_on_last():
    assert newest_run() is None
    for name, seconds in (("a", 30), ("b", 20), ("c", 40), ("e", 90)):
        (Path("runs") / name).mkdir(parents=True)
        for file in ("config.json", "train.json"):
            (Path("runs") / name / file).write_text("" if name == "e" else "{}")
            aged(Path("runs") / name / file, seconds)
    for name, seconds in (("a", 60), ("b", 50)):
        (Path("runs") / name / "last.safetensors").write_bytes(b"weights")
        aged(Path("runs") / name / "last.safetensors", seconds)
    (Path("runs") / "notes").mkdir()
    (Path("runs") / "half").mkdir()
    (Path("runs") / "half" / "config.json").write_text("{}")  # newer than all, but no run
    assert newest_run() == Path("runs/a")
    aged(Path("runs/c/config.json"), 70)
    assert newest_run() == Path("runs/c")
    assert newest_run(trained=True) == Path("runs/a")
