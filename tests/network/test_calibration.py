"""The calibration finds what a guess lacks, mends it, and leaves a good one alone."""

import pytest
import torch
from scipy.ndimage import gaussian_filter

from dsdcli.network.calibration import (
    LEAST_DOSE,
    Waves,
    band_power,
    corrected,
    doses,
    gains,
    growth,
    lacking,
    measure,
    moved,
    pull,
    said,
    shape,
    solve,
)
from dsdcli.network.model import NEAR, Given
from dsdcli.process.counts import forward_counts
from dsdcli.process.hole import Hole
from dsdcli.process.image import one_hot
from dsdcli.process.lattice import Lattice
from dsdcli.process.origins import log_undo_ratio
from dsdcli.process.waves import from_waves, to_waves, wavenumbers
from dsdcli.training.loss import Walked

from .test_network import counts_like, make_model

MOST = 200.0
DOSE = doses(MOST)[6]


def walked(boundary="noflux", images=24, side=32):
    lattice = Lattice((side, side), boundary)
    noise = torch.randn(images, side, side, generator=torch.Generator().manual_seed(0)).numpy()
    smooth = torch.from_numpy(gaussian_filter(noise, (0, 4, 4), mode="wrap"))
    phase = (smooth > smooth.std() * 0.3).to(torch.uint8)
    dose = torch.full((images,), float(DOSE), dtype=torch.float64)
    walk = Walked.draw(phase, 2, dose, lattice, torch.Generator().manual_seed(1))
    return lattice, one_hot(phase, 2).double(), walk.counts, dose


def table_of(guess, clean, counts, lattice):
    power = band_power(clean, lattice)
    dose = torch.full((len(clean),), float(DOSE), dtype=torch.float64)
    row = solve(measure(clean, Waves.of(guess, counts, dose, power, lattice), lattice))
    return torch.cat([row, power[..., None], torch.zeros_like(power)[..., None]], -1).expand(*shape(2)).clone()


def long_waves(field, lattice):
    """Amplitudes for the first phase, up to three waves a side."""
    return to_waves(field, lattice)[:, 0, :4, :4].flatten(1)[:, 1:]


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_a_guess_that_says_nothing_gives_way_to_the_counts_in_long_waves(boundary):
    lattice, clean, counts, dose = walked(boundary)
    level = clean.mean((2, 3), keepdim=True).expand_as(clean)
    nothing = level + 1e-3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mended = corrected(table_of(nothing, clean, counts, lattice), MOST, nothing, counts, dose, lattice)
    real, found = long_waves(clean, lattice), long_waves(mended, lattice)
    assert (real.conj() * found).real.sum() > 0.6 * real.abs().square().sum()
    assert mended.sum(1).sub(1).abs().max() < 1e-6


def test_a_perfect_guess_stays():
    lattice, clean, counts, dose = walked()
    table = table_of(clean, clean, counts, lattice)
    assert (table[..., 0] - 1).abs().max() < 1e-4 and table[..., 1].max() < 1e-4
    assert (corrected(table, MOST, clean, counts, dose, lattice) - clean).abs().max() < 1e-3


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_waves_grow_as_fast_as_they_should_once_they_are_pulled(boundary):
    lattice, clean, counts, dose = walked(boundary, images=48)
    power, at = band_power(clean, lattice), float(DOSE)
    level = clean.mean((2, 3), keepdim=True).expand_as(clean)
    table = table_of(level, clean, counts, lattice)  # of a network that says nothing

    def lack():
        undo = torch.stack([dose] * 4, 1)[:, None, :, None, None] * torch.exp(
            log_undo_ratio(
                corrected(table, MOST, level, counts, dose, lattice),
                counts,
                dose,
                lattice,
                pull(table, MOST, counts, dose, lattice),
            )
        )
        return lacking(growth(counts, undo, at, power, lattice)[None], at, power)

    before = lack()
    for _ in range(3):
        table[..., 3] += lack()
    assert before.max() > 0.05  # a linear guess makes them grow too slowly
    assert lack().abs().max() < 0.1 * before.abs().max()


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_so_do_waves_of_intensities(boundary):
    lattice, at, most = Lattice((32, 32), boundary), float(DOSE), MOST
    noise = torch.randn(48, 2, 32, 32, generator=torch.Generator().manual_seed(0)).numpy()
    smooth = torch.from_numpy(gaussian_filter(noise, (0, 0, 4, 4), mode="wrap"))
    clean = (torch.tensor([5.0, 9.0]).view(2, 1, 1) + 4 * smooth / smooth.std()).clamp_min(0).round().long()
    dose = torch.full((48,), at, dtype=torch.float64)
    counts = forward_counts(clean, dose, lattice, torch.Generator().manual_seed(1)).counts
    power = band_power(clean.double(), lattice, phases=False)
    table = torch.zeros(shape(2), dtype=torch.float64)
    table[..., 2] = power
    mean, seen = said(counts.double(), phases=False)
    guess = mean + from_waves(to_waves(seen, lattice) * gains(power, wavenumbers(lattice, "cpu"), dose), lattice)

    def lack():
        pulled = pull(table, most, counts, dose, lattice, phases=False)
        undo = at * torch.exp(log_undo_ratio(guess.clamp_min(0.1), counts, dose, lattice, pulled))
        return lacking(growth(counts, undo, at, power, lattice, phases=False)[None], at, power)

    before = lack()
    for _ in range(3):
        table[..., 3] += lack()
    assert before.max() > 0.03
    assert lack().abs().max() < 0.1 * before.abs().max()


