"""Volumes from a 2D model: exact counts, whatever the planes."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdcli.errors import UsageError
from dsdcli.network.checkpoint import load_tensors, save_tensors
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.generate import stack_of
from dsdcli.sampling.sweeps import PlaneSweeps, sweep
from tests.conftest import random_model, save_model

MODELS = {phases: random_model(phases, 2, seed=phases) for phases in (2, 3, 4)}
FEW = PlaneSweeps(sweeps=4, dose_start=3.0, leaps=1)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 3), st.integers(2, 4), st.sampled_from(["noflux", "periodic"]), st.integers(0, 99)
)
def test_counts_of_the_volume_are_exact(shape, phases, boundary, seed):
    rng = np.random.default_rng(seed)
    totals = rng.multinomial(int(np.prod(shape)), rng.dirichlet(np.ones(phases)), size=1)
    volumes = stack_of(sweep((MODELS[phases],) * 3, totals, Lattice(shape, boundary), FEW, seed))
    assert volumes.shape == (1, *shape)
    assert np.bincount(volumes.ravel(), minlength=phases).tolist() == totals[0].tolist()


def test_a_volume_depends_on_its_index_alone():
    totals, lattice = np.tile([200, 143], (3, 1)), Lattice((7, 7, 7))
    whole = stack_of(sweep((MODELS[2],) * 3, totals, lattice, FEW, 5))
    part = stack_of(sweep((MODELS[2],) * 3, totals[1:], lattice, FEW, 5, range(1, 3)))
    assert np.array_equal(whole[1:], part)
    assert len({volume.tobytes() for volume in whole}) == 3


def test_the_work_is_told_beforehand_and_falls_with_the_dose():
    totals, lattice = np.array([[300, 212]]), Lattice((8, 8, 8))
    states = list(sweep((MODELS[2],) * 3, totals, lattice, FEW, 1))
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


def test_each_model_renews_the_planes_across_its_axis(rock, electrode, tmp_path, dsd, monkeypatch):
    """The model of one axis decides, when the planes across the others are not renewed."""
    monkeypatch.setattr(PlaneSweeps, "schedule", lambda self: [(1.0, 1), (0.5, 1), (0.1, 1)])
    monkeypatch.chdir(tmp_path)
    for name, dataset in (("a", electrode), ("b", electrode), ("c", rock)):
        save_model(tmp_path / name, dataset, (8, 8))
    weights = load_tensors(Path("b/model.safetensors"))
    save_tensors(Path("b/model.safetensors"), {name: t * 1.5 for name, t in weights.items()})
    words = ("generate", "--size", "9x8x7", "-n", 1, "--seed", 3, "--fraction", "pore=0.4")
    made = {}
    for name, more in {
        "one": ("--model", "a"),
        "same": ("--planes", "z=a", "--planes", "y=a", "--planes", "x=a"),
        "last": ("--model", "a", "--planes", "x=b"),
    }.items():
        code, _, err = dsd(*words, *more, "-o", f"{name}.npy")
        assert code == 0, err
        made[name] = np.load(f"{name}.npy")
        assert ("alike in all directions" in err) == (name != "last")
    assert np.array_equal(made["one"], made["same"])
    assert not np.array_equal(made["one"], made["last"])
    record = json.loads(Path("last.json").read_text())
    assert record["planes"]["x"] != record["planes"]["y"] == record["model"]
    for wrong, said in (
        (("--model", "a", "--planes", "x=c"), "must be equal"),
        (("--model", "a", "--planes", "q=a"), "across z, y, x"),
        (("--model", "a", "--planes", "x=b", "--size", "8x8"), "give --size DxHxW"),
    ):
        code, _, err = dsd(*words, *wrong, "-o", "d.npy")
        assert code == 2 and said in err


def test_doses_that_do_not_fall_are_refused():
    for wrong in ({"dose_last": 200.0}, {"dose_last": 0.01}, {"sweeps": 0}, {"leaps": 0}):
        with pytest.raises(UsageError):
            PlaneSweeps(**wrong)
