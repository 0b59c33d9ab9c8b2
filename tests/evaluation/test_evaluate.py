"""Comparing ensembles: shuffled voxels are found out, real images pass, copies are recognised."""

import numpy as np
import pytest

from dsdcli.data.dataset import Dataset
from dsdcli.errors import DataError
from dsdcli.evaluation.compare import compare
from dsdcli.evaluation.crops import fractions, matched_crops
from dsdcli.evaluation.evaluate import evaluate
from dsdcli.evaluation.neighbours import nearest_crops, symmetries, turn_back, turn_image
from dsdcli.evaluation.novelty import diversity, memorisation
from dsdcli.evaluation.statistics import Correlation, LinealPath, Number, Sizes
from tests.evaluation_data import THREE, make_dataset, shuffled

GOOD = {"indistinguishable", "matched", "undefined", "novel", "diverse"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def three_phases(tmp_path_factory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("real3"), THREE)


def crops(dataset: Dataset, split: str, n: int, *size: int, seed: int = 3) -> np.ndarray:
    return dataset.crops(split, n, size, np.random.default_rng(seed))


def test_real_images_are_indistinguishable_by_every_metric(dataset):
    found = evaluate(crops(dataset, "heldout", 16, 24, 24), dataset, crops=32)
    assert {row.verdict for row in found.rows} <= GOOD, [row for row in found.rows if row.verdict not in GOOD]
    assert {row.metric for row in found.rows} >= {"tortuosity", "memorisation", "diversity"}


def test_real_volumes_of_three_phases_are_indistinguishable(three_phases):
    found = evaluate(crops(three_phases, "heldout", 6, 16, 16, 16), three_phases, crops=12)
    assert {row.verdict for row in found.rows} <= GOOD, [row for row in found.rows if row.verdict not in GOOD]
    subjects = {(row.metric, row.subject) for row in found.rows}
    assert ("interface", "pore|binder") in subjects
    assert ("triple-junction", "pore|grain|binder") in subjects
    assert ("diffusivity", "grain z") in subjects


def test_shuffled_voxels_are_off(dataset):
    rows = evaluate(shuffled(crops(dataset, "heldout", 24, 32, 32)), dataset, crops=48).rows
    named = ("two-point", "two-point-radial", "lineal-path", "chords", "pore-size", "interface", "euler")
    assert {row.verdict for row in rows if row.metric in named} == {"off"}
    assert all(row.low <= row.ratio <= row.high for row in rows if row.metric in named)


def test_a_slightly_coarser_material_is_told_from_the_real_one(dataset):
    stretched = crops(dataset, "heldout", 48, 24, 24).repeat(4, axis=1).repeat(4, axis=2)[:, ::3, ::3]  # by 4/3
    by_name = {
        row.metric: row for row in evaluate(stretched, dataset, crops=96, metrics=("two-point", "interface")).rows
    }
    assert by_name["interface"].verdict in ("close", "off")
    assert by_name["interface"].generated == pytest.approx(0.75 * by_name["interface"].real, rel=0.12)
    assert by_name["two-point"].generated > by_name["two-point"].real


def test_matched_crops_have_the_volume_fractions_of_their_samples(dataset):
    samples = crops(dataset, "train", 8, 24, 24)
    matched = matched_crops(dataset, "heldout", samples, 2, np.random.default_rng(5))
    difference = fractions(matched.stack, 2) - np.repeat(fractions(samples, 2), 2, axis=0)
    assert np.abs(difference).max() <= 0.01
    assert matched.residual == pytest.approx(np.abs(difference).max(axis=1).mean())
    again = matched_crops(dataset, "heldout", samples, 2, np.random.default_rng(5))
    assert np.array_equal(matched.stack, again.stack)


def test_without_matching_a_wrong_porosity_is_off(dataset):
    samples = crops(dataset, "heldout", 24, 24, 24)
    samples = np.where(samples == 0, np.roll(samples, 1, axis=2), samples)  # fewer pores
    pore, _ = evaluate(samples, dataset, metrics=("volume-fraction",), match=False).rows
    assert pore.verdict == "off"
    assert pore.generated < pore.real


def test_the_same_seed_gives_the_same_numbers(dataset):
    samples = crops(dataset, "train", 6, 20, 20)
    one, two, other = (evaluate(samples, dataset, metrics=("interface",), seed=seed).rows[0] for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_the_two_point_distance_is_its_definition():
    phi, s2, other = 0.3, np.array([0.2, 0.15, 0.1]), np.array([0.21, 0.13, 0.1])
    real, generated = np.array([phi**2, phi, *s2]), np.array([phi**2, phi, *other])
    expected = np.abs(other - s2).sum() / (s2 - phi**2).sum()
    assert Correlation().distance(generated, real) == pytest.approx(expected)
    assert Correlation().summary(real) == pytest.approx((s2 - phi**2).sum() / (phi - phi**2))


def test_the_lineal_path_distance_leaves_out_the_volume_fraction():
    real, generated = np.array([0.5, 0.5, 0.3, 0.1, 0.2]), np.array([0.4, 0.6, 0.3, 0.2, 0.2])
    assert LinealPath(axes=2).distance(generated, real) == pytest.approx(0.1 / 0.6)
    assert LinealPath(axes=2).summary(real) == pytest.approx(1.6 / 1.0)


def test_the_distance_of_sizes_is_the_mean_shift():
    sizes = np.zeros(10)
    sizes[[2, 4]] = 5, 5
    assert Sizes().summary(sizes) == 3
    assert Sizes().distance(np.roll(3 * sizes, 2), sizes) == pytest.approx(2 / 3)


def test_what_neither_has_is_no_difference_and_what_only_samples_have_is_infinite():
    none, some = np.array([0.0, 0.0]), np.array([0.2, 0.2])
    assert Number().distance(none, none) == 0
    assert Number().distance(some, none) == np.inf


def numbers(values: np.ndarray) -> dict:
    values = np.asarray(values, float)
    return {("percolation", "pore y"): np.stack([values, np.abs(values)], axis=1)}


def test_noise_alone_is_seldom_called_a_difference():
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(60):
        ours, heldout, train = rng.normal(10, 1, 16), rng.normal(10, 1, 64), rng.normal(10, 1, 64)
        (row,) = compare(numbers(ours), numbers(heldout), numbers(train), 2, False, rng)
        verdicts.append(row.verdict)
        assert row.low <= row.ratio <= row.high
    assert verdicts.count("indistinguishable") >= 56
    ratio = compare(numbers(ours + 3), numbers(heldout), numbers(train), 2, False, rng)[0]
    assert ratio.verdict == "off"
    assert ratio.p < 0.01


def test_the_floor_is_the_distance_that_real_crops_have_on_average():
    rng = np.random.default_rng(1)
    floors = []
    for _ in range(40):
        heldout, train = rng.normal(10, 1, 160), rng.normal(10, 1, 160)
        floors.append(compare(numbers(train[:16]), numbers(heldout), numbers(train), 2, False, rng)[0].floor)
    expected = np.sqrt(2 / np.pi * (1 / 16 + 1 / 160)) / 10  # of |difference| of two normal means
    assert np.mean(floors) == pytest.approx(expected, rel=0.2)


def test_a_rare_event_in_one_of_few_samples_is_no_difference():
    rng = np.random.default_rng(0)
    ours, real = np.zeros(16), np.zeros(64)
    ours[3] = 1.0
    (row,) = compare(numbers(ours), numbers(real), numbers(real), 2, True, rng)
    assert row.ratio == np.inf
    assert row.verdict == "indistinguishable"
    (row,) = compare(numbers(np.ones(16)), numbers(real), numbers(real), 2, True, rng)
    assert row.verdict == "off"


def test_undefined_values_are_left_out():
    rng = np.random.default_rng(0)
    real = numbers(range(6))
    assert compare(numbers([1, np.nan, 3]), real, real, 2, False, rng)[0].generated == 2
    assert compare(numbers([np.nan, np.nan]), real, real, 2, False, rng)[0].verdict == "undefined"


def test_copies_of_training_crops_are_memorised_however_they_are_turned(dataset):
    copies = crops(dataset, "train", 12, 24, 24)
    copies = np.stack([turn_image(image, turn) for image, turn in zip(copies, symmetries((24, 24)) * 2, strict=False)])
    flipped = np.random.default_rng(0).random(copies.shape) < 0.02
    found = memorisation(copies ^ flipped, crops(dataset, "heldout", 24, 24, 24), dataset, np.random.default_rng(0))
    assert found.row.verdict == "memorised"
    assert found.counted >= 9  # a few lie in the margin that is not searched
    number, crop = found.pair
    assert (copies[number] ^ flipped[number] != crop).mean() == pytest.approx(found.distances[number])


def test_one_copy_among_new_images_is_found(dataset):
    samples = crops(dataset, "heldout", 12, 24, 24, seed=1)
    samples[5] = dataset.train[0].array[7, 3:27, 11:35]
    found = memorisation(samples, crops(dataset, "heldout", 24, 24, 24), dataset, np.random.default_rng(0))
    assert (found.counted, found.pair[0], found.row.verdict) == (1, 5, "memorised")
    assert found.distances[5] == 0


@pytest.mark.parametrize("corner", [(0, 0, 0), (17, 30, 5), (20, 44, 44)])
def test_a_planted_volume_is_found_at_every_corner(three_phases, corner):
    z, y, x = corner
    crop = three_phases.train[0].array[z : z + 18, y : y + 20, x : x + 18]
    turn = symmetries((18, 20, 18))[11]
    (found,) = nearest_crops(turn_image(crop, turn)[None], three_phases)
    assert found.distance == 0
    assert np.array_equal(found.crop, turn_image(crop, turn))


@pytest.mark.parametrize(("size", "count"), [((5, 5), 8), ((4, 5), 4), ((3, 3, 3), 48), ((3, 4, 3), 16)])
def test_symmetries_of_a_box(size, count):
    image = np.arange(np.prod(size)).reshape(size)
    turned = [turn_image(image, turn) for turn in symmetries(size)]
    assert len({image.tobytes() for image in turned}) == count
    assert all(image.shape == size for image in turned)
    assert all(
        np.array_equal(turn_back(image_, turn), image) for image_, turn in zip(turned, symmetries(size), strict=True)
    )


def test_samples_that_repeat_themselves_are_named(dataset):
    samples = crops(dataset, "heldout", 12, 24, 24, seed=1)
    real = crops(dataset, "heldout", 12, 24, 24, seed=2)
    assert diversity(samples, real, 2, np.random.default_rng(0)).row.verdict == "diverse"
    samples[1:5] = samples[0]
    found = diversity(samples, real, 2, np.random.default_rng(0))
    assert (found.counted, found.row.verdict) == (5, "repetitive")


def test_one_sample_is_refused(dataset):
    with pytest.raises(DataError, match="one sample"):
        evaluate(np.zeros((1, 16, 16), np.uint8), dataset)


def test_samples_larger_than_the_real_images_are_refused(dataset):
    with pytest.raises(DataError, match="do not fit"):
        evaluate(np.zeros((4, 128, 128), np.uint8), dataset)


def test_samples_of_one_phase_are_measured_and_said(dataset):
    samples = crops(dataset, "heldout", 4, 24, 24)
    samples[0] = 1
    found = evaluate(samples, dataset, crops=4, metrics=("pore-size", "chords", "interface"))
    assert "1 of 4 samples hold a single phase" in found.remarks[0]
    assert all(np.isfinite(row.generated) for row in found.rows)
