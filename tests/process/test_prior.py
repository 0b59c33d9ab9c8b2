"""Where the walk back starts: fields that are cut have the two-point correlation that planes ask for."""

import math

import numpy as np
import pytest
import torch

from dsdcli.evaluation.measures.correlation import two_point
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import level_cut


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
@pytest.mark.parametrize(("ranges", "fraction"), [((60, 60, 60), 0.2), ((30, 60, 60), 0.5)])
def test_a_cut_has_the_covariance_that_planes_ask_for(boundary, ranges, fraction):
    """exp(-r / a), of the lengths a whose planes have these integral ranges, along every axis."""
    lattice, fractions = Lattice((40, 40, 40), boundary), torch.tensor([fraction, 1 - fraction])
    asked = torch.tensor([[[own, -own], [-own, own]] for own in ranges], dtype=torch.float64)
    found = []
    for seed in range(4):
        one, other = level_cut(fractions, asked, lattice, torch.Generator().manual_seed(seed)).numpy()
        cut = one - other
        found.append(two_point(cut > np.quantile(cut, 1 - fraction))[0])
    covariance = (np.mean(found, 0) - fraction**2) / (fraction * (1 - fraction))
    z, y, x = ranges
    lengths = [math.sqrt(square / (2 * math.pi)) for square in (y * x / z, z * x / y, z * y / x)]
    least = 8 * math.pi * math.prod(lengths) / lattice.sites  # less on average, since the total is fixed
    for along, length in zip(covariance, lengths, strict=True):
        wanted = np.exp(-np.arange(1, 9) / length) - least
        assert np.abs(along[1:9] - wanted).max() < 0.1
        assert abs((along[1:9] - wanted).mean()) < 0.05


def test_phases_that_exclude_each_other_do_so_in_the_fields():
    ranges = torch.tensor([[[50.0, -50.0, 0.0], [-50.0, 50.0, 0.0], [0.0, 0.0, 10.0]]] * 3, dtype=torch.float64)
    fields = level_cut(torch.tensor([0.4, 0.4, 0.2]), ranges, Lattice((24, 24, 24)), torch.Generator().manual_seed(0))
    among = np.corrcoef(fields.flatten(1).numpy())
    assert among[0, 1] < -0.8 and abs(among[0, 2]) < 0.2
    assert fields.flatten(1).mean(1).abs().max() < 1e-9
