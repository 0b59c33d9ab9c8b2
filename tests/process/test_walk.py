"""Laws of the walk: the kernel, the forward draw and the walls."""

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.stats import chisquare

from dsdcli.errors import UsageError
from dsdcli.process.dose import dose_grid, stratified_log_doses
from dsdcli.process.image import place
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.long_waves import LongWaves, integral_range
from dsdcli.process.prior import slow_waves
from dsdcli.process.walk import Particles, diffuse, leap, scatter, undo_counts

BOUNDARIES = ["noflux", "periodic"]
DOSES = [1e-3, 0.1, 1.0, 7.0, 300.0]


def axis_laplacian(side: int, boundary: str) -> np.ndarray:
    """Generator of one walker on a path or a ring, bond by bond."""
    generator = np.zeros((side, side))
    bonds = [(x, x + 1) for x in range(side - 1)]
    if boundary == "periodic":
        bonds.append((side - 1, 0))
    for a, b in bonds:
        generator[a, b] += 1
        generator[b, a] += 1
        generator[a, a] -= 1
        generator[b, b] -= 1
    return generator


def lattice_laplacian(lattice: Lattice) -> np.ndarray:
    """Generator on the whole lattice as a Kronecker sum, row-major sites."""
    total = np.zeros((1, 1))
    for side in lattice.shape:
        one = axis_laplacian(side, lattice.boundary)
        total = np.kron(total, np.eye(side)) + np.kron(np.eye(len(total)), one)
    return total


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("side", [1, 2, 3, 8, 17])
def test_kernel_is_the_exponential_of_the_laplacian(side, boundary):
    kernel = axis_kernel(side, boundary, torch.tensor(DOSES))
    for dose, got in zip(DOSES, kernel.numpy(), strict=True):
        # float32 doses are not what is wanted here
        np.testing.assert_allclose(
            got, expm(np.float32(dose).astype(float) * axis_laplacian(side, boundary)), atol=2e-14
        )


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_kernel_semigroup_and_conservation(boundary):
    a, b = torch.tensor([0.7], dtype=torch.float64), torch.tensor([2.9], dtype=torch.float64)
    first, second, both = (axis_kernel(13, boundary, s)[0] for s in (a, b, a + b))
    torch.testing.assert_close(first @ second, both, rtol=0, atol=1e-14)
    torch.testing.assert_close(both.sum(0), torch.ones(13, dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(both, both.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 2)])
@pytest.mark.parametrize("dose", [0.3, 4.0])
def test_forward_draw_follows_the_kernel(shape, boundary, dose):
    lattice = Lattice(shape, boundary)
    start_site = lattice.sites // 3
    n = 20_000
    start = Particles(
        torch.zeros(n, dtype=torch.int64),
        torch.zeros(n, dtype=torch.int64),
        lattice.unravel(torch.full((n,), start_site)),
    )
    s = torch.tensor([dose], dtype=torch.float64)
    now = diffuse(start, s, lattice, torch.Generator().manual_seed(4))
    observed = np.bincount(lattice.ravel(now.site), minlength=lattice.sites)
    expected = expm(dose * lattice_laplacian(lattice))[:, start_site] * n
    rare = expected < 8
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        if expected[-1] < 1e-6:
            assert observed[-1] == 0
            observed, expected = observed[:-1], expected[:-1]
    assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


