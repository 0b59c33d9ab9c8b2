"""What `dsd train` chooses by itself: crops that fit and show the structure, and as many of them as a step affords."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import IGNORED, Phase
from dsdcli.data.split import split, split_to_fit
from dsdcli.errors import DataError
from dsdcli.training.recipes import choose_settings, choose_side, structure_reach

PHASES = (Phase("pore", 0), Phase("solid", 1))


def structure(shape, length, seed=0):
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), length, mode="wrap")
    return (field > np.quantile(field, 0.3)).astype(np.uint8)


def ingested(array, axes, share=None):
    """The dataset that ingest makes of one image."""
    images = [LabelledImage(array, axes)]
    train, heldout = split_to_fit(images)[:2] if share is None else split(images, share)
    return Dataset(Path("toy.dsd.h5"), PHASES, None, None, "z" if axes == "ZYX" else "t", 1, {}, train, heldout)


@pytest.mark.parametrize(
    ("shape", "axes", "side"),
    [
        ((96, 96), "YX", 32),
        ((128, 128), "YX", 32),
        ((160, 160), "YX", 48),
        ((256, 256), "YX", 64),
        ((200, 700), "YX", 64),
        ((4096, 4096), "YX", 64),
        ((64, 64, 64), "ZYX", 32),
        ((100, 200, 200), "ZYX", 64),
        ((10, 128, 128), "TYX", 64),
    ],
)
def test_without_options_crops_fit_into_both_parts_of_any_usual_image(shape, axes, side):
    rng = np.random.default_rng(0)
    dataset = ingested(rng.integers(0, 2, shape, dtype=np.uint8), axes)
    settings, _ = choose_settings(dataset, {}, gpu=False)
    assert settings.size == (side, side)
    assert settings.batch * side**2 <= 2**16 < (settings.batch + 1) * side**2
    for part in ("train", "heldout"):
        assert dataset.crops(part, 3, settings.size, rng).shape == (3, side, side)
    assert dataset.counts("train").sum() >= 0.66 * dataset.counts().sum()


def test_too_small_an_image_is_said_with_what_fits():
    dataset = ingested(structure((64, 64), 2), "YX")
    with pytest.raises(DataError, match=r"crops of 32x32.*`size=\(13, 13\)`, the largest that fits"):
        choose_settings(dataset, {}, gpu=False)
    assert choose_settings(dataset, {"size": (12, 12)}, gpu=False)[0].size == (12, 12)


def test_the_voxels_of_a_step_are_the_same_in_3d():
    dataset = ingested(structure((160, 64, 64), 2), "ZYX", 0.4)
    assert choose_settings(dataset, {}, gpu=False, ndim=3)[0].size == (32, 32, 32)
    for side, batch in ((32, 2), (40, 1), (64, 1)):
        assert choose_settings(dataset, {"size": (side,) * 3}, gpu=False)[0].batch == batch
    given = {"size": (16, 16), "batch": 3, "steps": 7, "preset": "small"}
    settings = choose_settings(dataset, given, gpu=True)[0]
    assert (settings.batch, settings.steps, settings.precision) == (3, 7, "bfloat16")
    assert choose_settings(dataset, {}, gpu=True)[0].batch == 2 * choose_settings(dataset, {}, gpu=False)[0].batch


def test_larger_structure_asks_for_larger_crops_and_says_where_they_do_not_suffice():
    fine, coarse = (ingested(structure((512, 512), length), "YX") for length in (2, 9))
    assert structure_reach(fine, 96, 2) < structure_reach(coarse, 96, 2)
    assert choose_side(fine, 2, gpu=True) == (64, [])
    assert choose_side(coarse, 2, gpu=True)[0] > 64
    side, notes = choose_side(coarse, 2, gpu=False)
    assert side == 64
    assert "what is longer than a crop is not learned" in notes[0]


def test_structure_reaches_as_far_as_its_covariance():
    """Stripes of random phase, 8 wide: their covariance falls linearly to zero at 8."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 2, (64, 64), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    reach = structure_reach(ingested(image, "YX"), 64, 2)
    assert 7 <= reach <= 9


def test_what_is_held_out_leaves_room_within_a_field_of_view():
    """In a disk the last rows are short: enough of them are held out for a crop that is whole."""
    grid = np.arange(256) - 127.5
    image = np.where(np.hypot(grid[:, None], grid) > 128, IGNORED, structure((256, 256), 2)).astype(np.uint8)
    train, heldout, what = split_to_fit([LabelledImage(image, "YX")])
    assert what == f"the last {len(heldout[0].array)} of 256 rows"
    dataset = Dataset(Path("toy.dsd.h5"), PHASES, None, None, "t", 1, {}, train, heldout)
    side = choose_settings(dataset, {}, gpu=False)[0].size[0]
    assert side >= 48
    assert dataset.crops("heldout", 5, (side, side), np.random.default_rng(0)).max() < 2


def test_ingest_says_what_it_held_out_and_where_an_image_is_too_small(dsd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side in (64, 256):
        np.save(f"m{side}.npy", structure((side, side), 2))
    err = dsd("ingest", "m256.npy")[2]
    assert "held out to judge by: the last 64 of 256 rows" in err
    assert "too small" not in err
    assert "WARNING: too small for the usual training: crops of 32x32" in dsd("ingest", "m64.npy")[2]
