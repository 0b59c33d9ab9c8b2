"""Where the walk back starts: fields that are cut have the two-point correlation that planes ask for."""

import math

import numpy as np
import pytest
import torch

from dsdcli.evaluation.measures.correlation import two_point
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice
from dsdcli.process.long_waves import integral_range
from dsdcli.process.prior import crop_lengths, crop_ranges, level_cut, range_on

CROP = 64  # side of the crops that integral ranges are of


def cut_as(fractions, ranges, side, walls, lattice, seed):
    """A level cut for the integral ranges of crops of a side."""
    lengths = crop_lengths(ranges.diagonal(dim1=1, dim2=2), (side, side), walls)
    return level_cut(fractions, ranges, lengths, lattice, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
@pytest.mark.parametrize(("ranges", "fraction"), [((60, 60, 60), 0.2), ((30, 60, 60), 0.5)])
def test_a_cut_has_the_covariance_that_planes_ask_for(boundary, ranges, fraction):
    """exp(-r / a), of the lengths a whose planes have these integral ranges, along every axis."""
    lattice, fractions = Lattice((40, 40, 40), boundary), torch.tensor([fraction, 1 - fraction], dtype=torch.float64)
    asked = torch.tensor([[[own, -own], [-own, own]] for own in ranges], dtype=torch.float64)
    found = []
    for seed in range(4):
        one, other = cut_as(fractions, asked, CROP, boundary, lattice, seed).numpy()
        cut = one - other
        found.append(two_point(cut > np.quantile(cut, 1 - fraction))[0])
    covariance = (np.mean(found, 0) - fraction**2) / (fraction * (1 - fraction))
    z, y, x = crop_lengths(torch.tensor(ranges, dtype=torch.float64), (CROP, CROP), boundary).tolist()
    lengths = [y * x / z, z * x / y, z * y / x]
    least = 8 * math.pi * math.prod(lengths) / lattice.sites  # less on average, since the total is fixed
    for along, length in zip(covariance, lengths, strict=True):
        wanted = np.exp(-np.arange(1, 9) / length) - least
        assert np.abs(along[1:9] - wanted).max() < 0.1
        assert abs((along[1:9] - wanted).mean()) < 0.05


def test_phases_that_exclude_each_other_do_so_in_the_fields():
    ranges = torch.tensor([[[50.0, -50.0, 0.0], [-50.0, 50.0, 0.0], [0.0, 0.0, 10.0]]] * 3, dtype=torch.float64)
    fields = cut_as(torch.tensor([0.4, 0.4, 0.2]), ranges, CROP, "noflux", Lattice((24, 24, 24)), 0)
    among = np.corrcoef(fields.flatten(1).numpy())
    assert among[0, 1] < -0.8 and abs(among[0, 2]) < 0.2
    assert fields.flatten(1).mean(1).abs().max() < 1e-9


@pytest.mark.parametrize("walls", ["noflux", "periodic"])
def test_crops_of_a_cut_have_the_integral_range_that_was_asked_for(walls):
    """That of crops is a half to two thirds of that of planes: the waves of a crop end at its border."""
    asked, side = 25.0, 32
    ranges = torch.tensor([[[asked, -asked], [-asked, asked]]] * 3, dtype=torch.float64)
    crops = []
    for seed in range(3):
        half = torch.tensor([0.5, 0.5], dtype=torch.float64)
        one, other = cut_as(half, ranges, side, walls, Lattice((96, 96, 96)), seed)
        phase = (one > other).long()
        for axis in range(3):
            planes = phase.movedim(axis, 0)[::4].unfold(1, side, side).unfold(2, side, side).reshape(-1, side, side)
            crops.append(torch.stack([planes, 1 - planes], 1))
    assert integral_range(torch.cat(crops), walls)[0, 0] == pytest.approx(asked, rel=0.15)
    (length,) = crop_lengths(torch.tensor([asked], dtype=torch.float64), (side, side), walls).tolist()
    assert 0.4 < asked / (2 * math.pi * length**2) < 0.8


def test_a_cut_is_no_denser_at_a_wall():
    ranges = torch.tensor([[[60.0, -60.0], [-60.0, 60.0]]] * 3, dtype=torch.float64)
    fractions, share = torch.tensor([0.2, 0.8], dtype=torch.float64), []
    for seed in range(8):
        one, other = cut_as(fractions, ranges, CROP, "noflux", Lattice((48, 48, 48)), seed).numpy()
        cut = one - other > np.quantile(one - other, 0.8)
        share.append(np.mean([plane.mean() for axis in range(3) for plane in np.moveaxis(cut, axis, 0)[[0, -1]]]))
    assert np.mean(share) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
@pytest.mark.parametrize("sides", [(64, 64), (48, 48, 48)])
def test_a_larger_image_has_the_integral_range_of_its_own_crops(boundary, sides):
    """Of one covariance, whatever the crops that it was measured on; of the crops' own size, exactly that of them."""
    length, ndim = 2.2, len(sides)
    lengths = torch.tensor([length, length / 2], dtype=torch.float64)
    small, large = (crop_ranges(lengths, side, boundary, ndim) for side in (24, sides[0]))
    between = torch.tensor([[1.0, -0.5], [-0.5, 1.0]], dtype=torch.float64)
    crops = between * torch.outer(small, small).sqrt()
    found = range_on(crops, (24,) * ndim, boundary, Lattice(sides, boundary))
    torch.testing.assert_close(found, between * torch.outer(large, large).sqrt(), rtol=0.01, atol=0)
    assert (found.diagonal() > 1.1 * small).all()
    mask = np.ones(sides, bool)
    mask[0] = False
    for lattice in (Lattice((24,) * ndim, boundary), Hole(sides, boundary, mask=mask)):
        assert range_on(crops, (24,) * ndim, boundary, lattice) is crops


def test_the_sum_over_lags_is_the_variance_of_the_waves():
    side, length = 12, 3.0
    x = np.arange(side)
    wave = np.sqrt(2 / side) * np.cos(np.pi / side * (x + 0.5))
    z, y = np.meshgrid(x, x, indexing="ij")
    amplitude = (wave[z] / np.sqrt(side)).ravel()
    covariance = np.exp(-np.hypot(z.ravel()[:, None] - z.ravel(), y.ravel()[:, None] - y.ravel()) / length)
    (found,) = crop_ranges(torch.tensor([length], dtype=torch.float64), side, "noflux", 2).tolist()
    assert found == pytest.approx(amplitude @ covariance @ amplitude)


def test_narrow_crops_say_nothing_of_longer_waves():
    """What a crop of less than ten lengths has is far from that of a wide image, and would be taken for anything."""
    (own,) = crop_ranges(torch.tensor([8.0], dtype=torch.float64), 32, "noflux", 3).tolist()
    crops = torch.tensor([[own, -own], [-own, own]], dtype=torch.float64)
    assert torch.equal(range_on(crops, (32, 32, 32), "noflux", Lattice((64, 64, 64))), crops)
    for most in (own, 1e6):
        (length,) = crop_lengths(torch.tensor([most], dtype=torch.float64), (32, 32, 32), "noflux").tolist()
        assert length <= max(3.2, (most / (8 * math.pi)) ** (1 / 3)) + 1e-9
