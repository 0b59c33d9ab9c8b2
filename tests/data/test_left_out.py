"""Voxels that are left out: no crop holds them, no fraction counts them, and the edge of a field of view is noticed."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from scipy.stats import chisquare

from dsdcli.data.dataset import Dataset
from dsdcli.data.downsample import coarsen, majority
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import IGNORED, Phase
from dsdcli.data.places import good_places
from dsdcli.errors import DataError
from tests.conftest import blobs

OUTSIDE = np.hypot(*(np.ogrid[tuple(slice(64) for _ in range(2))][i] - 31.5 for i in range(2))) > 32


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def of_images(*images: LabelledImage, slice_axes: str = "z") -> Dataset:
    phases = tuple(Phase(f"phase{label}", label) for label in range(200))
    return Dataset(Path("toy.dsd.h5"), phases, None, None, slice_axes, 1, {}, images, ())


def windows(image: np.ndarray, size: tuple[int, ...]) -> list[np.ndarray]:
    return list(np.lib.stride_tricks.sliding_window_view(image, size).reshape(-1, *size).copy())


@pytest.mark.parametrize("attempts", [100, 0])
@pytest.mark.parametrize(("axes", "size"), [("z", (2, 3)), ("zyx", (2, 2)), ("z", (2, 3, 2))])
def test_every_crop_without_left_out_voxels_is_equally_likely_and_no_other_occurs(monkeypatch, attempts, axes, size):
    """By rejection, and from a list where good places are too rare for that: the same law."""
    monkeypatch.setattr("dsdcli.data.places._ATTEMPTS", attempts)
    rng = np.random.default_rng(0)
    array = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    array[rng.random(array.shape) < 0.1] = IGNORED
    planes = [p for axis in axes for p in np.moveaxis(array, "zyx".index(axis), 0)] if len(size) == 2 else [array]
    possible = [window.tobytes() for plane in planes for window in windows(plane, size) if window.max() != IGNORED]
    found = dict.fromkeys(possible, 0)
    for crop in of_images(LabelledImage(array, "ZYX"), slice_axes=axes).crops("train", 6000, size, rng):
        found[crop.tobytes()] += 1  # a KeyError is a crop that must not be
    assert chisquare(list(found.values())).pvalue > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (9, 2)])
def test_places_without_left_out_voxels_are_those_of_all_windows(size):
    image = np.random.default_rng(1).choice([0, IGNORED], (9, 11), p=[0.9, 0.1]).astype(np.uint8)
    expected = np.lib.stride_tricks.sliding_window_view(image, size).max((2, 3)) != IGNORED
    assert np.array_equal(good_places(image, size), expected)


def test_rare_places_are_found_and_none_is_an_error():
    image = np.full((300, 300), IGNORED, np.uint8)
    image[40:48, 200:208] = 3
    dataset = of_images(LabelledImage(image, "YX"), slice_axes="t")
    assert (dataset.crops("train", 5, (8, 8), np.random.default_rng(0)) == 3).all()
    assert dataset.holds("train", (8, 8))
    assert not dataset.holds("train", (9, 8))
    with pytest.raises(DataError, match="9x8 without a left-out voxel do not fit"):
        dataset.crops("train", 1, (9, 8), np.random.default_rng(0))


def test_a_label_and_a_mask_leave_out_the_same(dsd):
    """Once as a label of its own, once as the label of the pore and a mask of one slice."""
    rock = (255 * blobs((40, 64, 64), [0.3], 0)).astype(np.uint8)
    tifffile.imwrite("own.tif", np.where(OUTSIDE, 7, rock).astype(np.uint8))
    tifffile.imwrite("pore.tif", np.where(OUTSIDE, 0, rock).astype(np.uint8))
    tifffile.imwrite("fov.tif", (255 * OUTSIDE).astype(np.uint8))
    code, _, err = dsd("ingest", "own.tif", "--ignore", 7)
    assert code == 0, err
    assert f"left out {40 * OUTSIDE.sum()} voxels" in err
    assert dsd("ingest", "pore.tif", "--ignore-mask", "fov.tif")[0] == 0
    own, pore = Dataset.open("own.dsd.h5"), Dataset.open("pore.dsd.h5")
    assert own.digest == pore.digest
    inside = ~np.broadcast_to(OUTSIDE, rock.shape)
    assert own.counts().tolist() == [int((rock[inside] == label).sum()) for label in (0, 255)]
    assert own.ignored == int((~inside).sum())
    assert own.crops("train", 200, (24, 24), np.random.default_rng(0), augment=True).max() < 2
    assert "left out" in dsd("info", "own.dsd.h5")[1]


def test_the_edge_of_a_field_of_view_is_pointed_out(dsd):
    rock = (255 * blobs((5, 64, 64), [0.3], 0)).astype(np.uint8)
    hint = "fills all corners outside a disk"
    for name, label, fix in (("own", 7, "--ignore 7"), ("shared", 0, "--ignore-mask FILE")):
        np.save(f"{name}.npy", np.where(OUTSIDE, label, rock).astype(np.uint8))
        err = dsd("ingest", f"{name}.npy")[2]
        assert f"label {label} {hint}" in err
        assert fix in err
    np.save("rock.npy", rock)
    assert hint not in dsd("ingest", "rock.npy")[2]
    assert hint not in dsd("ingest", "own.npy", "--ignore", 7)[2]


def test_what_cannot_be_left_out_is_said(dsd):
    np.save("rock.npy", 255 * blobs((20, 32, 32), [0.3], 0))
    np.save("mask.npy", np.ones((32, 31), np.uint8))
    np.save("all.npy", np.ones((32, 32), np.uint8))
    for words, code, said in (
        (("--ignore", 9), 2, "the labels are 0, 255"),
        (("--ignore-mask", "mask.npy"), 4, "the mask mask.npy is 32x31, the image 20x32x32"),
        (("--ignore-mask", "all.npy"), 2, "nothing is left"),
        (("--ignore-mask", "none.npy"), 2, "no file none.npy"),
    ):
        got, out, err = dsd("ingest", "rock.npy", *words)
        assert (got, out, err.count("\n")) == (code, "", 1)
        assert said in err


def test_datasets_without_left_out_voxels_stay_readable_by_earlier_releases(tmp_path):
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    for name, value, version in (("plain", 0, 1), ("masked", IGNORED, 2)):
        image[0, 0] = value
        dataset = of_images(LabelledImage(image.copy(), "YX"))
        dataset.write(tmp_path / name)
        with h5py.File(tmp_path / name) as file:
            assert file.attrs["format_version"] == version
        again = Dataset.open(tmp_path / name)
        assert again.digest == dataset.digest
        assert np.array_equal(again.train[0].array, image)
    with h5py.File(tmp_path / "masked", "a") as file:
        file.attrs["format_version"] = 1
    with pytest.raises(DataError, match="no known phase"):
        Dataset.open(tmp_path / "masked")
    assert replace(dataset, train=()).ignored == 0


def test_left_out_voxels_vote_as_a_phase_when_images_are_coarsened():
    image = np.array([[0, 1, 255, 255], [1, 1, 255, 0], [1, 0, 0, 0], [0, 255, 0, 255]], np.uint8)
    assert majority(image, 2, (0, 1)).tolist() == [[1, 255], [0, 0]]


def test_coarsening_by_any_ratio_keeps_fractions_and_is_majority_where_it_is_whole():
    image = blobs((1, 240, 240), [0.3, 0.8], 3)[0]
    assert np.array_equal(coarsen(image, 3.0, (0, 1)), majority(image, 3, (0, 1)))
    assert np.array_equal(coarsen(image, 1.0, (0, 1)), image)
    coarse = coarsen(image, 1.5, (0, 1))
    assert coarse.shape == (160, 160)
    for phase in range(3):
        assert abs((coarse == phase).mean() - (image == phase).mean()) < 0.02
    stripes = np.tile(np.arange(30, dtype=np.uint8) // 5 % 2, (30, 1))  # 5 wide: 2 of the new voxels
    assert np.array_equal(coarsen(stripes, 2.5, (0, 1)), np.tile(np.arange(12) // 2 % 2, (12, 1)))
