"""Laws of the samplers beside the default: leaps of adapted length, and the corrector."""

import json
import math

import numpy as np
import pytest
import torch

from dsdcli.errors import UsageError
from dsdcli.process.hole import Hole
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import scatter
from dsdcli.sampling.adaptive import FIRST, Adaptive
from dsdcli.sampling.corrector import Corrector
from dsdcli.sampling.trapezoidal import Trapezoidal
from tests.conftest import random_model
from tests.sampling.test_generate import generated
from tests.sampling.test_tau_leaping import generators

SIDE = 16


def comb():
    density = torch.full((SIDE,), 0.1, dtype=torch.float64)
    density[[3, 4, 11]] = torch.tensor([4.0, 3.0, 5.0], dtype=torch.float64)
    return density / density.sum()


def oracle(how, boundary="noflux", particles=100_000, high=20.0, shift=0.0):
    """Evaluations of a walk at the exact rates of single particles, and its total variation from the exact density.
    ``shift``: of the share of particles that begin at the first site, where they should not."""

    def at(dose):
        return axis_kernel(SIDE, boundary, dose) @ comb()

    def exact(counts, dose, lattice):
        p = at(dose)
        h = dose[:, None, None] * torch.stack([p.roll(-1, 1) / p, p.roll(1, 1) / p], 1)
        return (h * lattice.open_bonds())[:, None]

    lattice, one = Lattice((SIDE,), boundary), generators(1)
    begin, end = (at(torch.tensor([dose], dtype=torch.float64)) for dose in (high, how.dose_end))
    walkers = scatter(torch.tensor([[particles]]), lattice, one, begin[None])
    *states, last = how.walk(walkers, 1, exact, lattice, high, one)
    found = last.occupancy(lattice, 1, 1).flatten() / particles
    return len(states) + 1, 0.5 * (found - end[0]).abs().sum().item()


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_the_error_falls_with_the_tolerance_at_more_evaluations(boundary):
    (few, coarse), (some, middle), (more, fine) = (oracle(Adaptive(t), boundary) for t in (1.0, 0.1, 0.01))
    assert few < some < more
    assert coarse > 1.5 * middle > 2 * fine
    assert fine < 0.015


def test_leaps_are_as_short_as_the_rates_change():
    """Undo counts s + k / s towards one side: a leap from s of log-length x makes the error k (e^(x/2) - 1) x / s."""
    tolerance, k, lattice, seen = 0.02, 0.3, Lattice((9,), "periodic"), []

    def undo(counts, dose, lattice):
        seen.append(dose.item())
        h = dose.view(1, 1, 1, 1).expand(1, 1, 2, 9).clone()
        h[:, :, 0] += k / dose.item()
        return h

    how = Adaptive(tolerance, dose_end=0.05)
    list(how.walk(scatter(torch.tensor([[30]]), lattice, generators(1)), 1, undo, lattice, 5.0, generators(1)))
    starts = np.array([*seen[0::2], 0.05])
    lengths = np.log(starts[:-1] / starts[1:])
    assert np.allclose(np.array(seen[1::2]) ** 2, starts[:-1] * starts[1:])  # half-way, and the last at the end
    assert lengths[0] == pytest.approx(FIRST)
    errors = k * np.expm1(lengths / 2) * lengths / starts[:-1]
    settled = errors[len(errors) // 2 : -1]
    assert len(settled) > 3
    assert 0.4 * tolerance < settled.min() <= settled.max() < 1.3 * tolerance


@pytest.mark.parametrize("how", [Adaptive(0.3), Corrector(steps=3, corrections=2, dose_up=1.0)])
def test_samples_have_exact_counts_and_depend_on_their_seed_alone(how):
    model, lattice = random_model(3, 2), Lattice((6, 5))
    totals = np.random.default_rng(1).multinomial(30, [0.3, 0.3, 0.4], size=5)
    totals[3] = [0, 0, 30]  # nothing walks
    whole = generated(model, totals, lattice, how, seed=5)
    for image, wanted in zip(whole, totals, strict=True):
        assert np.bincount(image.ravel(), minlength=3).tolist() == wanted.tolist()
    assert np.array_equal(whole, generated(model, totals, lattice, how, seed=5, batch=2))
    assert np.array_equal(whole[:1], generated(model, totals[:1], lattice, how, seed=5, batch=1))
    assert not np.array_equal(whole, generated(model, totals, lattice, how, seed=6))


@pytest.mark.parametrize("how", [Adaptive(0.3), Corrector(steps=3, corrections=2)])
def test_particles_stay_in_their_part_of_a_hole(how):
    mask = np.zeros((7, 6), bool)
    mask[1:3, 1:3] = mask[1, 3] = mask[5, 1:5] = True
    hole = Hole((7, 6), "noflux", mask=mask)
    inside = hole.walkable().double().expand(2, 1, 7, 6)
    now = scatter(torch.tensor([[12], [5]]), hole, generators(2), inside)
    rates = torch.rand(2, 1, 4, 7, 6, generator=generators(1)[0]) * 4
    *_, last = how.walk(now, 1, lambda n, s, lat: rates * lat.open_bonds(), hole, 2.0, generators(2))
    parts = torch.from_numpy(hole.parts)
    before, after = (parts[tuple(walkers.site.T)] for walkers in (now, last))
    assert torch.equal(before, after)
    assert not torch.equal(now.site, last.site)


def test_the_corrector_forgets_what_the_predictor_did_wrong():
    """A single predicting leap errs much; seven more of the last doses undo what is finer than these."""
    _, wrong = oracle(Trapezoidal(2))
    evaluations, mended = oracle(Corrector(2, dose_up=3.0, corrections=12))
    _, anew = oracle(Trapezoidal(14))
    assert evaluations == Corrector(2, corrections=12).evaluations - 1 == 28
    assert mended < wrong / 2
    assert anew < wrong


def test_command_takes_a_tolerance_and_tells_the_evaluations_it_needed(dsd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    for tolerance in (0.1, 4.0):
        words = ("--model", "berea-2d", "-n", 1, "--size", "16x16", "--seed", 1, "--tolerance", tolerance)
        code, _, err = dsd("generate", *words)
        assert code == 0, err
        audit = json.loads(max(tmp_path.glob("*.json"), key=lambda path: path.stat().st_mtime_ns).read_text())
        assert audit["sampler"] == {"name": "adaptive", "tolerance": tolerance, "dose_end": Adaptive().dose_end}
        found[tolerance] = audit["evaluations_per_sample"]
    assert found[0.1] > 1.5 * found[4.0] > 3
    code, _, err = dsd("generate", "--tolerance", 0.1, "--steps", 4)
    assert code == 2
    assert "knows no --steps; leave it out" in err
    code, _, err = dsd("generate", "--tolerance", 0)
    assert code == 2
    assert "tolerance" in err
    code, _, err = dsd("generate", "--sampler", "trapezoidal", "--tolerance", 0.1)
    assert code == 2
    assert "knows no --tolerance; leave it out" in err


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Adaptive, {"tolerance": 0.0}),
        (Adaptive, {"tolerance": math.inf}),
        (Adaptive, {"tolerance": math.nan}),
        (Adaptive, {"dose_end": 0.0}),
        (Corrector, {"steps": 0}),
        (Corrector, {"corrections": 0}),
        (Corrector, {"dose_up": 0.06}),
    ],
)
def test_impossible_settings_are_refused(kind, values):
    with pytest.raises(UsageError):
        kind(**values)
