"""What known voxels say of those beside them is found where a guess lacks it, and changes nothing elsewhere."""

import numpy as np
import pytest
import torch

from dsdcli.network.model import Given
from dsdcli.network.neighbours import DOSES, LEAST_DOSE, doses, evidence, shape, weigh
from dsdcli.process.hole import Hole
from dsdcli.process.image import beside
from dsdcli.process.lattice import Lattice

from .test_network import counts_like, make_model

MOST = 200.0


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
@pytest.mark.parametrize("sides", [(5,), (4, 6), (3, 2, 4)])
def test_neighbours_are_counted(boundary, sides):
    known = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(0)) < 0.4
    found = beside(known, boundary == "periodic")
    for site in np.ndindex(sides):
        total = torch.zeros(2, 3)
        for axis, side in enumerate(sides):
            for step in (-1, 1):
                there = site[axis] + step
                if boundary == "periodic" or 0 <= there < side:
                    total += known[(..., *site[:axis], there % side, *site[axis + 1 :])]
        assert torch.equal(found[(..., *site)], total)


def test_what_a_guess_lacks_is_found_and_a_good_one_is_left_alone():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40_000, 3, generator=generator, dtype=torch.float64)
    near = torch.randint(0, 3, (40_000, 3), generator=generator).double()
    wanted = torch.tensor([[1.0, -0.5, -0.5], [-0.6, 0.9, -0.3], [0.2, -0.7, 0.5]], dtype=torch.float64)
    truth = torch.multinomial((logits + near @ wanted).softmax(1), 1, generator=generator)[:, 0]
    found = weigh(logits, near, truth)
    assert (found - found.mean(1, keepdim=True) - wanted).abs().max() < 0.08
    assert weigh(logits + near @ wanted, near, truth).abs().max() < 0.08
    assert weigh(logits[:0], near[:0], truth[:0]).abs().max() == 0  # without a measurement there is no evidence


def test_evidence_adds_up_and_lies_between_its_doses():
    table = torch.arange(DOSES).float().view(-1, 1, 1) * torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    near = torch.zeros(4, 2, 1, 2)
    near[:, 0, 0, 0], near[:, 1, 0, 1] = 3, 1
    at = doses(MOST)
    asked = torch.stack([at[2], (at[2] * at[3]).sqrt(), at[0] / 10, at[-1] * 10])
    found = evidence(table, MOST, asked, near)
    for image, row in enumerate((2.0, 2.5, 0.0, DOSES - 1.0)):
        expected = torch.zeros(2, 1, 2)
        expected[0, 0, 0], expected[1, 0, 1] = 3 * row, 2 * row
        torch.testing.assert_close(found[image], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_only_sites_beside_known_ones_change(boundary):
    model, sides = make_model(boundary=boundary), (16, 16)
    mask = np.zeros(sides, bool)
    mask[3:9, 2:12] = True
    hole, lattice = Hole(sides, boundary, mask=mask), Lattice(sides, boundary)
    told = torch.zeros(1, 3, *sides, dtype=torch.bool)
    told[0, 1, 0, 5], told[0, 2, 15, 15] = True, True
    counts, dose = counts_like((1, 3, *sides)).clamp_max(1), torch.tensor([30 * LEAST_DOSE], dtype=torch.float64)
    frozen = (counts > 0) & ~torch.from_numpy(mask)
    cases = [(hole, None, frozen, 0), (lattice, told, told, 1), (lattice, None, torch.zeros_like(told), 0)]
    before = [model(counts, dose, [(1, domain)], Given(known)).logits for domain, known, *_ in cases]
    model.neighbours = torch.rand(shape(3), generator=torch.Generator().manual_seed(1))
    for (domain, known, seen, which), plain in zip(cases, before, strict=True):
        after = model(counts, dose, [(1, domain)], Given(known)).logits
        near = beside(seen, boundary == "periodic")
        near[:, :, seen.any(1)[0]] = 0  # a known voxel itself stays what it is
        at = evidence(model.neighbours[which], model.config.dose_max, dose, near)
        changed = ~seen.any(1, keepdim=True).expand_as(plain)
        assert known is None or torch.equal(after[~changed], plain[~changed])
        torch.testing.assert_close(after[changed], (plain + at)[changed])
        away = (near.sum(1, keepdim=True) == 0) & changed
        assert away.any() and torch.equal(after[away], plain[away])
