"""The dataset: crops are fair windows of the images, the file keeps everything, coarsening is a fair vote."""

import itertools
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.stats import chisquare

from dsdcli.data.dataset import Dataset
from dsdcli.data.downsample import majority
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import Phase, choose_phases, count_labels, to_indices, to_labels
from dsdcli.data.split import split
from dsdcli.errors import DataError, UsageError


def numbered(*shape: int) -> np.ndarray:
    """An image whose every voxel has its own phase, so that a crop tells where it comes from."""
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def make(
    *train: LabelledImage, heldout: tuple[LabelledImage, ...] = (), slice_axes: str = "z", phases: int = 250
) -> Dataset:
    return Dataset(
        path=Path("toy.dsd.h5"),
        phases=tuple(Phase(f"phase{label}", label) for label in range(phases)),
        voxel_size=2.5,
        voxel_unit="um",
        slice_axes=slice_axes,
        downsample=1,
        provenance={"sources": [{"name": "toy.tif"}]},
        train=train,
        heldout=heldout,
    )


def assert_uniform(crops: np.ndarray, possible: list[np.ndarray]) -> None:
    """Every possible crop occurs, no other one, and all equally often."""
    keys = [crop.tobytes() for crop in possible]
    assert len(set(keys)) == len(keys)
    found = dict.fromkeys(keys, 0)
    for crop in crops:
        found[crop.tobytes()] += 1  # a KeyError is a crop that is no window of the image
    assert chisquare(list(found.values())).pvalue > 1e-3


def windows(image: np.ndarray, size: tuple[int, ...]) -> list[np.ndarray]:
    view = np.lib.stride_tricks.sliding_window_view(image, size)
    return list(view.reshape(-1, *size).copy())


def test_crops_of_an_image_are_uniform():
    image = numbered(9, 11)
    crops = make(LabelledImage(image, "YX"), slice_axes="t").crops("train", 20_000, (4, 3), np.random.default_rng(0))
    assert crops.shape == (20_000, 4, 3)
    assert crops.dtype == np.uint8
    assert_uniform(crops, windows(image, (4, 3)))


def test_crops_of_stacks_of_different_sizes_are_uniform_over_all_possible_crops():
    stack, single = numbered(2, 5, 6), numbered(9, 10) + 60
    dataset = make(LabelledImage(stack, "TYX"), LabelledImage(single, "YX"), slice_axes="t")
    possible = [window for image in [*stack, single] for window in windows(image, (3, 5))]
    assert_uniform(dataset.crops("train", 20_000, (3, 5), np.random.default_rng(1)), possible)


@pytest.mark.parametrize("slice_axes", ["z", "y", "x", "zy", "zyx"])
def test_slices_are_cut_across_the_slice_axes_only(slice_axes):
    volume = numbered(4, 5, 6)
    possible = [
        window
        for axis in slice_axes
        for plane in np.moveaxis(volume, "zyx".index(axis), 0)
        for window in windows(plane, (2, 4))
    ]
    dataset = make(LabelledImage(volume, "ZYX"), slice_axes=slice_axes)
    assert_uniform(dataset.crops("train", 20_000, (2, 4), np.random.default_rng(2)), possible)


def test_sub_volumes_are_uniform():
    volume = numbered(4, 5, 6)
    crops = make(LabelledImage(volume, "ZYX")).crops("train", 10_000, (3, 2, 5), np.random.default_rng(3))
    assert_uniform(crops, windows(volume, (3, 2, 5)))


def test_augmentation_flips_and_exchanges_axes_only_where_directions_are_alike():
    flips = [numbered(2, 2)[::a, ::b] for a, b in itertools.product((1, -1), repeat=2)]
    turned = [image.T for image in flips]
    rng = np.random.default_rng(4)
    plain = make(LabelledImage(numbered(1, 2, 2), "ZYX"), slice_axes="z")
    assert_uniform(plain.crops("train", 4000, (2, 2), rng, augment=True), flips)
    alike = replace(plain, slice_axes="zyx")
    assert_uniform(alike.crops("train", 4000, (2, 2), rng, augment=True), flips + turned)


def test_augmentation_of_cubes_uses_all_48_symmetries_and_of_boxes_those_that_keep_the_shape():
    rng = np.random.default_rng(5)
    cube = make(LabelledImage(numbered(2, 2, 2), "ZYX"), slice_axes="zyx")
    assert len({crop.tobytes() for crop in cube.crops("train", 2000, (2, 2, 2), rng, augment=True)}) == 48
    box = make(LabelledImage(numbered(2, 3, 3), "ZYX"), slice_axes="zyx")
    assert len({crop.tobytes() for crop in box.crops("train", 2000, (2, 3, 3), rng, augment=True)}) == 16