def test_what_parts_of_the_images_do_not_agree_on_is_not_corrected():
    """Nor is the growth of weak waves; what they agree on is, whatever the number of parts."""
    power = torch.full((10, 1), 50.0, dtype=torch.float64)
    power[-1] = 1.0
    sums = torch.tensor([0.5, 0.6, 1.0], dtype=torch.float64).expand(6, 10, 1, 3).clone()
    found = lacking(sums, 0.01, power)
    torch.testing.assert_close(found, lacking(sums[:1], 0.01, power))
    assert found[0, 0] == pytest.approx(0.1, rel=0.01) and found[-1, 0] == 0
    sums[::2, :, :, 1] += 1.0
    sums[1::2, :, :, 1] -= 1.0
    assert (lacking(sums, 0.01, power) == 0).all()


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_hops_move_counts_and_make_none(boundary):
    lattice = Lattice((5, 4), boundary)
    counts, rate = counts_like((2, 3, 5, 4)).double(), torch.rand(2, 3, 4, 5, 4, dtype=torch.float64)
    change = moved(counts, rate, lattice)
    assert change.sum((2, 3)).abs().max() < 1e-12
    one = torch.zeros(1, 1, 5, 4, dtype=torch.float64)
    one[0, 0, 0, 2] = 3.0  # at a wall, or where the ring closes
    up = torch.zeros(1, 1, 4, 5, 4, dtype=torch.float64)
    up[0, 0, 1] = 0.5  # towards lower places of the first axis
    there = moved(one, up, lattice)[0, 0]
    assert there[0, 2] == (0 if boundary == "noflux" else -1.5)
    assert there[4, 2] == (0 if boundary == "noflux" else 1.5)


def test_near_known_voxels_the_guess_of_the_network_stays():
    model = make_model()
    lattice, dose = Lattice((40, 16)), torch.tensor([2 * LEAST_DOSE], dtype=torch.float64)
    counts = counts_like((1, 3, 40, 16))
    known = torch.zeros(1, 3, 40, 16, dtype=torch.bool)
    known[0, 1, 3, 5] = True
    before = model(counts, dose, [(1, lattice)], Given(known)).logits
    model.calibration = torch.full(shape(len(model.config.phases)), 0.7)
    after = model(counts, dose, [(1, lattice)], Given(known)).logits
    reach = 4 + NEAR
    assert torch.equal(after[..., :reach, :], before[..., :reach, :])
    assert not torch.isclose(after[..., reach:, :].softmax(1), before[..., reach:, :].softmax(1)).all(1).any()


def test_small_doses_and_holes_are_left_alone():
    model = make_model()
    lattice, dose = Lattice((16, 16)), torch.tensor([LEAST_DOSE / 2, 2 * LEAST_DOSE], dtype=torch.float64)
    counts = counts_like((2, 3, 16, 16))
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[4:9, 3:12] = True
    hole = Hole((16, 16), mask=mask.numpy())
    before = [model(counts, dose, [(2, domain)]).logits for domain in (lattice, hole)]
    model.calibration = torch.full(shape(len(model.config.phases)), 0.7)
    after = [model(counts, dose, [(2, domain)]).logits for domain in (lattice, hole)]
    assert torch.equal(after[1], before[1])
    torch.testing.assert_close(after[0][0].softmax(0), before[0][0].softmax(0))
    assert not torch.allclose(after[0][1].softmax(0), before[0][1].softmax(0))
