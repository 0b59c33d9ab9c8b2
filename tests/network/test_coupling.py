"""The attraction of phases: neighbours, as the network expects them, weigh on its guess at small doses."""

import numpy as np
import pytest
import torch

from dsdcli.network.coupling import FADING, attraction
from dsdcli.network.model import Given
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice

from .test_network import counts_like, make_model


def table_of(phases):
    table = torch.rand(phases, phases, generator=torch.Generator().manual_seed(1))
    return table + table.T


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
@pytest.mark.parametrize("sides", [(6,), (4, 5), (3, 4, 5)])
def test_every_neighbour_adds_what_the_table_says_of_its_phase(boundary, sides):
    rng = torch.Generator().manual_seed(2)
    phase = torch.randint(3, (2, *sides), generator=rng)
    certain = torch.nn.functional.one_hot(phase, 3).movedim(-1, 1).double()
    dose, table = torch.tensor([0.0, FADING], dtype=torch.float64), table_of(3)
    found = attraction(table, dose, certain, boundary == "periodic")
    for image, share in ((0, 1.0), (1, 0.5)):
        for site in np.ndindex(sides):
            wanted = torch.zeros(3, dtype=torch.float64)
            for axis, step in ((a, s) for a in range(len(sides)) for s in (1, -1)):
                there = list(site)
                there[axis] += step
                if boundary == "periodic":
                    there[axis] %= sides[axis]
                if 0 <= there[axis] < sides[axis]:
                    wanted += share * table[:, phase[(image, *there)]]
            torch.testing.assert_close(found[(image, slice(None), *site)], wanted)


def test_it_fades_with_the_dose():
    expected = torch.full((2, 2, 4, 4), 0.5)
    found = attraction(table_of(2), torch.tensor([0.01, 800.0]), expected, False)
    assert found[1].abs().max() < 0.01 * found[0].abs().max()


def test_frozen_voxels_count_as_what_they_are():
    model, sides = make_model(), (16, 16)
    mask = np.zeros(sides, bool)
    mask[3:9, 2:12] = True
    inside = torch.from_numpy(mask)
    counts, dose = counts_like((1, 3, *sides)).clamp_max(1), torch.tensor([0.5], dtype=torch.float64)
    domains = [(1, Hole(sides, mask=mask))]
    plain = model(counts, dose, domains).logits
    model.coupling = table_of(3)
    expected = torch.where(inside, plain.softmax(1), counts.float())
    wanted = plain + attraction(model.coupling, dose, expected, False)
    torch.testing.assert_close(model(counts, dose, domains).logits, wanted)


def test_known_voxels_stay_what_they_are():
    model, sides = make_model(), (8, 8)
    counts, dose = counts_like((1, 3, *sides)), torch.tensor([0.5], dtype=torch.float64)
    known = torch.zeros(1, 3, *sides, dtype=torch.bool)
    known[0, 2, 4] = True
    domains = [(1, Lattice(sides))]
    plain = model(counts, dose, domains, Given(known)).logits
    model.coupling = table_of(3)
    after = model(counts, dose, domains, Given(known)).logits
    assert torch.equal(after[0, :, 4], plain[0, :, 4]) and not torch.equal(after[0, :, 3], plain[0, :, 3])
