"""A volume made in slabs: the network and its walk are those of the whole, on however many ranks."""

import numpy as np
import pytest
import torch

from dsdcli.errors import UsageError
from dsdcli.network.calibration import DOSES, shape
from dsdcli.network.config import Architecture
from dsdcli.network.slabs import SlabNet, slab_of
from dsdcli.process.image import assign
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.slab import Walkers
from dsdcli.process.waves import to_waves, wavenumbers
from dsdcli.ranks import Ranks
from dsdcli.sampling.slabs import assigned, generate_slab, scattered
from dsdcli.sampling.trapezoidal import Trapezoidal
from tests.conftest import random_model
from tests.slab_threads import on_ranks

CASES = [((21, 10, 9), "noflux"), ((24, 8, 12), "periodic"), ((30, 11), "noflux"), ((16, 12), "periodic")]


def calibrated(phases, ndim, boundary):
    model = random_model(phases, ndim, boundary)
    generator = torch.Generator().manual_seed(1)
    model.calibration = torch.rand(shape(phases), generator=generator, dtype=torch.float64)
    assert len(model.calibration) == DOSES
    model.coupling = 0.3 * (torch.eye(phases) - 0.5)
    return model


def together(count, lattice, model, work):
    """What ``work`` gives on the slab of each of so many ranks, (C, rows, ...), put together."""
    parts = on_ranks(count, lambda ranks: work(slab_of(model.config.architecture, lattice, ranks)))
    return torch.cat(parts, 1)


def walkers_of(counts, slab):
    """Particles of counts (C, *L), numbered in any order."""
    at = counts.flatten()
    place = torch.arange(len(at)).repeat_interleave(at)
    number = torch.randperm(len(place), generator=torch.Generator().manual_seed(2))
    row = place % slab.lattice.sites // slab.plane
    here = (row >= slab.rows.start) & (row < slab.rows.stop)
    return Walkers.sorted(place[here], number[here], slab)[0]


