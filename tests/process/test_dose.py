"""Grids of doses: from the highest to the lowest, spaced as their names say."""

import numpy as np
import pytest

from dsdcli.errors import UsageError
from dsdcli.process.dose import GRIDS, dose_grid
from dsdcli.sampling.trapezoidal import Trapezoidal


@pytest.mark.parametrize("grid", GRIDS)
def test_a_grid_falls_from_the_highest_dose_to_the_lowest(grid):
    doses = Trapezoidal(9, dose_end=0.06, grid=grid).doses(400.0)
    assert len(doses) == 10
    assert (doses[0], doses[-1]) == pytest.approx((400.0, 0.06))
    assert (np.diff(doses) < 0).all()


def test_grids_are_spaced_as_they_are_called():
    linear, power, exponential, cosine = (
        np.array(dose_grid(12, 400.0, 0.06, grid=name)) for name in ("linear", "power", "exponential", "cosine")
    )
    assert np.ptp(np.diff(linear)) < 1e-9
    assert np.ptp(np.diff(power ** (1 / 7))) < 1e-9
    assert np.ptp(np.diff(np.log(exponential))) < 1e-9
    spans = -np.diff(np.log(cosine))
    assert spans == pytest.approx(spans[::-1])
    assert spans[0] < spans[5] / 5


def test_an_unknown_grid_is_said():
    with pytest.raises(UsageError, match="use one of power, linear"):
        Trapezoidal(grid="square")
