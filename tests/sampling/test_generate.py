"""Laws of sampling: the oracle, exact totals, seeds, parts of a job."""

import itertools

import numpy as np
import pytest
import torch

from dsdcli.data.phases import Phase
from dsdcli.errors import UsageError
from dsdcli.network.local import SLAB_SITES
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import scatter
from dsdcli.sampling.counts import resolve_counts
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.trapezoidal import Trapezoidal
from tests.conftest import random_model

PHASES = (Phase("pore", 0), Phase("NMC", 85), Phase("CBD", 170))


def run(model, totals, lattice, seed=0, batch=64, **kwargs):
    return generated(model, totals, lattice, Trapezoidal(**{"steps": 4, **kwargs}), seed, batch)


def generated(model, totals, lattice, how, seed=0, batch=64):
    return stack_of(generate(model, totals, lattice, how, seed, batch))


@pytest.mark.parametrize(("boundary", "eta"), [("noflux", 0.0), ("periodic", 0.0), ("noflux", 1.0)])
def test_exact_rates_reproduce_the_density_with_falling_error(boundary, eta):
    """One-body oracle: p_s = K_s p0 gives exact undo counts, so the leaps must end at K_s p0 (method.md, Oracle)."""
    side, particles = 32, 200_000
    lattice = Lattice((side,), boundary)
    density = np.full(side, 0.1)
    density[[3, 4, 11, 25]] = [4.0, 3.0, 2.0, 5.0]
    density = torch.from_numpy(density / density.sum())

    def exact(counts, dose, lattice):
        p = axis_kernel(side, boundary, dose[:1])[0] @ density
        h = dose[0] * torch.stack([p.roll(-1) / p, p.roll(1) / p])
        return (h * lattice.open_bonds())[None, None]

    def error(steps: int) -> float:
        generators = [torch.Generator().manual_seed(steps)]
        walkers = scatter(torch.tensor([[particles]]), lattice, generators)
        how = Trapezoidal(steps=steps, eta=eta, dose_end=0.02)
        *_, last = how.walk(walkers, 1, exact, lattice, 2 * lattice.mixing_dose(), generators)
        found = last.occupancy(lattice, 1, 1).flatten() / particles
        target = axis_kernel(side, boundary, torch.tensor([0.02], dtype=torch.float64))[0] @ density
        return 0.5 * (found - target).abs().sum().item()

    coarse, middle, fine = error(4), error(16), error(128)
    assert coarse > 1.5 * middle > 2 * fine
    assert fine < (0.012 if eta == 0 else 0.03)


CASES = [
    (2, (8, 8), "noflux"),
    (2, (7, 5), "noflux"),
    (2, (9, 6), "periodic"),
    (3, (8, 12), "noflux"),
    (3, (5, 11), "periodic"),
    (4, (6, 6), "noflux"),
    (2, (4, 6, 5), "noflux"),
    (3, (3, 4, 5), "periodic"),
    (2, (1, 9), "noflux"),
]


@pytest.mark.parametrize(("phases", "shape", "boundary"), CASES)
def test_counts_are_exact_for_any_request(phases, shape, boundary):
    """Every phase, boundary and shape; one voxel, all but one, none, all."""
    lattice = Lattice(shape, boundary)
    n = lattice.sites
    rng = np.random.default_rng(0)
    one, none = np.eye(phases, dtype=np.int64), np.zeros(phases, np.int64)
    totals = [rng.multinomial(n, np.full(phases, 1 / phases)) for _ in range(3)]
    for a, b in itertools.permutations(range(phases), 2):
        totals += [none + (n - 1) * one[a] + one[b], n * one[a]]
    totals = np.array(totals)
    images = run(random_model(phases, len(shape), boundary), totals, lattice)
    assert images.shape == (len(totals), *shape)
    for image, wanted in zip(images, totals, strict=True):
        assert np.bincount(image.ravel(), minlength=phases).tolist() == wanted.tolist()


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_sample_depends_on_its_seed_alone(boundary):
    model = random_model(3, 2, boundary)
    lattice = Lattice((16, 12), boundary)
    totals = np.random.default_rng(1).multinomial(192, [0.3, 0.3, 0.4], size=7)
    whole = run(model, totals, lattice, seed=5)
    assert np.array_equal(whole, run(model, totals, lattice, seed=5, batch=3))
    assert np.array_equal(whole[:2], run(model, totals[:2], lattice, seed=5, batch=1))
    assert not np.array_equal(whole, run(model, totals, lattice, seed=6))
    assert len({image.tobytes() for image in whole}) == 7


