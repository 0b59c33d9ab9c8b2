"""The second look beside what is known changes the guess there, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.network.checkpoint import load_model, save_config, save_tensors
from dsdcli.network.config import Property
from dsdcli.network.model import Given, UndoNet
from dsdcli.network.near import REACH
from dsdcli.process.hole import Hole
from dsdcli.process.image import beside, one_hot, within
from dsdcli.process.lattice import Lattice

from .test_network import counts_like, make_model

SIDES = (18, 22)


@pytest.fixture(params=["noflux", "periodic"])
def model(request):
    """A network whose second look has random weights."""
    model = make_model(boundary=request.param)
    torch.manual_seed(0)
    near = model.look_again()
    for parameter in near.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.requires_grad_(False)


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


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
@pytest.mark.parametrize(("sides", "reach"), [((9,), 2), ((8, 5), 1), ((4, 7, 6), 3)])
def test_sites_near_some_others_are_found(boundary, sides, reach):
    some = torch.rand(3, 1, *sides, generator=torch.Generator().manual_seed(reach)) < 0.03
    found = within(some, reach, boundary == "periodic")
    for site in np.ndindex(sides):
        expected = torch.zeros(3, dtype=torch.bool)
        for image, _, *other in some.nonzero().tolist():
            gaps = [abs(a - b) for a, b in zip(site, other, strict=True)]
            if boundary == "periodic":
                gaps = [min(gap, side - gap) for gap, side in zip(gaps, sides, strict=True)]
            expected[image] |= max(gaps) <= reach
        assert torch.equal(found[(slice(None), 0, *site)], expected)


def cases(boundary):
    """What is known: voxels that the network is told, and all around a hole, each with the domain and where it is."""
    told = torch.zeros(1, 3, *SIDES, dtype=torch.bool)
    told[0, 1, 0, 5], told[0, 2, 17, 21] = True, True
    mask = np.zeros(SIDES, bool)
    mask[5:13, 6:16] = True
    return [
        (Lattice(SIDES, boundary), told, told.any(1, keepdim=True)),
        (Hole(SIDES, boundary, mask=mask), None, torch.from_numpy(~mask)[None, None]),
        (Lattice(SIDES, boundary), None, torch.zeros(1, 1, *SIDES, dtype=torch.bool)),
    ]


def test_only_sites_near_known_ones_change(model):
    images = torch.randint(0, 3, (1, *SIDES), generator=torch.Generator().manual_seed(0))
    counts, dose = one_hot(images, 3).long(), torch.tensor([3.0], dtype=torch.float64)
    near, boundary = model.near, model.config.boundary
    for domain, known, where in cases(boundary):
        after = model(counts, dose, [(1, domain)], Given(known))
        model.near = None
        before = model(counts, dose, [(1, domain)], Given(known))
        model.near = near
        periodic = boundary == "periodic"
        beside_it = within(where, REACH, periodic) & within(~where, REACH, periodic)
        same = (after.logits == before.logits).all(1, keepdim=True)
        assert same[~beside_it].all()
        unknown = beside_it & (~where if known is not None else domain.walkable(counts.device))
        assert not same[unknown].any()


def test_all_of_the_images_or_what_matters_of_them_are_looked_at_alike(model, monkeypatch):
    counts, dose = counts_like((1, 3, *SIDES)).clamp_max(1), torch.tensor([3.0], dtype=torch.float64)
    domain, known, _ = cases(model.config.boundary)[0]
    known[0, 2, 17, 21] = False
    part = model(counts, dose, [(1, domain)], Given(known)).logits
    monkeypatch.setattr("dsdcli.network.near._surroundings", lambda rim, periodic: (slice(None),) * 4)
    torch.testing.assert_close(part, model(counts, dose, [(1, domain)], Given(known)).logits)


def test_it_comes_with_the_weights_and_older_ones_are_read(tmp_path):
    model = make_model()
    near = model.look_again()
    for name, tensors in (("new", model.state_dict()), ("old", {"neighbours": torch.zeros(2, 8, 3, 3)})):
        folder = tmp_path / name
        folder.mkdir()
        save_config(folder, model.config)
        model.near = None
        save_tensors(folder / "model.safetensors", {**model.state_dict(), **tensors})
    new, old = load_model(tmp_path / "new"), load_model(tmp_path / "old")
    assert old.near is None and new.near is not None
    assert all(torch.equal(a, b) for a, b in zip(near.parameters(), new.near.parameters(), strict=True))


def test_properties_reach_the_first_look_alone():
    plain = make_model()
    model = UndoNet(replace(plain.config, properties=(Property("interface", 0.1, 0.02, 0.01, 0.2),)))
    torch.manual_seed(0)
    for parameter in (*model.parameters(), *model.look_again().parameters()):
        torch.nn.init.normal_(parameter, std=0.3)
    model.eval().requires_grad_(False).net.condition[0].weight[:, -2:] = 0
    counts, dose = counts_like((1, 3, *SIDES)), torch.tensor([3.0], dtype=torch.float64)
    domain, known, _ = cases("noflux")[0]
    untold, told = (
        model(counts, dose, [(1, domain)], Given(known, properties=value)).logits
        for value in (None, torch.tensor([[1.5]]))
    )
    assert torch.equal(untold, told)
