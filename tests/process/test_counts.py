"""Counts walk in law as their particles do, whatever their number, and are rounded to exact totals."""

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.stats import chi2

from dsdcli.process import counts as room
from dsdcli.process.counts import forward_counts, leap_counts, settling_dose, spread
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice
from dsdcli.process.rounding import nearest_whole, round_counts
from dsdcli.process.walk import Particles, undo_counts


def seeded(n=0):
    return torch.Generator().manual_seed(n)


def laplacian(lattice):
    """Dense generator of the walk, (S, S)."""
    bonds = lattice.open_bonds().flatten(1)
    sites = lattice.unravel(torch.arange(lattice.sites))
    matrix = np.zeros((lattice.sites, lattice.sites))
    for direction in range(lattice.directions):
        there = sites.clone()
        there[:, direction // 2] += 1 - 2 * (direction % 2)
        there = lattice.ravel(lattice.fold(there))
        for here in range(lattice.sites):
            if bonds[direction, here]:
                matrix[there[here], here] += 1
                matrix[here, here] -= 1
    return matrix


PATHS = (room._one_by_one, room._axis_by_axis)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lattice", [Lattice((5, 4)), Lattice((4, 6), "periodic"), Lattice((2, 3, 4))])
def test_the_forward_draw_is_that_of_the_matrix_exponential(path, lattice):
    start = torch.zeros(2, 1, lattice.sites, dtype=torch.int64)
    start[0, 0, 1], start[1, 0, -1] = 6000, 9000
    dose = torch.tensor([0.7, 2.5], dtype=torch.float64)
    crowd = path(start.view(2, 1, *lattice.shape), dose, lattice, seeded())
    for image in range(2):
        chance = expm(dose[image].item() * laplacian(lattice)) @ (start[image, 0].numpy() / start[image].sum().item())
        found, total = crowd.counts[image].flatten().numpy(), start[image].sum().item()
        assert found.sum() == total
        square = ((found - total * chance) ** 2 / (total * chance)).sum()
        assert chi2.sf(square, lattice.sites - 1) > 1e-4


@pytest.mark.parametrize("lattice", [Lattice((4, 5)), Lattice((4, 3), "periodic")])
def test_what_is_to_undo_has_the_same_mean_on_both_paths_and_for_particles(lattice):
    """Sites with one source alone know their origin, and then the sums are those of the particles exactly."""
    start = torch.zeros(1, 1, *lattice.shape, dtype=torch.int64)
    start[0, 0, 1, 1] = 5000
    dose = torch.tensor([0.8], dtype=torch.float64)
    crowds = [path(start, dose, lattice, seeded(3)) for path in PATHS]
    site = lattice.unravel(torch.arange(lattice.sites))
    zero = torch.zeros(lattice.sites, dtype=torch.int64)
    origin = Particles(zero, zero, torch.ones_like(site))
    exact = undo_counts(Particles(zero, zero, site), origin, dose, lattice) / dose  # (S, 2d)
    for crowd in crowds:
        number = crowd.counts.flatten().double()
        mean = crowd.ratio[0, 0].flatten(1).T.double()
        assert torch.allclose(mean, number[:, None] * exact, rtol=1e-4, atol=1e-4)
        nats = (number[:, None] * (torch.xlogy(exact, exact) - exact)).sum()
        assert crowd.floor.item() == pytest.approx(nats.item(), rel=1e-5)


def test_what_is_to_undo_is_unbiased_where_origins_mix():
    """The mean over many draws of sum_x ratio(x) f(n(x)) is that of particles one by one."""
    lattice = Lattice((3, 4))
    start = torch.tensor([[5, 0, 2, 0], [0, 9, 0, 1], [4, 0, 0, 7]])[None, None].expand(4000, 1, 3, 4)
    dose = torch.full((4000,), 0.6, dtype=torch.float64)
    sums = []
    for path in PATHS:
        crowd = path(start.contiguous(), dose, lattice, seeded(1))
        sums.append((crowd.ratio * torch.sqrt(1.0 + crowd.counts)[:, :, None]).flatten(1))
    means, errors = zip(*((s.mean(0), s.std(0) / 4000**0.5) for s in sums), strict=True)
    assert ((means[0] - means[1]).abs() < 4.5 * torch.hypot(*errors) + 1e-9).all()
    one_by_one, by_axis = (e.square().sum() for e in errors)
    assert by_axis < one_by_one  # a mean of what particles carry varies less


def test_in_holes_every_part_keeps_its_own_and_nothing_else_moves():
    mask = np.zeros((7, 8), bool)
    mask[1:3, 1:4] = True  # a box
    mask[4:6, 4:7] = mask[5, 2:5] = True  # none
    hole = Hole((7, 8), mask=mask)
    start = torch.full((3, 2, 7, 8), 400)
    crowd = forward_counts(start, torch.tensor([0.3, 1.0, 9.0], dtype=torch.float64), hole, seeded())
    assert (crowd.counts[..., ~torch.from_numpy(mask)] == 0).all()
    for part in (1, 2):
        sites = torch.from_numpy(hole.parts == part)
        assert (crowd.counts[..., sites].sum(-1) == 400 * sites.sum()).all()
    assert (crowd.ratio * ~hole.open_bonds()).abs().max() == 0


def test_billions_of_particles_have_the_noise_of_independent_ones():
    lattice, dose = Lattice((16, 16)), torch.tensor([3.0], dtype=torch.float64)
    calls = []
    for number in (1, 10**7):
        start = torch.full((1, 1, 16, 16), number)
        crowd = forward_counts(start, dose, lattice, seeded())
        assert int(crowd.counts.sum()) == 256 * number
        calls.append(crowd.counts.double().std().item() / number**0.5)
    assert calls[1] == pytest.approx(calls[0], rel=0.3)


def test_spreading_is_multinomial():
    weight = torch.rand(1, 2, 3, 5, generator=seeded(2))
    weight[0, 0, 1, 2] = 0
    totals = torch.tensor([[4000, 90000]])
    found = spread(totals, weight, [seeded()])
    assert torch.equal(found.flatten(2).sum(2), totals)
    chance = weight / weight.flatten(2).sum(2)[..., None, None]
    expected = totals[..., None, None] * chance
    square = torch.where(chance > 0, (found - expected) ** 2 / expected, 0).flatten(2).sum(2)
    assert found[0, 0, 1, 2] == 0
    assert (chi2.sf(square.numpy(), [13, 14]) > 1e-4).all()


def test_a_free_form_hole_is_that_of_the_matrix_exponential():
    hole = Hole((4, 4), mask=np.tri(4, dtype=bool))
    start = torch.zeros(1, 2, 4, 4, dtype=torch.int64)
    start[0, 0, 2, 0], start[0, 1, 3, 3], dose = 20000, 7, 0.8
    crowd = forward_counts(start, torch.tensor([dose], dtype=torch.float64), hole, seeded())
    chance = expm(dose * laplacian(hole))[:, 8]
    found, inside = crowd.counts[0, 0].flatten().numpy(), hole.mask.flatten()
    square = ((found - 20000 * chance) ** 2)[inside] / (20000 * chance[inside])
    assert chi2.sf(square.sum(), inside.sum() - 1) > 1e-4
    assert crowd.counts[0, 1].sum() == 7
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.roll(chance.reshape(4, 4), -1, 0)[:3] / chance.reshape(4, 4)[:3]
    held = hole.mask[:3] & (crowd.counts[0, 0, :3].numpy() > 0)
    mean = (crowd.ratio[0, 0, 0, :3] / crowd.counts[0, 0, :3].clamp_min(1)).numpy()
    assert np.allclose(mean[held], up[held], rtol=1e-4)


@pytest.mark.parametrize("lattice", [Lattice((5, 6)), Lattice((5, 6), "periodic"), Lattice((3, 4, 3))])
def test_a_leap_keeps_totals_and_has_the_mean_it_is_told(lattice):
    n, middle = 40000, tuple(side // 2 for side in lattice.shape)
    counts = torch.zeros(1, 1, *lattice.shape, dtype=torch.int64)
    counts[(0, 0, *middle)] = n
    drift = torch.zeros(1, 1, lattice.directions, *lattice.shape)
    wanted = [0.3, 0.1, 0.0, 0.6, 0.2, 0.2][: lattice.directions]
    drift[(0, 0, slice(None), *middle)] = torch.tensor(wanted)
    after, carried = leap_counts(counts, drift, lattice, [seeded()], drift)
    assert int(after.sum()) == n
    grids = torch.meshgrid(*(torch.arange(s) - m for s, m in zip(lattice.shape, middle, strict=True)), indexing="ij")
    for axis, grid in enumerate(grids):
        mean = (after[0, 0] * grid).sum().item() / n
        assert mean == pytest.approx(wanted[2 * axis] - wanted[2 * axis + 1], abs=0.02)
    held = after[0, 0] > 0
    assert torch.allclose(carried[0, 0][:, held], torch.tensor(wanted)[:, None].expand(-1, int(held.sum())))


def test_long_leaps_fold_at_walls_and_each_image_has_its_own_noise():
    lattice = Lattice((4, 4))
    counts, drift = torch.full((2, 1, 4, 4), 50), torch.full((2, 1, 4, 4, 4), 2.7)
    both, _ = leap_counts(counts, drift, lattice, [seeded(1), seeded(2)])
    alone, _ = leap_counts(counts[1:], drift[1:], lattice, [seeded(2)])
    assert torch.equal(both[1:], alone)
    assert (both.flatten(1).sum(1) == 800).all() and not torch.equal(both[0], both[1])


def test_settled_means_that_the_slowest_wave_is_gone():
    for lattice in (Lattice((8, 8)), Lattice((8, 6), "periodic"), Hole((5, 5), mask=np.tri(5, dtype=bool))):
        chance = expm(settling_dose(lattice) * laplacian(lattice))
        inside = lattice.walkable().flatten().numpy()
        deviation = np.abs(chance[np.ix_(inside, inside)] * inside.sum() - 1).max()
        assert 1e-4 < deviation < 0.02


def test_rounding_is_the_best_there_is():
    rng = np.random.default_rng(0)
    for total in range(9):
        mean = rng.uniform(-0.5, 3.5, 4)
        found = nearest_whole(mean, total, 2)
        assert found.sum() == total and found.min() >= 0 and found.max() <= 2
        every = [k for k in itertools.product(range(3), repeat=4) if sum(k) == total]
        best = min(((np.array(k) - mean) ** 2).sum() for k in every)
        assert ((found - mean) ** 2).sum() == pytest.approx(best)
    with pytest.raises(ValueError, match="do not fit"):
        nearest_whole(mean, 9, 2)


def test_rounded_images_have_the_totals_of_every_part():
    rng = np.random.default_rng(1)
    parts = np.zeros((6, 7), int)
    parts[:3], parts[4:] = 1, 2
    around = rng.integers(0, 9, (2, 6, 7))
    totals = np.array([[30, 100], [0, 9 * 14]])
    found = round_counts(rng.uniform(0, 9, (2, 6, 7)), around, totals, np.array([9, 9]), parts, around)
    for part, wanted in enumerate(totals, 1):
        assert np.array_equal(found.image[:, parts == part].sum(1), wanted)
    assert np.array_equal(found.image[:, parts == 0], around[:, parts == 0])
    assert found.image.min() >= 0 and found.image.max() <= 9