def test_doses_are_per_image_and_zero_dose_moves_nothing():
    images = torch.zeros(2, 1, 6, 6, dtype=torch.bool)
    images[:, 0, 2:4, 2:4] = True
    start = place(images)
    now = diffuse(start, torch.tensor([0.0, 50.0]), Lattice((6, 6)), torch.Generator().manual_seed(0))
    still = now.image == 0
    assert torch.equal(now.site[still], start.site[still])
    assert not torch.equal(now.site[~still], start.site[~still])


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 5), (1, 6), (2, 2)])
def test_undo_counts_are_ratios_of_the_full_kernel(shape, boundary):
    lattice = Lattice(shape, boundary)
    dose = torch.tensor([0.8, 3.0], dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    images = torch.rand(2, 2, *shape, generator=rng) < 0.4
    start = place(images)
    now = diffuse(start, dose, lattice, rng)
    got = undo_counts(now, start, dose, lattice)
    kernels = [expm(s * lattice_laplacian(lattice)) for s in dose.tolist()]
    side = np.array(shape)
    for p in range(0, len(now), 7):
        kernel, s = kernels[now.image[p]], dose[now.image[p]].item()
        x, x0 = now.site[p].numpy(), start.site[p].numpy()
        origin = np.ravel_multi_index(x0, shape)
        here = kernel[np.ravel_multi_index(x, shape), origin]
        for axis in range(len(shape)):
            for k, sign in enumerate((1, -1)):
                to = x.copy()
                to[axis] += sign
                inside = 0 <= to[axis] < side[axis]
                if boundary == "noflux" and not inside:
                    assert got[p, 2 * axis + k] == 0
                    continue
                target = kernel[np.ravel_multi_index(to % side, shape), origin]
                assert got[p, 2 * axis + k].item() == pytest.approx(s * target / here, rel=1e-6)


def test_mean_undo_count_is_the_dose():
    """Averaged over the particles, every open direction has s hops to undo (detailed balance of the uniform law)."""
    lattice = Lattice((9, 9), "periodic")
    dose = torch.tensor([0.5], dtype=torch.float64)
    start = place(torch.ones(1, 1, 9, 9, dtype=torch.bool))
    rng = torch.Generator().manual_seed(0)
    mean = torch.stack(
        [undo_counts(diffuse(start, dose, lattice, rng), start, dose, lattice) for _ in range(200)]
    ).mean()
    assert mean.item() == pytest.approx(0.5, rel=0.03)


def test_flat_axis_changes_nothing():
    """A 3D lattice of one layer is the 2D lattice: same kernel, same reach, same undo counts."""
    flat, thin = Lattice((5, 6)), Lattice((1, 5, 6))
    image = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(2)) < 0.5
    start2, start3 = place(image), place(image[:, :, None])
    now2 = diffuse(start2, torch.tensor([1.3]), flat, torch.Generator().manual_seed(3))
    now3 = Particles(now2.image, now2.phase, torch.cat([torch.zeros(len(now2), 1, dtype=torch.int64), now2.site], 1))
    dose = torch.tensor([1.3], dtype=torch.float64)
    got = undo_counts(now3, start3, dose, thin)
    assert got[:, :2].abs().sum() == 0
    torch.testing.assert_close(got[:, 2:], undo_counts(now2, start2, dose, flat))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (1, 7)])
def test_every_move_conserves_every_count_of_every_image(shape, boundary):
    lattice = Lattice(shape, boundary)
    counts = torch.tensor([[1, 5], [0, lattice.sites - 1], [3, 0]])
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    particles = scatter(counts, lattice, generators)
    for _ in range(5):
        occupancy = particles.occupancy(lattice, 3, 2)
        assert occupancy.min() >= 0
        assert torch.equal(occupancy.flatten(2).sum(2), counts)
        hops = torch.full((len(particles), lattice.directions), 2.5, dtype=torch.float64)
        particles = leap(particles, hops, hops, lattice, generators)


def test_no_hop_through_a_wall():
    """Between no-flux walls a leap of many hops never appears on the far side; on a ring it does."""
    n = 4000
    zero = torch.zeros(n, dtype=torch.int64)
    edge = Particles(zero, zero, torch.zeros(n, 1, dtype=torch.int64))
    outward = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(n, 2)
    closed = leap(edge, outward, outward, Lattice((50,), "noflux"), [torch.Generator().manual_seed(0)])
    ring = leap(edge, outward, outward, Lattice((50,), "periodic"), [torch.Generator().manual_seed(0)])
    assert closed.site.max() < 20
    assert ring.site.max() > 45
    assert not Lattice((50,), "noflux").open_bonds()[1, 0]
    assert Lattice((50,), "periodic").open_bonds().all()


def test_directed_hops_keep_their_mean_with_least_variance():
    n = 40_000
    zero = torch.zeros(n, dtype=torch.int64)
    start = Particles(zero, zero, torch.full((n, 1), 50))
    mean = torch.tensor([[2.3, 0.0]]).expand(n, 2)
    generator = [torch.Generator().manual_seed(0)]
    directed = leap(start, mean, torch.zeros(n, 2), Lattice((100,)), generator).site.double()
    undirected = leap(start, torch.zeros(n, 2), mean, Lattice((100,)), generator).site.double()
    assert set(directed.flatten().tolist()) == {52.0, 53.0}
    assert directed.mean().item() == pytest.approx(52.3, abs=0.02)
    assert undirected.mean().item() == pytest.approx(52.3, abs=0.05)
    assert undirected.var().item() == pytest.approx(2.3, rel=0.05)


