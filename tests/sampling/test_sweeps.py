"""Volumes from a 2D model: exact counts, whatever the planes."""

import json

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.generate import stack_of
from dsdcli.sampling.sweeps import PlaneSweeps, sweep
from tests.conftest import random_model

MODELS = {phases: random_model(phases, 2, seed=phases, carried=(0,) if phases == 2 else None) for phases in (2, 3, 4)}
FEW = PlaneSweeps(sweeps=4, dose_start=3.0, leaps=1)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 3), st.integers(2, 4), st.sampled_from(["noflux", "periodic"]), st.integers(0, 99)
)
def test_counts_of_the_volume_are_exact(shape, phases, boundary, seed):
    rng = np.random.default_rng(seed)
    totals = rng.multinomial(int(np.prod(shape)), rng.dirichlet(np.ones(phases)), size=1)
    volumes = stack_of(sweep(MODELS[phases], totals, Lattice(shape, boundary), FEW, seed))
    assert volumes.shape == (1, *shape)
    assert np.bincount(volumes.ravel(), minlength=phases).tolist() == totals[0].tolist()


def test_a_volume_depends_on_its_index_alone():
    totals, lattice = np.tile([200, 143], (3, 1)), Lattice((7, 7, 7))
    whole = stack_of(sweep(MODELS[2], totals, lattice, FEW, 5))
    part = stack_of(sweep(MODELS[2], totals[1:], lattice, FEW, 5, range(1, 3)))
    assert np.array_equal(whole[1:], part)
    assert len({volume.tobytes() for volume in whole}) == 3


def test_the_work_is_told_beforehand_and_falls_with_the_dose():
    totals, lattice = np.array([[300, 212]]), Lattice((8, 8, 8))
    states = list(sweep(MODELS[2], totals, lattice, FEW, 1))
    assert states[-1].evaluations == states[-1].total == FEW.evaluations
    leaps = [number for _, number in PlaneSweeps().schedule()]
    assert leaps == sorted(leaps, reverse=True)
    assert max(leaps) == PlaneSweeps().leaps


def test_the_command_says_what_it_assumes(dsd, tmp_path, monkeypatch):
    monkeypatch.setattr(PlaneSweeps, "schedule", lambda self: [(1.0, 1), (0.5, 1), (0.1, 1)])
    words = ("generate", "--model", "berea-2d", "--size", "9x10x11", "-n", 2, "--seed", 3, "--counts", "pore=200")
    code, _, err = dsd(*words, "-o", tmp_path / "v.tif")
    assert code == 0, err
    assert "alike in all directions" in err
    stack = tifffile.imread(tmp_path / "v.tif")
    assert stack.shape == (2, 9, 10, 11)
    assert ((stack == 0).sum((1, 2, 3)) == 200).all()
    record = json.loads((tmp_path / "v.json").read_text())
    assert "isotropy" in record["assumes"]
    assert record["sampler"]["name"] == "sweeps"
    code, _, err = dsd(*words, "--steps", 3, "-o", tmp_path / "w.tif")
    assert code == 2
    assert "leave out" in err


def test_doses_that_do_not_fall_are_refused():
    for wrong in ({"dose_last": 200.0}, {"dose_last": 0.01}, {"sweeps": 0}, {"leaps": 0}):
        with pytest.raises(UsageError):
            PlaneSweeps(**wrong)
