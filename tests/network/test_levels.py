"""Expected counts round to the histogram of real ones, in the order that they were."""

import numpy as np
import pytest

from dsdcli.network.levels import LEVELS, levelled, shape, thresholds


@pytest.mark.parametrize("cap", [1, 16, LEVELS, 1000])
def test_guesses_round_to_the_histogram_of_real_counts(cap):
    rng = np.random.default_rng(cap)
    real = np.where(rng.random((40, 2, 16, 16)) < 0.3, cap, rng.integers(0, cap + 1, (40, 2, 16, 16)))
    caps = np.array([cap, cap])
    # A network that is not sure of extremes, and less of those of the second species.
    blur = np.array([0.9, 0.6])[:, None, None]
    guess = cap / 2 + blur * (real - cap / 2) + rng.normal(0, 0.01, real.shape)
    table = thresholds(guess, real, caps)
    assert table.shape == shape(2)
    many = thresholds(guess, np.concatenate([real] * 3), caps)  # shares count, not numbers
    np.testing.assert_array_equal(many, table)
    found = levelled(guess, table, caps).round()
    bins = np.linspace(-0.5, cap + 0.5, min(cap, 16) + 2)
    for species in range(2):
        made, wanted, plain = (
            np.histogram(each[:, species], bins)[0] / each[:, species].size for each in (found, real, guess)
        )
        assert np.abs(made - wanted).max() < 0.01
        assert cap == 1 or np.abs(plain - wanted).max() > 0.03
    order = np.argsort(guess[:, 0], axis=None)
    assert (np.diff(levelled(guess, table, caps)[:, 0].ravel()[order]) >= 0).all()


def test_no_count_need_occur():
    caps, real = np.array([9]), np.full((2, 1, 4, 4), 5)  # neither 0 to 4 nor 6 to 9 occur
    table = thresholds(real + 0.2 * np.random.default_rng(0).random(real.shape), real, caps)
    found = levelled(np.linspace(4.9, 5.3, 9).reshape(1, 1, 1, 9), table, caps)
    assert found.min() >= 4.5 - 1e-6 and found.max() <= 5.5 + 1e-6