def test_scatter_is_uniform_and_per_image():
    lattice = Lattice((4, 5))
    many = scatter(torch.tensor([[20_000]]), lattice, [torch.Generator().manual_seed(0)])
    assert chisquare(np.bincount(lattice.ravel(many.site), minlength=20)).pvalue > 1e-4
    alone = scatter(torch.tensor([[7]]), lattice, [torch.Generator().manual_seed(9)])
    among = scatter(torch.tensor([[3], [7]]), lattice, [torch.Generator().manual_seed(s) for s in (1, 9)])
    assert torch.equal(alone.site, among.site[among.image == 1])


def test_mixing_dose_damps_the_slowest_mode_to_exp_minus_2():
    for boundary in BOUNDARIES:
        lattice = Lattice((64, 32), boundary)
        kernel = axis_kernel(64, boundary, torch.tensor([lattice.mixing_dose()], dtype=torch.float64))[0]
        second = torch.linalg.eigvalsh(kernel)[-2].item()
        assert second == pytest.approx(np.exp(-2), rel=0.01)


def test_doses_fill_their_strata():
    dose = stratified_log_doses(16, 0.05, 800.0, torch.Generator().manual_seed(0))
    u = torch.log(dose / 0.05) / np.log(800.0 / 0.05)
    assert sorted((u * 16).floor().int().tolist()) == list(range(16))
    grid = dose_grid(10, 800.0, 0.1)
    assert grid[0] == pytest.approx(800)
    assert grid[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(grid))


def test_bad_lattices_are_refused():
    with pytest.raises(UsageError, match="sides"):
        Lattice((4, 0))
    with pytest.raises(UsageError, match="boundary"):
        Lattice((4, 4), "open")


def test_the_start_has_the_long_waves_of_the_material():
    """Variance of the slowest mode of the counts: that of the material's own, diffused to the dose, plus the scatter of
    independent particles; shorter waves are gone, and totals exact."""
    side, n, fraction, strength, dose = 32, 4000, 0.25, 20.0, 100.0
    lattice = Lattice((side, side))
    generators = [torch.Generator().manual_seed(i) for i in range(n)]
    counts = torch.full((n, 1), int(fraction * side**2))
    law = LongWaves(torch.tensor([[strength]]).double(), torch.tensor([fraction]).double())
    waves = slow_waves(torch.full((n, 1), fraction), law, dose, lattice, generators)
    assert waves.min() >= 0
    torch.testing.assert_close(waves.flatten(1).sum(1), counts[:, 0].double())
    field = scatter(counts, lattice, generators, waves).occupancy(lattice, n, 1)[:, 0].double()
    assert torch.equal(field.sum((1, 2)).long(), counts[:, 0])
    wave = torch.cos(np.pi / side * (torch.arange(side) + 0.5)).double() * np.sqrt(2) / side
    slowest = (field.sum(2) @ wave).var().item()
    decay = np.exp(-2 * dose * (2 - 2 * np.cos(np.pi / side)))
    assert slowest == pytest.approx(fraction + fraction * (1 - fraction) * strength * decay, rel=0.08)
    short = torch.cos(np.pi * 6 / side * (torch.arange(side) + 0.5)).double() * np.sqrt(2) / side
    assert (field.sum(2) @ short).var().item() == pytest.approx(fraction, rel=0.08)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_integral_range_of_independent_voxels_is_one(boundary):
    """Independent voxels: one voxel each, and -1 between phases that exclude one another in proportion."""
    rng = torch.Generator().manual_seed(0)
    phase = torch.bucketize(torch.rand(3000, 12, 10, generator=rng), torch.tensor([0.3, 0.7]))
    found = integral_range(torch.stack([phase == 0, phase == 1], dim=1), boundary)
    across = -0.3 * 0.4 / np.sqrt(0.3 * 0.7 * 0.4 * 0.6)
    np.testing.assert_allclose(found, [[1, across], [across, 1]], atol=0.06)
