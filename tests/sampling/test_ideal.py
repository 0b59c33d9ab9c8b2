"""With the rates of an ideal denoiser the walk back returns the images that it knows, as often as they are."""

from itertools import permutations

import numpy as np
import pytest
import torch

from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, scatter
from dsdcli.sampling.adaptive import Adaptive
from dsdcli.sampling.trapezoidal import Trapezoidal
from tests.sampling.test_tau_leaping import generators

SIDE, WALKERS = 6, 3
IMAGES = torch.tensor([[[0, 0], [0, 1], [1, 0]], [[4, 4], [4, 5], [1, 1]], [[0, 5], [3, 2], [5, 0]]])  # (3, P, 2)
SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
ORDERS = torch.tensor(list(permutations(range(WALKERS))))


def posterior(site, dose):
    """Of particles at (B, P, 2) after doses (B,): probability of every image and order in which its particles became
    these, (B, 3, P!), and the mean undo counts of each, (B, P, 4). Which particle is which cannot be seen, so that the
    likelihood of an image is a permanent."""
    kernel = axis_kernel(SIDE, "noflux", dose)  # (B, x, x0)
    row = torch.arange(len(site))[:, None, None, None]
    from_ = IMAGES[:, ORDERS]  # (3, P!, P, 2)
    here = site[:, None, None]  # (B, 1, 1, P, 2)

    def along(axis, shift=0):
        x = here[..., axis] + shift
        inside = (x >= 0) & (x < SIDE)
        return kernel[row, x.clamp(0, SIDE - 1), from_[None, ..., axis]] * inside  # (B, 3, P!, P)

    each = [along(0), along(1)]
    joint = SHARES[:, None] * (each[0] * each[1]).prod(-1)
    joint = joint / joint.sum((1, 2), keepdim=True)
    undo = [(joint[..., None] * along(axis, sign) / each[axis]).sum((1, 2)) for axis in (0, 1) for sign in (1, -1)]
    return joint, dose[:, None, None] * torch.stack(undo, -1)


def sites_of(counts):
    """Where the particles of counts (B, 1, L, L) are: (B, P, 2)."""
    flat = counts.flatten(1)
    index = torch.repeat_interleave(torch.arange(flat.shape[1]).repeat(len(flat)), flat.flatten()).view(len(flat), -1)
    return torch.stack([index // SIDE, index % SIDE], -1)


def ideal(counts, dose, lattice):
    """Undo counts at the sites of the particles; of those that share a site, the mean."""
    site = sites_of(counts)
    _, undo = posterior(site, dose)
    index = (site[..., 0] * SIDE + site[..., 1])[..., None].expand(-1, -1, 4)
    fields = torch.zeros(len(counts), SIDE**2, 4, dtype=torch.float64).scatter_add_(1, index, undo)
    fields /= counts.flatten(1)[..., None].clamp_min(1)
    return fields.mT.reshape(len(counts), 1, 4, SIDE, SIDE)


@pytest.mark.parametrize("how", [Trapezoidal(), Adaptive()])
def test_images_return_as_often_as_they_are(how):
    number, lattice = 1200, Lattice((SIDE, SIDE))
    walkers = scatter(torch.full((number, 1), WALKERS), lattice, generators(number))
    for state in how.walk(walkers, 1, ideal, lattice, 2 * lattice.mixing_dose(), generators(number, 10**6)):
        walkers = state
    end = torch.full((number,), how.dose_end, dtype=torch.float64)
    known = posterior(sites_of(walkers.occupancy(lattice, number, 1)), end)[0].sum(2)
    # At the last dose the image can be told almost for sure, though not every particle has to be on its site.
    assert known.amax(1).mean() > 0.98
    found = np.bincount(known.argmax(1), minlength=3)
    expected = number * SHARES.numpy()
    assert ((found - expected) ** 2 / expected).sum() < 13.8, found  # of 2 degrees of freedom: 1 in 1000


def test_the_ideal_rates_are_those_of_the_walk():
    """Bayes by hand: the mean undo counts of one image are those of its particles, averaged over who is who."""
    counts = Particles(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), IMAGES[1])
    field = ideal(counts.occupancy(Lattice((SIDE, SIDE)), 1, 1), torch.tensor([0.01], dtype=torch.float64), None)
    # At a tiny dose every particle is where it began, and one hop away is as probable as one hop: s * s.
    assert torch.allclose(field[0, 0, :, 1, 1], torch.full((4,), 1e-4, dtype=torch.float64), rtol=0.05)
    assert field[0, 0, :, 0, 5].abs().max() == 0