def test_crops_depend_on_the_generator_alone():
    dataset = make(LabelledImage(numbered(6, 6, 6), "ZYX"), slice_axes="zyx")
    first, second = (dataset.crops("train", 50, (3, 3), np.random.default_rng(7), augment=True) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_split_never_lends_voxels_to_the_other():
    train, heldout = split([LabelledImage(numbered(10, 4, 5), "ZYX")], 0.3)
    dataset = make(*train, heldout=heldout, slice_axes="zyx")
    rng = np.random.default_rng(8)
    assert dataset.crops("train", 3000, (3, 3), rng).max() < 140
    assert dataset.crops("heldout", 3000, (3, 3), rng).min() >= 140


def test_directions_too_thin_for_the_crop_are_left_out_until_none_is_left():
    dataset = make(LabelledImage(numbered(2, 8, 8), "ZYX"), slice_axes="zyx")
    possible = [window for plane in numbered(2, 8, 8) for window in windows(plane, (4, 4))]
    assert_uniform(dataset.crops("train", 5000, (4, 4), np.random.default_rng(9)), possible)
    with pytest.raises(DataError, match=r"crops of 9x9 do not fit into the train images .*8x8.*`size`"):
        dataset.crops("train", 1, (9, 9), np.random.default_rng(9))


def test_volumes_cannot_be_cut_from_images_and_nothing_from_an_empty_split():
    dataset = make(LabelledImage(numbered(3, 8, 8), "TYX"), slice_axes="t")
    with pytest.raises(DataError, match="need a volume"):
        dataset.crops("train", 1, (2, 2, 2), np.random.default_rng(0))
    with pytest.raises(DataError, match="no heldout images"):
        dataset.crops("heldout", 1, (2, 2), np.random.default_rng(0))
    with pytest.raises(UsageError, match="train, heldout"):
        dataset.crops("test", 1, (2, 2), np.random.default_rng(0))


def test_fractions_are_exact_and_by_split():
    train, heldout = np.zeros((4, 5), np.uint8), np.ones((2, 5), np.uint8)
    train[0, :3] = 2
    dataset = make(LabelledImage(train, "YX"), heldout=(LabelledImage(heldout, "YX"),), phases=3)
    assert dataset.counts().tolist() == [17, 10, 3]
    assert dataset.fractions("train").tolist() == [17 / 20, 0, 3 / 20]
    assert dataset.fractions("heldout").tolist() == [0, 1, 0]


def test_a_file_keeps_everything(tmp_path):
    dataset = make(
        LabelledImage(numbered(2, 6, 7), "TYX"),
        LabelledImage(numbered(5, 9), "YX"),
        heldout=(LabelledImage(numbered(3, 3), "YX"),),
    )
    dataset.write(tmp_path / "a.dsd.h5")
    again = Dataset.open(tmp_path / "a.dsd.h5")
    for name in ("phases", "voxel_size", "voxel_unit", "slice_axes", "downsample", "provenance", "digest"):
        assert getattr(again, name) == getattr(dataset, name)
    for name in ("train", "heldout"):
        for one, other in zip(getattr(again, name), getattr(dataset, name), strict=True):
            assert one.axes == other.axes
            assert one.array.dtype == np.uint8
            assert np.array_equal(one.array, other.array)


def test_the_digest_is_of_the_content_not_of_the_file():
    dataset = make(LabelledImage(numbered(6, 7), "YX"), heldout=(LabelledImage(numbered(2, 7), "YX"),))
    same = replace(dataset, path=Path("elsewhere"), provenance={})
    assert same.digest == dataset.digest
    image = numbered(6, 7)
    image[0, 0] = 9
    others = [
        replace(dataset, voxel_size=2.6),
        replace(dataset, slice_axes="t"),
        replace(dataset, train=(LabelledImage(image, "YX"),)),
        replace(dataset, train=(LabelledImage(numbered(7, 6), "YX"),)),
        replace(dataset, train=dataset.heldout, heldout=dataset.train),
    ]
    assert len({dataset.digest, *(other.digest for other in others)}) == 6


def test_provenance_may_be_long(tmp_path):
    dataset = replace(make(LabelledImage(numbered(4, 4), "YX")), provenance={"argv": ["slice.tif"] * 20_000})
    dataset.write(tmp_path / "a.dsd.h5")
    assert Dataset.open(tmp_path / "a.dsd.h5").provenance == dataset.provenance


def test_what_is_no_dataset_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match="dsd ingest"):
        Dataset.open(tmp_path / "missing.dsd.h5")
    good = tmp_path / "good.dsd.h5"
    make(LabelledImage(np.random.default_rng(0).integers(0, 200, (90, 90), np.uint8), "YX")).write(good)
    truncated = tmp_path / "truncated.dsd.h5"
    truncated.write_bytes(good.read_bytes()[:3000])
    text = tmp_path / "text.dsd.h5"
    text.write_text("no HDF5")
    foreign = tmp_path / "foreign.dsd.h5"
    with h5py.File(foreign, "w") as file:
        file["image"] = numbered(3, 3)
    strange = tmp_path / "strange.dsd.h5"
    replace(make(LabelledImage(numbered(3, 3), "YX")), phases=(Phase("pore", 0), Phase("solid", 1))).write(strange)
    for path in (truncated, text, foreign, strange):
        with pytest.raises(DataError) as caught:
            Dataset.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def vote(block: np.ndarray) -> int:
    """Majority of one block, ties to the phase met first: the definition, slowly."""
    votes = np.bincount(block.ravel())
    return next(phase for phase in block.ravel() if votes[phase] == votes.max())


