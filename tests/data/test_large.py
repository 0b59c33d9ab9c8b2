"""Datasets too large for the memory: the same crops, the same training, the same answers, out of the file."""

import mmap

import h5py
import numpy as np
import pytest
import tifffile
import torch

from dsdcli.data import large
from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import Phase
from dsdcli.data.split import independent_images
from dsdcli.errors import DataError, DsdError
from dsdcli.ranks import Ranks
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from dsdcli.training.trainer import Trainer
from tests.conftest import blobs

PHASES = (Phase("pore", 0), Phase("grain", 255))


def lies_in_a_file(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


@pytest.fixture
def both(tmp_path, monkeypatch):
    """One dataset twice: in memory, and left in its file."""
    volume = blobs((40, 32, 32), [0.3], 0)
    parts = ((LabelledImage(part, "ZYX"),) for part in (volume[:24], volume[24:]))
    small = Dataset(tmp_path / "small.dsd.h5", PHASES, 2.0, "um", "zyx", 1, {"sources": []}, *parts)
    small.write(small.path)
    monkeypatch.setattr(large, "LARGE", 1000)
    small.write(tmp_path / "large.dsd.h5")
    return Dataset.open(small.path), Dataset.open(tmp_path / "large.dsd.h5")


def test_a_large_dataset_stays_in_its_file_and_says_the_same(both):
    small, left = both
    assert small.in_memory and not left.in_memory
    assert not lies_in_a_file(small.train[0].array) and lies_in_a_file(left.train[0].array)
    assert left.digest == small.digest
    for split in (None, "train", "heldout"):
        assert np.array_equal(left.counts(split), small.counts(split))
    assert [image.tolist() for image in independent_images(left)] == [
        image.tolist() for image in independent_images(small)
    ]
    for size in ((8, 8), (8, 8, 8)):
        crops = [each.crops("train", 20, size, np.random.default_rng(3), augment=True) for each in both]
        assert np.array_equal(*crops)


def test_what_opening_a_large_file_did_not_look_at_is_seen_in_its_crops(both):
    path = both[1].path
    with h5py.File(path, "r+") as file:
        stored = file["train/0000"]
        assert stored.chunks is None
        stored[...] = 7  # of no phase
    with pytest.raises(DataError, match="no known phase"):
        Dataset.open(path).crops("train", 4, (8, 8), np.random.default_rng(0))
    with h5py.File(path, "r+") as file:
        file["train/0000"].attrs["counts"] = np.arange(256)
    with pytest.raises(DataError, match="no known phase"):
        Dataset.open(path)


def test_a_large_dataset_trains_like_a_small_one(both):
    settings = TrainSettings("tiny", (8, 8), 3, None, 4, 1e-3, 0, "noflux", "float32")
    losses = []
    for dataset in both:
        trainer = Trainer(make_config(dataset, settings), settings, dataset, torch.device("cpu"), Ranks())
        losses.append([trainer.train_step(1e-3) for _ in range(3)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("ending", ["raw", "npy", "tif", "lzw.tif", "h5", "zarr", "folder"])
def test_ingest_of_a_large_image_makes_what_that_of_a_small_one_does(ending, tmp_path, monkeypatch, dsd):
    labels = 255 * blobs((20, 24, 28), [0.3], 0)
    source = tmp_path / f"rock_28x24x20.{ending}"
    if ending == "raw":
        labels.tofile(source)
    elif ending == "npy":
        np.save(source, labels)
    elif ending == "tif":
        tifffile.imwrite(source, labels, photometric="minisblack")
    elif ending == "lzw.tif":
        tifffile.imwrite(source, labels, photometric="minisblack", compression="zlib")
    elif ending == "h5":
        with h5py.File(source, "w") as file:
            file.create_dataset("labels", data=labels, chunks=(4, 8, 8), compression="gzip")
    elif ending == "zarr":
        import zarr

        zarr.create_array(source, data=labels, chunks=(8, 8, 8))
    else:
        source.mkdir()
        for number, image in enumerate(labels):
            tifffile.imwrite(source / f"{number:02d}.tif", image)
    words = ("ingest", source, "--axes", "z", "--voxel-size", "2um", "--downsample", "2")
    assert dsd(*words, "-o", tmp_path / "small.dsd.h5")[0] == 0
    made = []
    monkeypatch.setattr(large, "LARGE", 1000)
    keep = large.room
    monkeypatch.setattr("dsdcli.data.phases.room", lambda *of: made.append(keep(*of)) or made[-1])
    assert dsd(*words, "-o", tmp_path / "large.dsd.h5")[0] == 0
    assert made and all(map(lies_in_a_file, made))
    assert Dataset.open(tmp_path / "large.dsd.h5").digest == Dataset.open(tmp_path / "small.dsd.h5").digest
    assert not Dataset.open(tmp_path / "large.dsd.h5").in_memory


def test_a_disk_that_is_full_is_said_before_it_is_filled(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DsdError, match="TMPDIR"):
        large.room((2**60,))
    assert not list(tmp_path.iterdir())
