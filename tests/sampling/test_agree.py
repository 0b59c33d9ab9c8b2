"""Planes of three orientations decide together, with exact counts."""

import numpy as np
import pytest
import torch

from dsdcli.process.lattice import Lattice
from dsdcli.sampling.agree import agreed

SHAPE = (4, 5, 6)


class Sure(torch.nn.Module):
    """Says the same of the planes across an axis, whatever they are: probabilities (K, *L) of a volume."""

    def __init__(self, probability, axis):
        super().__init__()
        self.phases = len(probability)
        self.planes = torch.from_numpy(np.moveaxis(probability, (0, axis + 1), (1, 0)).copy())
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def clean(self, counts, dose, lattice, given):
        assert counts.shape[1:] == self.planes.shape[1:]
        return self.planes[: len(counts)]


def decided(opinions, volume, known, totals):
    models = [Sure(p, axis) for axis, p in enumerate(opinions)]
    states = list(agreed(models, volume, known, np.array(totals), Lattice(SHAPE), 0.2, (1, 2, 3)))
    assert states[:2] == [None, None] and len(states) == 3
    return states[2].image


@pytest.fixture(autouse=True)
def one_block(monkeypatch):
    """Planes are asked for as they are, not filled up to blocks."""
    monkeypatch.setattr("dsdcli.sampling.agree.InBlocks", lambda rates, first, given: lambda *a: rates(*a, given))


@pytest.mark.parametrize("phases", [2, 3])
def test_the_most_probable_to_all_of_them_with_exactly_the_totals(phases):
    rng = np.random.default_rng(phases)
    opinions = [rng.dirichlet(np.ones(phases), SHAPE).transpose(3, 0, 1, 2) for _ in range(3)]
    mean = np.prod(opinions, 0) ** (1 / 3)
    wanted = mean.argmax(0)
    volume = rng.integers(0, phases, SHAPE).astype(np.uint8)
    free = np.zeros(SHAPE, bool)
    totals = np.bincount(wanted.ravel(), minlength=phases)
    assert np.array_equal(decided(opinions, volume, free, totals), wanted)
    fewer = totals - [3, *[0] * (phases - 2), -3]
    made = decided(opinions, volume, free, fewer)
    assert np.array_equal(np.bincount(made.ravel(), minlength=phases), fewer)


def test_what_one_orientation_alone_sees_is_no_pore():
    """Nor is it rock where two of three see a pore."""
    opinions = np.full((3, 2, *SHAPE), 0.5)
    opinions[:, 0] = 0.1
    opinions[0, 0, 1, 1, 1] = 0.8
    opinions[:2, 0, 2, 2, 2] = 0.8
    opinions[:, 1] = 1 - opinions[:, 0]
    made = decided(opinions, np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool), [1, 119])
    assert np.argwhere(made == 0).tolist() == [[2, 2, 2]]


def test_known_voxels_stay():
    rng = np.random.default_rng(0)
    volume, known = rng.integers(0, 2, SHAPE).astype(np.uint8), rng.random(SHAPE) < 0.3
    opinions = rng.dirichlet(np.ones(2), (3, *SHAPE)).transpose(0, 4, 1, 2, 3)
    pores = int((~known).sum()) // 2
    made = decided(opinions, volume, known, [pores, int((~known).sum()) - pores])
    assert np.array_equal(made[known], volume[known])
    assert (made[~known] == 0).sum() == pores
