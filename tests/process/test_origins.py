"""Rates that follow from a guess of the clean image."""

import itertools

import numpy as np
import pytest
import torch

from dsdcli.process import kernel
from dsdcli.process.hole import Hole
from dsdcli.process.image import place
from dsdcli.process.lattice import Lattice
from dsdcli.process.origins import log_undo_ratio
from dsdcli.process.walk import forward

L_SHAPED = np.array([[c == "#" for c in row] for row in ("##...", "##.#.", ".#.##", "####.")])
DOMAINS = {
    "line": Lattice((7,)),
    "ring": Lattice((6, 5), "periodic"),
    "box": Lattice((3, 4, 5)),
    "hole": Hole(L_SHAPED.shape, mask=L_SHAPED),
}


def draw(domain, particles, dose, seed=0):
    """An image with as many particles, the walked particles, and their true h / s."""
    rng = torch.Generator().manual_seed(seed)
    sites = domain.walkable().flatten().nonzero()[:, 0]
    image = torch.zeros(domain.sites, dtype=torch.bool)
    image[sites[torch.randperm(len(sites), generator=rng)[:particles]]] = True
    image = image.view(1, 1, *domain.shape)
    start, doses = place(image), torch.tensor([dose], dtype=torch.float64)
    now, undo = forward(start, doses, domain, rng)
    return image, start, now, undo / dose, doses


def at(field, now):
    """Values (P, 2d) of a field (1, 1, 2d, *L) at the particles."""
    return field[(0, 0, slice(None), *now.site.T)].T


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("dose", [0.2, 3.0])
def test_one_particle_of_known_origin_has_its_exact_rates(name, dose):
    domain = DOMAINS[name]
    image, _, now, ratio, doses = draw(domain, 1, dose)
    counts = now.occupancy(domain, 1, 1)
    got = at(log_undo_ratio(image.double(), counts, doses, domain), now).exp()
    open_ = at(domain.open_bonds()[None, None], now)
    np.testing.assert_allclose(got[open_], ratio[open_], rtol=0.01)


def test_balancing_brings_the_rates_closer_to_the_mean_over_all_matchings():
    """Five particles of a known image: the posterior over all 120 ways to match them to their origins."""
    domain, errors = Lattice((3, 4)), []
    for seed in range(40):
        image, start, now, _, doses = draw(domain, 5, 0.5, seed)
        full = np.kron(*(kernel.axis_kernel(side, "noflux", doses)[0].numpy() for side in domain.shape))
        x, y = domain.ravel(now.site).numpy(), domain.ravel(start.site).numpy()
        matchings = np.array(list(itertools.permutations(y)))  # (120, 5)
        weight = full[x, matchings].prod(1)
        counts = now.occupancy(domain, 1, 1)
        balanced = at(log_undo_ratio(image.double(), counts, doses, domain), now).exp().numpy()
        mean = full @ image.flatten().double().numpy()
        bonds = at(domain.open_bonds()[None, None], now).numpy()
        for direction, step in enumerate((4, -4, 1, -1)):
            for i in np.flatnonzero(bonds[:, direction]):
                ratio = full[x[i] + step, matchings[:, i]] / full[x[i], matchings[:, i]]
                truth = np.average(ratio, weights=weight)
                found = balanced[i, direction], mean[x[i] + step] / mean[x[i]]
                errors.append([abs(ratio - truth) for ratio in found])
    balanced, independent = np.mean(errors, axis=0)
    assert balanced < 0.8 * independent


def test_frozen_particles_claim_nothing():
    hole = DOMAINS["hole"]
    image, _, now, _, doses = draw(hole, 4, 1.0)
    clean, counts = torch.full_like(image, 0.3, dtype=torch.float64), now.occupancy(hole, 1, 1)
    frozen = counts + ~hole.walkable()
    alone, beside = (log_undo_ratio(clean, n, doses, hole)[..., hole.open_bonds()] for n in (counts, frozen))
    assert torch.equal(alone, beside)


def test_large_free_form_holes_walk_as_small_ones(monkeypatch):
    hole = DOMAINS["hole"]
    field = torch.rand(3, 2, *hole.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dose = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
    small = kernel.smooth(field, dose, hole)
    monkeypatch.setattr(kernel, "EIGEN_SITES", 1)
    torch.testing.assert_close(kernel.smooth(field, dose, hole), small)


@pytest.mark.parametrize("name", DOMAINS)
def test_any_guess_and_any_counts_give_finite_rates(name):
    domain = DOMAINS[name]
    rng = torch.Generator().manual_seed(0)
    for clean in (torch.zeros(1, 2, *domain.shape), torch.ones(1, 2, *domain.shape)):
        for counts in (torch.zeros_like(clean).long(), torch.poisson(clean + 3, generator=rng).long()):
            for dose in (0.05, 1000.0):
                ratio = log_undo_ratio(clean, counts, torch.tensor([dose]), domain)
                assert torch.isfinite(ratio.exp()).all()
