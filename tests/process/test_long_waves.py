"""How long waves vary from image to image, and what walks back start from."""

import math

import pytest
import torch

from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice
from dsdcli.process.long_waves import LongWaves, integral_range, odds_exponents
from dsdcli.process.prior import slow_waves

SIDE, RANGE = 48, 50.0


def images(n, exponent, seed=0, low=0.25, high=0.75):
    """Two phases, one-hot (n, 2, SIDE, SIDE): independent voxels of a density with the longest waves along y and x,
    whose variance over f (1 - f) is `RANGE` times a power of f / (1 - f)."""
    generator = torch.Generator().manual_seed(seed)
    f = low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)
    deviation = torch.sqrt(RANGE * f * (1 - f) * (f / (1 - f)) ** exponent)
    wave = torch.cos(math.pi / SIDE * (torch.arange(SIDE) + 0.5)).double() * math.sqrt(2) / SIDE
    y, x = torch.randn(2, n, generator=generator, dtype=torch.float64) * deviation
    density = f[:, None, None] + y[:, None, None] * wave[:, None] + x[:, None, None] * wave
    pore = torch.rand(density.shape, generator=generator, dtype=torch.float64) < density
    return torch.stack([pore, ~pore], 1)


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 0.7])
def test_exponents_of_a_material_are_found(exponent):
    voxels = images(1500, exponent)
    found = odds_exponents(voxels, "noflux", len(voxels))
    assert found[0] == pytest.approx(exponent, abs=0.12)
    assert found[1] == pytest.approx(-float(found[0]), abs=1e-9)
    usual = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert integral_range(voxels, "noflux", found, usual)[0, 0] == pytest.approx(RANGE, rel=0.1)


def test_few_images_say_little():
    voxels = images(400, 1.0)
    all_of_them, four = (float(odds_exponents(voxels, "noflux", n)[0]) for n in (400, 4))
    assert 0 < four < 0.7 * all_of_them


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_images_that_say_nothing_have_no_exponent(boundary):
    """Of one volume fraction, of a single phase, or a single image."""
    checks = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2 == 0
    alike = torch.stack([checks, ~checks]).expand(6, -1, -1, -1)
    empty = torch.zeros(6, 2, SIDE, SIDE, dtype=torch.bool)
    empty[:, 1] = True
    for voxels in (alike, empty, images(1, 0.5)):
        assert odds_exponents(voxels, boundary, len(voxels)).tolist() == [0, 0]


def law(exponents):
    ranges = torch.tensor([[RANGE, -RANGE], [-RANGE, RANGE]], dtype=torch.float64)
    return LongWaves(ranges, torch.tensor([0.2, 0.8]).double(), None if exponents is None else torch.tensor(exponents))


def start(f, exponents, n=1500, lattice=None, dose=60.0):
    lattice = lattice or Lattice((SIDE, SIDE))
    fractions = torch.tensor([f, 1 - f], dtype=torch.float64).expand(n, -1)
    generators = [torch.Generator().manual_seed(seed) for seed in range(n)]
    return slow_waves(fractions, law(exponents), dose, lattice, generators)


def longest(field):
    """Amplitudes of the waves along y, along x, and along both, of fields (n, SIDE, SIDE)."""
    wave = torch.cos(math.pi / SIDE * (torch.arange(SIDE) + 0.5)).double() * math.sqrt(2 / SIDE)
    flat = torch.full_like(wave, SIDE**-0.5)
    return [torch.einsum("nyx,y,x->n", field, *pair) for pair in ((wave, flat), (flat, wave), (wave, wave))]


def test_waves_grow_with_the_volume_fraction_as_the_exponent_says():
    decay = math.exp(-2 * 60 * (2 - 2 * math.cos(math.pi / SIDE)))
    for f in (0.1, 0.2, 0.4):
        expected = RANGE * decay * f * (1 - f) * (4 * f / (1 - f)) ** 0.6
        y, x, _ = longest(start(f, [0.6, -0.6])[:, 0])
        assert float((y.square() + x.square()).mean() / 2) == pytest.approx(expected, rel=0.15)


def test_where_there_is_more_of_a_phase_shorter_waves_vary_more():
    """Of two waves and the one that is their product; with f = 1/2 and no exponent nothing tells phases apart."""

    def skewness(field):
        y, x, both = longest(field)
        return float((y * x * both).mean() / (y.std() * x.std() * both.std()))

    pore, grain = start(0.2, [0.5, -0.5]).movedim(1, 0)
    assert skewness(pore) > 0.2 and skewness(grain) < -0.2
    assert abs(skewness(start(0.5, [0.0, 0.0])[:, 0])) < 0.12
    assert abs(skewness(start(0.2, None)[:, 0])) < 0.12


def test_two_phases_start_from_the_same_waves():
    pore, grain = start(0.3, [0.5, -0.5], n=4).movedim(1, 0)
    both = (pore > 0) & (grain > 0)
    torch.testing.assert_close((pore + grain)[both], torch.ones(int(both.sum())).double())


def test_totals_stay_in_every_part_of_a_hole():
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[4:20, 5:30] = inside[30:44, 8:20] = True
    two = Hole((SIDE, SIDE), mask=inside.numpy())
    field = start(0.3, [0.5, -0.5], n=2, lattice=two, dose=20.0)
    assert field.min() >= 0
    for part in (1, 2):
        mean = field[..., torch.from_numpy(two.parts == part)].mean(-1)
        torch.testing.assert_close(mean, torch.tensor([0.3, 0.7]).double().expand(2, -1), atol=0.01, rtol=0)
    assert bool((start(0.0, [0.5, -0.5], n=2)[:, 0] == 0).all())
