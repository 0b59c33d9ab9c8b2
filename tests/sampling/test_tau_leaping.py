"""Laws of the tau-leaping that serves as a yardstick: the oracle, closed bonds, exact counts, seeds."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.errors import UsageError
from dsdcli.network import model
from dsdcli.network.checkpoint import save_config, save_tensors
from dsdcli.network.config import Architecture
from dsdcli.network.model import UndoNet
from dsdcli.process.hole import Hole
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import scatter
from dsdcli.sampling.generate import START
from dsdcli.sampling.tau_leaping import TauLeaping
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from tests.conftest import random_model
from tests.sampling.test_generate import generated


def generators(n, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_exact_rates_reproduce_the_density_with_an_error_that_falls_with_the_bound(boundary):
    side, particles, high, low = 16, 50_000, 2.0, 0.05
    lattice = Lattice((side,), boundary)
    density = torch.full((side,), 0.1, dtype=torch.float64)
    density[[3, 4, 11]] = torch.tensor([4.0, 3.0, 5.0], dtype=torch.float64)
    density /= density.sum()

    def at(dose):
        return axis_kernel(side, boundary, dose) @ density

    def exact(counts, dose, lattice):
        p = at(dose)
        h = dose[:, None, None] * torch.stack([p.roll(-1, 1) / p, p.roll(1, 1) / p], 1)
        return (h * lattice.open_bonds())[:, None]

    def error(bound):
        one = generators(1)
        begin, end = (at(torch.tensor([dose], dtype=torch.float64)) for dose in (high, low))
        walkers = scatter(torch.tensor([[particles]]), lattice, one, begin[None])
        *states, last = TauLeaping(bound, low).walk(walkers, 1, exact, lattice, high, one)
        found = last.occupancy(lattice, 1, 1).flatten() / particles
        return len(states) + 1, 0.5 * (found - end[0]).abs().sum().item()

    (few, coarse), (more, fine) = error(1.0), error(0.1)
    assert more > 5 * few
    assert coarse > 3 * fine
    assert fine < 0.015


def reached(site, bonds):
    """Sites one open bond away from a site of a 2D lattice."""
    hops = ((1, 0), (-1, 0), (0, 1), (0, -1))
    return [
        [(x + dx) % side for x, dx, side in zip(site, hop, bonds.shape[1:], strict=True)]
        for hop, bond in zip(hops, bonds, strict=True)
        if bond[tuple(site)]
    ]


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_particles_hop_once_at_most_and_never_across_closed_bonds(boundary):
    """Even where the rates are the same everywhere, towards walls and out of a hole."""
    mask = np.random.default_rng(0).random((7, 6)) < 0.6
    mask[0] = mask[-1] = True  # so that there is something to cross between opposite sides
    for lattice in (Lattice((7, 6), boundary), Hole((7, 6), boundary, mask=mask)):
        inside = lattice.walkable()
        counts = torch.tensor([[40, 9], [0, 25]])
        now = scatter(counts, lattice, generators(2), inside.double().expand(2, 2, 7, 6))
        bonds = lattice.open_bonds()
        steps = 0
        for then in TauLeaping(1.0).walk(
            now, 2, lambda n, s, lat: torch.ones(len(n), 2, 4, 7, 6), lattice, 2.0, generators(2)
        ):
            assert torch.equal(then.occupancy(lattice, 2, 2).flatten(2).sum(2), counts)
            assert inside[tuple(then.site.T)].all()
            for before, after in zip(now.site.tolist(), then.site.tolist(), strict=True):
                assert before == after or after in reached(before, bonds)
            now, steps = then, steps + 1
        assert steps > 3


def test_steps_keep_the_largest_hop_probability_at_the_bound():
    """Rates 3 / s in one direction: the first step is bound s / 3, and the dose falls geometrically."""
    seen = []

    def undo(counts, dose, lattice):
        seen.append(dose.item())
        h = torch.zeros(1, 1, 2, 9)
        h[:, :, 0] = 3.0
        return h

    walkers = scatter(torch.tensor([[20]]), Lattice((9,), "periodic"), generators(1))
    list(TauLeaping(0.3, 0.5).walk(walkers, 1, undo, Lattice((9,), "periodic"), 1.0, generators(1)))
    assert seen == pytest.approx([0.9**i for i in range(len(seen))])
    assert 0.9 ** len(seen) <= 0.5


def test_samples_have_exact_counts_and_depend_on_their_seed_alone():
    model, lattice, how = random_model(3, 2), Lattice((6, 5)), TauLeaping(1.0)
    totals = np.random.default_rng(1).multinomial(30, [0.3, 0.3, 0.4], size=5)
    totals[3] = [0, 0, 30]  # nothing walks
    whole = generated(model, totals, lattice, how, seed=5)
    for image, wanted in zip(whole, totals, strict=True):
        assert np.bincount(image.ravel(), minlength=3).tolist() == wanted.tolist()
    assert np.array_equal(whole, generated(model, totals, lattice, how, seed=5, batch=2))
    assert np.array_equal(whole[:1], generated(model, totals[:1], lattice, how, seed=5, batch=1))
    assert not np.array_equal(whole, generated(model, totals, lattice, how, seed=6))


def test_command_reports_the_evaluations_it_needed(dsd, rock, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = TrainSettings("tiny", (8, 8), 1, None, 1, 1e-3, 0, "noflux", "float32")
    config = replace(make_config(rock, settings), architecture=Architecture((8, 16)), dose_max=40.0)
    save_config(tmp_path, config)
    save_tensors(tmp_path / "model.safetensors", UndoNet(config).state_dict())
    monkeypatch.setattr(model, "log_undo_ratio", lambda clean, *_: clean.new_zeros(len(clean), 1, 4, 8, 8))
    words = ("generate", "--model", ".", "-n", 2, "--sampler", "cfl", "-o", "a.npy")
    code, _, err = dsd(*words)
    assert code == 0, err
    audit = json.loads((tmp_path / "a.json").read_text())
    # With h = s the rates add up to 4, but for walls, and every step is bound / 4.
    end = TauLeaping().dose_end
    assert audit["evaluations_per_sample"] == math.ceil(4 * (START * config.dose_max - end) / 0.5) + 1
    assert audit["sampler"] == {"name": "cfl", "bound": 0.5, "dose_end": end}
    assert f"{audit['evaluations_per_sample']} evaluations each" in err
    for extra in (("--steps", 4), ("--eta", 0)):
        code, _, err = dsd(*words, *extra)
        assert code == 2
        assert f"knows no {extra[0]}; leave it out" in err
        assert err.count("\n") == 1
    code, _, err = dsd("generate", "--sampler", "euler")
    assert code == 2
    assert "trapezoidal, adaptive, corrector, cfl" in err


@pytest.mark.parametrize("values", [{"bound": 0}, {"bound": 1.1}, {"bound": float("nan")}, {"dose_end": 0}])
def test_impossible_settings_are_refused(values):
    with pytest.raises(UsageError, match="must"):
        TauLeaping(**values)