@pytest.mark.parametrize(("factor", "axes"), [(2, (0, 1, 2)), (3, (0, 1, 2)), (2, (1, 2)), (5, (1, 2))])
def test_majority_follows_its_definition(factor, axes):
    image = np.random.default_rng(0).integers(0, 3, (7, 11, 10), dtype=np.uint8)
    coarse = majority(image, factor, axes)
    step = [factor if axis in axes else 1 for axis in range(3)]
    assert coarse.shape == tuple(side // k for side, k in zip(image.shape, step, strict=True))
    for at in np.ndindex(coarse.shape):
        block = tuple(slice(i * k, (i + 1) * k) for i, k in zip(at, step, strict=True))
        assert coarse[at] == vote(image[block])


def test_ties_favour_no_phase():
    image = np.random.default_rng(1).integers(0, 2, (600, 600), dtype=np.uint8)
    coarse = majority(image, 2, (0, 1))
    assert abs(coarse.mean() - 0.5) < 0.01
    assert np.array_equal(majority(1 - image, 2, (0, 1)), 1 - coarse)


def test_large_images_are_coarsened_in_parts_without_seams(monkeypatch):
    image = np.random.default_rng(2).integers(0, 4, (40, 12, 12), dtype=np.uint8)
    whole = majority(image, 2, (0, 1, 2))
    monkeypatch.setattr("dsdcli.data.downsample._BLOCKS_AT_ONCE", 100)
    assert np.array_equal(majority(image, 2, (0, 1, 2)), whole)


def lengths(images: tuple[LabelledImage, ...]) -> list[int]:
    return [len(image.array) for image in images]


def test_the_last_slab_of_every_volume_is_held_out():
    train, heldout = split([LabelledImage(numbered(10, 2, 2), "ZYX"), LabelledImage(numbered(5, 2, 2), "ZYX")], 0.2)
    assert lengths(train) == [8, 4]
    assert lengths(heldout) == [2, 1]


def test_of_independent_images_the_last_are_held_out_wherever_they_are_stored():
    images = [
        LabelledImage(numbered(3, 2, 2), "TYX"),
        LabelledImage(numbered(4, 3), "YX"),
        LabelledImage(numbered(4, 2, 2), "TYX"),
    ]
    train, heldout = split(images, 0.6)
    assert [image.array.shape for image in train] == [(3, 2, 2)]
    assert [image.array.shape for image in heldout] == [(4, 3), (4, 2, 2)]
    train, heldout = split(images, 0.01)
    assert lengths(train) == [3, 4, 3]
    assert lengths(heldout) == [1]


def test_one_image_gives_its_last_rows_and_a_split_needs_two():
    train, heldout = split([LabelledImage(numbered(10, 7), "YX")], 0.25)
    assert np.array_equal(np.concatenate([train[0].array, heldout[0].array]), numbered(10, 7))
    assert lengths(heldout) == [2]
    with pytest.raises(DataError, match="`holdout=0`"):
        split([LabelledImage(numbered(1, 7), "YX")], 0.2)


def test_labels_become_indices_and_come_back():
    for dtype in (np.uint8, np.uint16, np.int16, np.int32, np.int64):
        low = 0 if np.dtype(dtype).kind == "u" else -5
        array = np.random.default_rng(0).choice(np.array([low, 3, 120], dtype), (6, 7, 8))
        found = count_labels(array)
        assert found == {label: int((array == label).sum()) for label in (low, 3, 120)}
        phases, index_of, _ = choose_phases(found)
        indices = to_indices(array, index_of)
        assert indices.dtype == np.uint8
        assert np.array_equal(to_labels(indices, phases), array)
