"""Cells of a lattice: what they cover, what lies between them, and a guess of an image that has their totals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdcli.process.cells import Cells
from dsdcli.sampling.counts import largest_remainder, round_table

SHAPES = st.lists(st.integers(1, 13), min_size=1, max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(1, 15), st.randoms(use_true_random=False))
def test_cells_cover_a_lattice_once(shape, side, random):
    for cells in (Cells.of_side(shape, side), Cells.of_grid(shape, [random.randint(1, n) for n in shape])):
        assert cells.shape == shape and cells.labels.shape == shape
        assert sorted(set(cells.labels.ravel().tolist())) == list(range(1, int(np.prod(cells.grid)) + 1))
        image = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
        counts = cells.counts(image, 3)
        assert np.array_equal(counts.sum(1), cells.sites)
        field = torch.from_numpy((image == 1).astype(float))
        torch.testing.assert_close(cells.sums(field[None])[0], torch.from_numpy(counts[:, 1]).double())
        for number in range(len(counts)):
            assert cells.labels[cells.corner(number)] == number + 1


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_between_the_centres_values_are_linear_and_a_constant_stays(boundary):
    cells = Cells(((0, 4, 8, 12), (0, 6)), boundary)
    torch.testing.assert_close(cells.between(torch.full((2, 3), 5.0)), torch.full((2, 12, 6), 5.0))
    line = cells.between(torch.tensor([1.0, 2.0, 4.0]))[:, 0]
    torch.testing.assert_close(line[[3, 4, 5, 6]], torch.tensor([1.375, 1.625, 1.875, 2.25]))
    if boundary == "noflux":
        assert (line[:2] == 1).all() and (line[10:] == 4).all()
    else:  # from the last centre to the first, across the border
        torch.testing.assert_close(line[[10, 11, 0, 1]], torch.tensor([3.625, 2.875, 2.125, 1.375]))


def test_a_guess_is_shifted_to_the_totals_of_cells():
    torch.manual_seed(0)
    for shape, side, phases, boundary in (((24, 20), 8, 3, "periodic"), ((12, 12, 12), 6, 2, "noflux")):
        cells = Cells.of_side(shape, side, boundary)
        logits = torch.randn(2, phases, *shape, dtype=torch.float64)
        share = torch.softmax(torch.randn(2, len(cells.sites), phases, dtype=torch.float64) / 2, -1)
        wanted = share * torch.from_numpy(cells.sites)[:, None]
        met = cells.meet(logits, wanted)
        got = cells.sums(met.softmax(1)).movedim(1, -1)
        off = (got - wanted).abs().sum(-1) / torch.from_numpy(cells.sites)
        before = (cells.sums(logits.softmax(1)).movedim(1, -1) - wanted).abs().sum(-1) / torch.from_numpy(cells.sites)
        assert off.max() < 0.02 < 0.1 < before.mean()
    whole = Cells.of_side(shape, 99)
    shift = (whole.meet(logits, wanted.sum(1, keepdim=True)) - logits.log_softmax(1)).flatten(2)
    assert shift.diff(dim=1).std(-1).max() < 1e-9  # the odds of two phases change by one factor


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.integers(1, 40), st.sampled_from([0.1, 1.0, 10.0]), st.integers(0, 10**6))
def test_a_table_is_rounded_with_the_sums_of_its_rows_and_columns(phases, number, spread, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 50, number)
    share = rng.dirichlet(np.full(phases, spread), number)
    share[rng.integers(number)] = np.eye(phases)[rng.integers(phases)]
    exact = share * rows[:, None]
    columns = largest_remainder(exact.sum(0) / exact.sum(), int(rows.sum()))
    table = round_table(exact, rows, columns)
    assert np.array_equal(table.sum(1), rows) and np.array_equal(table.sum(0), columns)
    assert (np.abs(table - exact) < 1 + 1e-6).all() and (table >= 0).all()
