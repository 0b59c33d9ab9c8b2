"""Intensities by the command: what is read keeps its type and range, and every total is exact."""

import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset
from dsdcli.data.species import channels


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
