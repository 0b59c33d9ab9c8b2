"""Intensities by the command: what is read keeps its type and range, and every total is exact."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset
from dsdcli.data.species import channels
from dsdcli.network.config import PRESETS, Architecture


def grains(shape, seed, top=12):
    """Smooth noise as whole numbers from 0 to ``top``, half of them 0."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), [0, 1.5, 1.5], mode="wrap")
    return np.clip(np.rint(field / field.max() * top), 0, top).astype(np.uint8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(path):
    dataset = Dataset.open(path)
    return dataset, np.concatenate([channels(image.array) for image in dataset.train + dataset.heldout])


def test_what_is_ingested_keeps_type_and_range(dsd, here):
    images = {"a.tif": grains((20, 16, 16), 0), "b.tif": (grains((20, 16, 16), 1).astype(np.uint16) * 1000)}
    for name, array in images.items():
        tifffile.imwrite(name, array)
        code, out, err = dsd("ingest", name, "--intensity", "--axes", "t", "-o", "x.dsd.h5")
        assert code == 0, err
        dataset, counts = stored(out.strip())
        assert np.array_equal(counts[..., 0], array) and counts.dtype == array.dtype
        assert [(s.name, s.cap, s.dtype) for s in dataset.species] == [("intensity", array.max(), array.dtype.name)]
        crops = dataset.crops("train", 3, (8, 8), np.random.default_rng(0))
        assert crops.shape == (3, 1, 8, 8) and crops.dtype == array.dtype
    assert "intensity" in dsd("info", "x.dsd.h5")[1]


def test_every_channel_of_a_picture_is_a_species(dsd, here):
    colours = np.stack([grains((1, 40, 40), seed, 200)[0] for seed in range(3)], -1)
    Pictures.fromarray(colours).save("c.png")
    words = ("--channel", "r", "--channel", "g", "--channel", "b")
    assert dsd("ingest", "c.png", "--intensity", *words, "-o", "c.dsd.h5")[0] == 0
    dataset, counts = stored("c.dsd.h5")
    assert np.array_equal(counts, colours)
    assert [s.name for s in dataset.species] == ["r", "g", "b"]


def test_levels_round_and_blocks_add_up(dsd, here):
    grey = np.arange(0, 256, dtype=np.uint8).reshape(1, 16, 16).repeat(5, 0)
    np.save("g.npy", grey)
    assert dsd("ingest", "g.npy", "--intensity", "--axes", "t", "--levels", 4, "-o", "l.dsd.h5")[0] == 0
    assert np.array_equal(stored("l.dsd.h5")[1][..., 0], np.rint(grey / 85))
    assert dsd("ingest", "g.npy", "--intensity", "--axes", "t", "--downsample", 4, "-o", "d.dsd.h5")[0] == 0
    dataset, counts = stored("d.dsd.h5")
    assert np.array_equal(counts[..., 0], grey.reshape(5, 4, 4, 4, 4).sum((2, 4), dtype=int))
    assert (dataset.species[0].cap, dataset.species[0].dtype) == (255 * 16, "uint16")


def test_values_that_are_no_counts_are_one_line(dsd, here):
    good = grains((8, 16, 16), 0)
    np.save("good.npy", good)
    np.save("half.npy", good / 2 + 0.25)
    np.save("below.npy", good.astype(np.int16) - 3)
    np.save("dark.npy", 0 * good)
    for words, code, message in (
        (("half.npy",), 4, "fractional"),
        (("below.npy",), 4, "go down to -3"),
        (("dark.npy",), 4, "0 everywhere"),
        (("good.npy", "--max", 5), 2, "--max 5: the intensities go up to 12"),
        (("good.npy", "--levels", 40), 2, "--levels 40"),
        (("good.npy", "--pore", 0), 2, "no labels"),
        (("good.npy", "--channel", "a", "--channel", "b"), 4, "2 channels"),
    ):
        found, out, err = dsd("ingest", *words, "--intensity", "--axes", "t", "-o", "x.dsd.h5")
        assert (found, out) == (code, ""), err
        assert message in err and err.count("\n") == 1
    code, _, err = dsd("ingest", "good.npy", "--levels", 4, "-o", "x.dsd.h5")
    assert code == 2 and "--intensity" in err


@pytest.fixture
def model(dsd, here, monkeypatch):
    """A run of two steps on a dataset of two classes."""
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    for name, seed in (("a", 0), ("b", 1)):
        np.save(f"{name}.npy", grains((20, 8, 8), seed))
    words = ("--class", "a", "--class", "b", "--max", 12)
    assert dsd("ingest", "a.npy", "b.npy", "--intensity", "--axes", "t", *words, "-o", "x.dsd.h5")[0] == 0
    code, _, err = dsd("train", "x.dsd.h5", "--steps", 2, "--batch", 4, "-o", "run")
    assert code == 0, err
    return here


def test_samples_have_exactly_the_totals_asked_for(dsd, model):
    words = ("--model", "run", "-n", 3, "--steps", 2, "--seed", 1)
    for request, totals in (
        (("--total", "intensity=100"), [100] * 3),
        (("--mean", "intensity=2.5", "--class", "b", "--guidance", 2), [160] * 3),
        (("--like", "x.dsd.h5", "--class", "a"), None),
    ):
        for name in ("s.tif", "s.npy", "s.h5"):
            code, _, err = dsd("generate", *words, *request, "-o", name)
            assert code == 0, err
        audit = json.loads((model / "s.json").read_text())
        found = tifffile.imread("s.tif")
        assert found.dtype == np.uint8 and found.shape == (3, 8, 8) and found.max() <= 12
        assert np.array_equal(found, np.load("s.npy"))
        totals = totals or [sample["requested"]["intensity"] for sample in audit["samples"]]
        assert found.reshape(3, -1).sum(1).tolist() == totals
        assert all(sample["achieved"] == sample["requested"] for sample in audit["samples"])


def test_what_files_of_intensities_hold_is_said_and_what_they_are_not_for(dsd, model):
    words = ("--model", "run", "-n", 2, "--steps", 1, "--total", "intensity=100", "-o", "s.npy")
    assert dsd("generate", *words)[0] == 0
    code, out, _ = dsd("info", "s.npy", "--json")
    about = json.loads(out)
    assert (code, about["samples"], about["size"]) == (0, 2, [8, 8])
    assert about["species"] == [
        {"name": "intensity", "cap": 12, "dtype": "uint8", "mean": 100 / 64, "least_total": 100, "most_total": 100}
    ]
    assert dsd("info", "s.npy")[1].splitlines()[-1].split() == ["intensity", "uint8", "12", "1.5625", "100", "100"]
    for words in (("view", "s.npy"), ("view", "x.dsd.h5"), ("rev", "x.dsd.h5")):
        code, out, err = dsd(*words)
        assert code in (2, 4) and out == ""
        assert "holds intensities" in err and err.count("\n") == 1
    np.save("image.npy", np.eye(4, dtype=np.uint8))
    Path("image.json").write_text("{ of somebody else")
    assert dsd("info", "image.npy")[0] == dsd("view", "image.npy")[0] == 0


def test_holes_are_filled_with_the_declared_total_and_nothing_else_changes(dsd, model):
    image = grains((1, 8, 8), 5)[0]
    tifffile.imwrite("i.tif", image)
    words = ("--model", "run", "--box", "0:8,0:4", "-n", 2, "--steps", 2)
    for request, total in ((("--total", "intensity=77"), 77), ((), int(image[:, :4].sum()))):
        code, _, err = dsd("inpaint", "i.tif", *words, *request, "-o", "f.tif")
        assert code == 0, err
        filled = tifffile.imread("f.tif")
        assert (filled[:, :, :4].sum((1, 2), dtype=int) == total).all()
        assert (filled[:, :, 4:] == image[:, 4:]).all()


def test_requests_that_cannot_be_met_are_one_line(dsd, model):
    for words, message in (
        (("--total", f"intensity={12 * 64 + 1}"), "must lie between 0 and 768"),
        (("--total", "intensity=-1"), "must lie between"),
        (("--mean", "intensity=12.1"), "must lie between"),
        (("--total", "density=3"), "no channel 'density'"),
        (("--total", "intensity=3", "--mean", "intensity=3"), "give one"),
        (("--porosity", 0.2), "--porosity is of segmented images"),
        (("--class", "c"), "has the classes a, b"),
        (("--size", "8x8x8"), "another dimension"),
    ):
        code, out, err = dsd("generate", "--model", "run", "-n", 2, "--steps", 1, *words, "-o", "s.tif")
        assert (code, out) == (2, ""), err
        assert message in err and err.count("\n") == 1
    assert "`" not in err
    code, _, err = dsd("generate", "--model", "berea-2d", "--total", "pore=3", "-o", "s.tif")
    assert code == 2 and "--counts" in err


def test_samples_are_judged_beside_real_ones(dsd, model):
    assert dsd("generate", "--model", "run", "--class", "b", "-n", 4, "--steps", 1, "-o", "s.tif")[0] == 0
    code, out, err = dsd("evaluate", "s.tif", "--crops", 8, "--json", "--report", "page.html")
    assert code == 0, err
    page = Path("page.html").read_text()
    for shown in (
        "<h1>",
        "like means",
        "Histogram of the counts",
        "Power spectrum",
        "the size of their difference",
        "<svg",
    ):
        assert shown in page
    assert "class b, as that of the samples" in err
    rows = {row["metric"]: row for row in json.loads(out)["metrics"]}
    assert {"mean", "histogram", "autocovariance", "power-spectrum", "memorisation", "diversity"} <= rows.keys()
    assert dsd("evaluate", "s.tif", "--metrics", "interface")[0] == 2
