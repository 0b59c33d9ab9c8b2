"""Intensities walk back with exact totals, each image by its seed alone; exact rates bring a density back."""

import numpy as np
import pytest
import torch

from dsdcli.network.config import Material
from dsdcli.network.levels import shape as shape_of_levels
from dsdcli.process.counts import settling_dose, spread
from dsdcli.process.hole import Hole
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.intensity import generate_counts, walk_back
from dsdcli.sampling.trapezoidal import Trapezoidal
from tests.intensity_data import ONE, TWO, random_intensity_model


def images(model, totals, lattice, **more):
    states = generate_counts(model, totals, lattice, Trapezoidal(2, dose_end=0.05), 7, **more)
    found = dict(pair for state in states for pair in state.finished)
    return np.stack([found[index].image for index in sorted(found)])


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (3, 4, 5)])
@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_every_channel_has_exactly_its_total_and_no_site_more_than_its_cap(shape, boundary):
    model, lattice = random_intensity_model(TWO, len(shape), boundary), Lattice(shape, boundary)
    sites = lattice.sites
    totals = np.array([[3 * sites, 100 * sites], [0, 1], [12 * sites, 300 * sites]])
    found = images(model, totals, lattice, batch=3)
    assert np.array_equal(found.reshape(3, 2, -1).sum(2), totals)
    assert found.min() >= 0
    assert (found.reshape(3, 2, -1).max((0, 2)) <= [12, 300]).all()
    model.levels = torch.rand(shape_of_levels(2)).sort(dim=2).values * torch.tensor([12.0, 300.0])[:, None]
    moved = images(model, totals, lattice, batch=3)
    assert np.array_equal(moved.reshape(3, 2, -1).sum(2), totals) and not np.array_equal(moved, found)


def test_an_image_depends_on_its_seed_and_totals_alone():
    model, lattice = random_intensity_model(ONE), Lattice((8, 8))
    totals = np.array([[150], [200], [250], [300]])
    whole = images(model, totals, lattice, batch=4)
    assert np.array_equal(whole, images(model, totals, lattice, batch=3))
    assert np.array_equal(whole[2:], images(model, totals[2:], lattice, batch=2, indices=range(2, 4)))
    assert len({image.tobytes() for image in whole}) == 4


def test_in_a_hole_every_part_gets_its_own_and_the_rest_stays():
    mask = np.zeros((9, 8), bool)
    mask[1:4, 1:5] = mask[6:8, 3:7] = True
    model, hole = random_intensity_model(ONE), Hole((9, 8), mask=mask)
    around = np.random.default_rng(0).integers(0, 12, (1, 9, 8))
    found = images(model, np.array([[[40], [8]], [[0], [96]]]), hole, batch=2, around=around)
    for image, wanted in zip(found, ([40, 8], [0, 96]), strict=True):
        assert [image[0][hole.parts == part].sum() for part in (1, 2)] == wanted
        assert np.array_equal(image[:, ~mask], around[:, ~mask])


def test_guidance_at_one_is_the_class_itself():
    classes = tuple(Material(name, (3.0,), ((1.0,),)) for name in "ab")
    model, lattice, totals = random_intensity_model(ONE, classes=classes), Lattice((8, 8)), np.full((2, 1), 200)
    plain, same, more = (images(model, totals, lattice, batch=2, kind=1, guidance=w) for w in (1.0, 1.0, 3.0))
    assert np.array_equal(plain, same) and not np.array_equal(plain, more)
    assert (more.reshape(2, -1).sum(1) == 200).all()


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_exact_rates_bring_independent_particles_back_to_their_density(eta):
    """Of independent particles the rates follow from the density that the walk makes of it (method.md, section 11)."""
    lattice, side = Lattice((16,)), 16
    density = torch.tensor([0.0, 0, 9, 9, 9, 0, 0, 0, 1, 1, 0, 0, 0, 5, 0, 0]).double()
    density /= density.sum()

    def rates(counts, dose, lattice):
        now = axis_kernel(side, "noflux", dose[:1])[0] @ density
        h = torch.stack([now.roll(-1) / now, now.roll(1) / now]) * dose[0]
        return (h * lattice.open_bonds()).expand(*counts.shape[:2], 2, side)

    generator = torch.Generator().manual_seed(0)
    start, number = settling_dose(lattice), 20000
    counts = spread(torch.tensor([[number]]), torch.ones(1, 1, side), [generator])
    sampler = Trapezoidal(64, eta=eta, dose_end=0.01)
    for state in walk_back(counts, rates, lattice, sampler, start, [generator]):
        counts = state
    assert int(counts.sum()) == number
    smoothed = axis_kernel(side, "noflux", torch.tensor([0.01]))[0] @ density
    assert (counts[0, 0] / number - smoothed).abs().sum() / 2 < 0.02
