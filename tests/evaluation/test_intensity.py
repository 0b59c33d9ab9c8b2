"""Intensities are told from real ones by what differs, and by nothing else."""

import numpy as np
import pytest

from dsdcli.errors import DataError
from dsdcli.evaluation.intensity import evaluate_counts
from dsdcli.evaluation.measures.intensity import measure_counts, spectrum
from dsdcli.evaluation.metrics import INTENSITY, METRICS
from tests.intensity_data import ONE, TWO, make_intensities


def test_the_spectrum_of_waves_of_at_least_half_the_side_is_their_variance():
    x = np.arange(16)
    wave = np.rint(100 + 50 * np.cos(np.pi / 16 * 3 * (x + 0.5)))[:, None].repeat(16, 1).astype(int)
    found = spectrum(wave)
    assert found.argmax() == 2
    assert found.sum() == pytest.approx(wave.var(), rel=0.01)


def test_what_is_measured_is_what_numpy_says():
    image = np.random.default_rng(0).integers(0, 12, (2, 9, 8))
    found = measure_counts(image, TWO)
    assert found["mean", "iron"][0] == pytest.approx(image[0].mean())
    assert found["variance", "nickel"][0] == pytest.approx(image[1].var())
    assert found["histogram", "iron"].tolist() == np.bincount(image[0].ravel(), minlength=13).tolist()
    one = image[0]
    assert found["autocovariance-axis", "iron x"][3] == pytest.approx((one[:, 2:] * one[:, :-2]).mean())
    assert found["cross-covariance", "iron|nickel"][0] == pytest.approx(np.cov(image.reshape(2, -1), bias=True)[0, 1])
    assert {key[0] for key in found} <= set(METRICS)


@pytest.mark.parametrize("species", [ONE, TWO])
def test_real_crops_pass_and_shuffled_ones_do_not(tmp_path, species):
    dataset = make_intensities(tmp_path / "x.dsd.h5", species, (24, 48, 48))
    rng = np.random.default_rng(3)
    real = dataset.crops("heldout", 24, (16, 16), rng).astype(np.int64)
    shuffled = rng.permuted(real.reshape(*real.shape[:2], -1), axis=2).reshape(real.shape)
    verdicts = []
    for stack in (real, shuffled, dataset.crops("train", 24, (16, 16), rng).astype(np.int64)):
        found = evaluate_counts(stack, dataset, INTENSITY, crops=48)
        verdicts.append({(row.metric, row.subject): row.verdict for row in found.rows})
    name = species[0].name
    assert "off" not in verdicts[0].values()
    assert verdicts[1]["autocovariance", name] == verdicts[1]["power-spectrum", name] == "off"
    assert verdicts[1]["mean", name] == "matched"
    assert verdicts[2]["memorisation", "all"] != "novel"
    with pytest.raises(DataError, match="one sample"):
        evaluate_counts(real[:1], dataset, INTENSITY)