@pytest.mark.parametrize(("sides", "boundary"), CASES)
@pytest.mark.parametrize("dose", [6.0, 0.3])
def test_the_network_says_of_slabs_what_it_says_of_the_whole(sides, boundary, dose):
    model, lattice = calibrated(3, len(sides), boundary), Lattice(sides, boundary)
    counts = torch.randint(3, (3, *sides), generator=torch.Generator().manual_seed(0))
    at = torch.tensor([dose], dtype=torch.float64)
    expected = model.undo(counts[None], at, lattice)[0].flatten(2)  # (C, 2d, S)

    def undo(slab):
        walkers = walkers_of(counts, slab)
        h = torch.cat(SlabNet(model, slab, counts.flatten(1).float().mean(1)).undo(walkers, dose))
        return torch.cat([walkers.place[None].double(), h.T.double()])

    found = together(2, lattice, model, undo)
    place = found[0].long()
    wanted = expected[place // lattice.sites, :, place % lattice.sites].T.double()
    assert len(place) == counts.sum()
    assert (wanted == 0).any() == (boundary == "noflux")
    torch.testing.assert_close(found[1:], wanted, rtol=2e-4, atol=1e-5)
    clean = model.clean(counts[None], at, lattice)[0]
    own = together(
        3 if len(sides) == 3 else 2,
        lattice,
        model,
        lambda slab: SlabNet(model, slab, counts.flatten(1).float().mean(1)).clean(
            counts[:, slab.rows.start : slab.rows.stop].float(), dose
        ),
    )
    torch.testing.assert_close(own, clean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("sides", "boundary"), CASES)
def test_fields_on_slabs_walk_and_become_waves_as_on_the_whole(sides, boundary):
    model, lattice = random_model(2, len(sides), boundary), Lattice(sides, boundary)
    field = torch.randn(2, *sides, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dose = torch.tensor([3.0], dtype=torch.float64)

    def part(slab):
        return field[:, slab.rows.start : slab.rows.stop]

    walked = together(2, lattice, model, lambda slab: slab.smoother(dose)(part(slab)))
    torch.testing.assert_close(walked, smooth(field[None], dose, lattice)[0])
    back = together(3 if sides[0] > 16 else 2, lattice, model, lambda slab: slab.from_waves(slab.to_waves(part(slab))))
    torch.testing.assert_close(back, field)
    # A filter of wavenumbers, which is all that waves are used for here.
    k = wavenumbers(lattice, field.device)
    passed = to_waves(field[None], lattice)[0] * torch.exp(-k)
    power = passed.abs().square().sum()

    def filtered(slab):
        amplitude = slab.to_waves(part(slab))
        start, stop = (slab.columns[0][0], slab.columns[-1][1]) if slab.columns else (0, 0)
        own = wavenumbers(lattice, field.device, slice(start, stop))
        return (amplitude * torch.exp(-own)).square().sum().view(1, 1)

    torch.testing.assert_close(together(2, lattice, model, filtered).sum(), power)


@pytest.mark.parametrize(("sides", "boundary"), CASES)
@pytest.mark.parametrize("made", [calibrated, random_model])
def test_an_image_is_the_same_on_any_number_of_ranks_and_has_its_counts(sides, boundary, made):
    lattice = Lattice(sides, boundary)
    model = made(3, len(sides), boundary)
    totals = np.array([lattice.sites // 4, 0, lattice.sites // 3])
    totals[1] = lattice.sites - totals.sum()
    sampler = Trapezoidal(steps=2, eta=0.3)

    def draw(ranks, seed=7):
        slab = slab_of(model.config.architecture, lattice, ranks)
        *states, last = generate_slab(model, totals, slab, sampler, seed)
        assert states == [None] * (sampler.evaluations - 1)
        return last

    (one,) = on_ranks(1, draw)
    assert np.array_equal(np.bincount(one.image.ravel(), minlength=3), totals)
    for count in range(2, -(-sides[0] // 8) + 1):
        parts = on_ranks(count, draw)
        assert np.array_equal(np.concatenate([part.image for part in parts]), one.image)
        assert {(p.forced, p.overlap, p.far) for p in parts} == {(one.forced, one.overlap, one.far)}
    assert not np.array_equal(draw(Ranks(), 8).image, one.image)


def test_particles_start_where_they_are_expected():
    lattice, model = Lattice((20, 6)), random_model(2, 2)
    slab = slab_of(model.config.architecture, lattice, Ranks())
    expected = torch.zeros(2, 20, 6, dtype=torch.float64)
    expected[0, 3], expected[0, 12], expected[1, 7:9] = 1.0, 3.0, 1.0
    counts = scattered(np.array([40000, 10]), expected, slab, 3).counts(slab, 2)
    assert counts[1, 7:9].sum() == 10
    assert counts[0, [3, 12]].sum() == 40000
    assert abs(counts[0, 3].sum() - 10000) < 500
    assert abs(counts[0, 12] - 5000).max() < 400


@pytest.mark.parametrize("phases", [2, 3, 4])
@pytest.mark.parametrize("levels", [2, 9, 10**9])
def test_candidates_alone_decide_an_assignment(phases, levels):
    """As good as the assignment of the whole, also where many sites are equal, and the same on any number of ranks."""
    random, model, lattice = np.random.default_rng(levels), random_model(2, 2), Lattice((40, 10))
    score = random.integers(levels, size=(phases, lattice.sites)) / levels
    totals = random.multinomial(lattice.sites, np.full(phases, 1 / phases))

    def work(ranks):
        slab = slab_of(model.config.architecture, lattice, ranks)
        here = slice(slab.rows.start * slab.plane, slab.rows.stop * slab.plane)
        return assigned(np.ascontiguousarray(score[:, here]), totals, slab)[0]

    found = [np.concatenate(on_ranks(count, work)) for count in (1, 2, 5)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(np.bincount(found[0], minlength=phases), totals)
    best = np.take_along_axis(score, assign(score, totals)[None], 0).sum()
    assert np.take_along_axis(score, found[0][None], 0).sum() == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    ("architecture", "lattice", "count", "why"),
    [
        (Architecture((8, 16)), Lattice((20, 8)), 4, "4 ranks share 3 units"),
        (Architecture((8, 16)), Lattice((20, 9), "periodic"), 1, "multiples of 4"),
        (Architecture((8, 16), kernel=5), Lattice((20, 8), "periodic"), 1, "a multiple of 8"),
    ],
)
def test_what_cannot_be_cut_is_refused(architecture, lattice, count, why):
    if count == 4:
        lattice = Lattice((12, 8))
    with pytest.raises(UsageError, match=why):
        slab_of(architecture, lattice, Ranks(0, count, count))
