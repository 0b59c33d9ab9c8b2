"""Between images and particles: the optimal assignment, and how far the decoding went."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from dsdcli.process.image import assign, decode, one_hot, place
from dsdcli.process.lattice import Lattice


def test_every_voxel_becomes_one_particle_there():
    images = torch.randint(3, (2, 5, 4), generator=torch.Generator().manual_seed(0))
    voxels = one_hot(images, 3)
    assert torch.equal(voxels.long().argmax(1), images)
    assert torch.equal(place(voxels).occupancy(Lattice((5, 4)), 2, 3), voxels.long())


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 4), st.integers(1, 12), st.integers(0, 10**6), st.booleans())
def test_assignment_is_optimal(phases, sites, seed, ties):
    """Equal to the optimum of the full assignment problem, also with ties and with totals far from the best guess."""
    rng = np.random.default_rng(seed)
    score = rng.random((phases, sites))
    if ties:
        score = score.round(1)
    totals = rng.multinomial(sites, rng.dirichlet(np.ones(phases)))
    found = assign(score, totals)
    assert np.bincount(found, minlength=phases).tolist() == totals.tolist()
    columns = np.repeat(np.arange(phases), totals)
    rows, picked = linear_sum_assignment(score[columns], maximize=True)
    assert score[found, np.arange(sites)].sum() == pytest.approx(score[columns][rows, picked].sum())


def test_decoding_measures_how_far_it_went():
    lattice = Lattice((4, 4))
    occupied = np.zeros((2, 4, 4), int)
    occupied[0, 0, 0], occupied[0, 3, 3] = 2, 1
    occupied[1] = 1
    occupied[1, [0, 0, 3], [0, 1, 3]] = 0
    pore = np.full((4, 4), 0.1)
    pore[0, 0], pore[3, 3], pore[0, 1] = 0.9, 0.8, 0.3
    done = decode(np.stack([pore, 1 - pore]), occupied, np.array([[3, 13]]), lattice)
    assert (done.image == 0).nonzero()[0].tolist() == [0, 0, 3]
    assert done.overlap == pytest.approx(1 / 16)
    assert done.forced == pytest.approx(1 / 16)
    assert done.far == 0
    pore[2, 0] = 0.7
    moved = decode(np.stack([pore, 1 - pore]), occupied, np.array([[3, 13]]), lattice)
    assert moved.far == pytest.approx(1 / 16)
    wrapped = decode(np.stack([pore, 1 - pore]), occupied, np.array([[3, 13]]), Lattice((4, 4), "periodic"))
    assert wrapped.far == pytest.approx(1 / 16)
