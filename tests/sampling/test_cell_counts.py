"""Counts of cells drawn for samples larger than the images: they vary as blocks of the material do."""

import itertools
import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dsdcli.errors import DataError
from dsdcli.process.cells import Cells
from dsdcli.sampling.cell_counts import BlockField

WIDTH = 3.0  # of the filter that makes a Gaussian field of white noise: its correlation is exp(-r^2 / 4 WIDTH^2)


def material(shape, rng, levels=(0.0,)):
    """Phase indices of a cut of an endless Gaussian field, thresholded at ``levels`` standard deviations."""
    margin = math.ceil(4 * WIDTH)
    field = gaussian_filter(rng.standard_normal([n + 2 * margin for n in shape]), WIDTH, mode="wrap", truncate=4)
    field *= (2 * math.sqrt(math.pi) * WIDTH) ** (len(shape) / 2)
    return np.searchsorted(levels, field[(slice(margin, -margin),) * len(shape)]).astype(np.uint8)


def block_covariance(side, lag, ndim):
    """Of the fractions of two blocks, ``lag`` blocks apart along the first axis, of the field thresholded at 0, whose
    covariance is arcsin(correlation) / 2 pi."""
    r = np.arange(1 - side, side)
    weight = (side - np.abs(r)) / side**2
    squared = sum(np.meshgrid(*((r + (lag * side if axis == 0 else 0)) ** 2 for axis in range(ndim)), indexing="ij"))
    total = weight
    for _ in range(ndim - 1):
        total = np.multiply.outer(total, weight)
    return float((total * np.arcsin(np.exp(-squared / 4 / WIDTH**2))).sum() / 2 / math.pi)


def along(field, lag, axis, circular=False):
    """Mean product of values (n, *grid) that are ``lag`` apart along an axis of the grid."""
    if circular:
        return float((field * np.roll(field, lag, axis + 1)).mean())
    n = field.shape[axis + 1] - lag
    return float((np.take(field, range(n), axis + 1) * np.take(field, range(lag, n + lag), axis + 1)).mean())


@pytest.mark.parametrize(("ndim", "boundary"), [(2, "noflux"), (2, "periodic"), (3, "noflux")])
def test_cells_vary_as_the_blocks_of_a_material_of_known_covariance(ndim, boundary):
    rng, side = np.random.default_rng(ndim), 8
    number, wide = (20, 144) if ndim == 2 else (3, 96)
    views = [material((wide,) * ndim, rng)[None] for _ in range(number)]
    size = (200, 168) if ndim == 2 else (120, 104, 112)
    field = BlockField.of(views, Cells.of_side(size, side, boundary), 2)
    drawn = np.stack([field.draw(np.random.default_rng([5, i])) for i in range(60 if ndim == 2 else 8)])
    assert (drawn.sum(2) == side**ndim).all() and drawn.min() >= 0
    fractions = drawn[..., 0].reshape(-1, *field.cells.grid) / side**ndim
    assert fractions.mean() == pytest.approx(0.5, abs=0.02)
    assert field.clipped < 0.1
    variance = block_covariance(side, 0, ndim)
    assert fractions.var() == pytest.approx(variance, rel=0.06)
    for lag in (1, 2):
        wanted = block_covariance(side, lag, ndim)
        for axis in range(ndim):
            got = along(fractions - 0.5, lag, axis, boundary == "periodic")
            assert got == pytest.approx(wanted, rel=0.1, abs=0.03 * variance), (lag, axis)
    if ndim == 2:  # the whole varies as its cells make it: by the sum of their covariances
        lags = itertools.product(range(-3, 4), repeat=2)
        # Of independent directions the covariance is nearly a product.
        share = [block_covariance(side, abs(lag), ndim) / variance for lag in range(-3, 4)]
        whole = variance * sum(share[a + 3] * share[b + 3] for a, b in lags) / fractions[0].size
        assert fractions.mean(axis=(1, 2)).var() == pytest.approx(whole, rel=0.5)


@pytest.mark.parametrize(("phases", "levels"), [(2, (-0.5,)), (3, (-0.6, 0.4)), (4, (-0.8, 0.0, 0.7))])
def test_cells_that_are_cut_short_and_several_phases(phases, levels):
    rng, side = np.random.default_rng(phases), 6
    view = np.stack([material((110, 110), rng, levels) for _ in range(16)])
    cells = Cells.of_side((117, 130), side)  # the last are 3 and 4 wide
    field = BlockField.of([view], cells, phases)
    drawn = np.stack([field.draw(np.random.default_rng([phases, i])) for i in range(100)])
    assert np.array_equal(drawn.sum(2), np.tile(cells.sites, (100, 1)))
    drawn = (drawn / cells.sites[:, None]).reshape(100, *cells.grid, phases)
    parts = {(6, 6): np.s_[:, :-1, :-1], (3, 6): np.s_[:, -1, :-1], (6, 4): np.s_[:, :-1, -1], (3, 4): np.s_[:, -1, -1]}
    for shape, part in parts.items():
        some, real = drawn[part].reshape(-1, phases), field.real[shape] / np.prod(shape)
        few = {(6, 6): 1, (3, 4): 4}.get(shape, 2)  # samples of those at borders
        assert np.abs(some.mean(0) - real.mean(0)).max() < 0.015 * few
        assert np.cov(some.T) == pytest.approx(np.cov(real.T), rel=0.06 * few, abs=0.004 * few)
    middle = tuple(n // 2 for n in field.covariance.shape[2:])
    for phase in range(phases):
        deviation, close = (drawn - drawn.mean((0, 1, 2)))[..., :-1, :-1, phase], phase == field.order[0]
        for axis in (0, 1):
            wanted = field.covariance[(phase, phase, middle[0] + (axis == 0), middle[1] + (axis == 1))]
            assert along(deviation, 1, axis) == pytest.approx(wanted, rel=0.08 if close else 0.3), (phase, axis)


def test_left_out_voxels_do_not_count_and_small_images_are_refused():
    rng = np.random.default_rng(1)
    view = np.stack([material((96, 96), rng) for _ in range(12)])
    marked = view.copy()
    marked[:, :, :20] = 255
    drawn = BlockField.of([marked], Cells.of_side((128, 128), 8), 2).draw(rng)
    assert (drawn.sum(1) == 64).all() and drawn[:, 0].mean() == pytest.approx(32, abs=4)
    with pytest.raises(DataError, match="two of them along each axis; take a smaller `exact_in`"):
        BlockField.of([view], Cells.of_side((128, 128), 49), 2)
    with pytest.raises(DataError, match="64x64"):
        BlockField.of([np.full((1, 200, 200), 255, np.uint8)], Cells.of_side((256, 256), 64), 2)
    same = BlockField.of([np.zeros((1, 40, 40), np.uint8)], Cells.of_side((64, 60), 8), 3).draw(rng)
    assert same[:, 0].sum() == 64 * 60  # of one phase alone