def test_fractions_become_whole_voxels():
    typical = (0.45, 0.4, 0.15)
    binary = (Phase("pore", 0), Phase("grain", 255))
    assert resolve_counts(binary, 4096, {"pore": 0.21}, {}, (0.2, 0.8)).tolist() == [860, 3236]
    assert resolve_counts(binary, 4096, {}, {"grain": 1}, (0.2, 0.8)).tolist() == [4095, 1]
    assert resolve_counts(PHASES, 100, {}, {}, typical).tolist() == [45, 40, 15]
    assert resolve_counts(PHASES, 110, {"pore": 0.5}, {}, typical).tolist() == [55, 40, 15]
    assert resolve_counts(PHASES, 100, {"NMC": 0.4}, {"CBD": 7}, typical).tolist() == [53, 40, 7]
    thirds = resolve_counts(PHASES, 100, {"pore": 1 / 3, "NMC": 1 / 3, "CBD": 1 / 3}, {}, typical)
    assert thirds.sum() == 100
    assert thirds.min() == 33


@pytest.mark.parametrize(
    ("fractions", "counts", "words"),
    [
        ({"pore": 1.2}, {}, "between 0 and 1"),
        ({"pore": -0.1}, {}, "between 0 and 1"),
        ({"pore": float("nan")}, {}, "between 0 and 1"),
        ({"pore": 0.7, "NMC": 0.6}, {}, "add up to 1.3"),
        ({"pore": 0.3, "NMC": 0.3, "CBD": 0.3}, {}, "must add up to 1"),
        ({"clay": 0.1}, {}, "pore, NMC, CBD"),
        ({"pore": 0.1}, {"pore": 3}, "both"),
        ({}, {"CBD": 101}, "between 0 and 100"),
    ],
)
def test_impossible_requests_are_refused(fractions, counts, words):
    with pytest.raises(UsageError, match=words):
        resolve_counts(PHASES, 100, fractions, counts, (0.45, 0.4, 0.15))


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_slabs_of_the_network_change_no_volume(monkeypatch, boundary):
    """Computed slab by slab, rates are those of the whole to 1e-5, and the volume is the same."""
    model, lattice = random_model(2, 3, boundary), Lattice((16, 9, 8), boundary)
    totals = np.array([[400, 752]])
    counts, dose = torch.randint(0, 3, (1, 2, *lattice.shape)), torch.tensor([3.0], dtype=torch.float64)
    made = []
    for slab in (2**30, 1):
        monkeypatch.setitem(SLAB_SITES, "cpu", slab)
        made.append((model.undo(counts, dose, lattice), run(model, totals, lattice)))
    (whole, volume), (parts, other) = made
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)
    assert np.array_equal(volume, other)


@pytest.mark.parametrize("slab", [2**30, 1])
def test_a_periodic_volume_has_no_seam(monkeypatch, slab):
    """Rates of a volume that is shifted around the ring are those of the volume, shifted: no border is anywhere."""
    monkeypatch.setitem(SLAB_SITES, "cpu", slab)
    model, lattice = random_model(2, 3, "periodic"), Lattice((16, 16, 16), "periodic")
    counts, dose = torch.randint(0, 3, (1, 2, *lattice.shape)), torch.tensor([3.0], dtype=torch.float64)
    shift, axes = (8, 4, 12), (-3, -2, -1)
    assert all(by % model.config.architecture.multiple == 0 for by in shift)
    shifted = model.undo(counts.roll(shift, axes), dose, lattice)
    torch.testing.assert_close(shifted, model.undo(counts, dose, lattice).roll(shift, axes), rtol=1e-5, atol=1e-5)
