"""A long volume that is cut goes on from the last state of its walk, and nobody sees that it was cut."""

import json
from pathlib import Path

import numpy as np
import pytest

from dsdcli.pipeline import stream, walks
from dsdcli.pipeline.walks import WalkFile
from dsdcli.sampling.blocks import InBlocks
from dsdcli.sampling.sweeps import PlaneSweeps
from tests.conftest import save_model

WALK = Path("v.npy.unfinished.walk")


@pytest.fixture(params=["network", "planes"])
def volume(request, dsd, rock, tmp_path, monkeypatch):
    """Make a volume, by a 3D network or by planes, with a state after every leap or sweep."""
    monkeypatch.setattr(stream, "LONG", 1)
    monkeypatch.setattr(walks, "EVERY", 0.0)
    monkeypatch.setattr(PlaneSweeps, "schedule", lambda self: [(1.0, 1), (0.5, 1), (0.1, 1)])
    planes = request.param == "planes"
    save_model(tmp_path / "model", rock, (8, 8) if planes else (8, 8, 8))
    monkeypatch.chdir(tmp_path)
    words = () if planes else ("--steps", 3)
    made = ("generate", "--model", "model", "--size", "9x10x8", "-n", 2, "--batch", 1, "--device", "cpu", *words)

    def run(*more, out="v.npy", seed=7):
        return dsd(*made, "--seed", seed, "-o", out, *more)

    return run


@pytest.fixture
def cut(monkeypatch):
    """Be killed after so many states."""

    def after(number, run):
        kept = []
        keep = WalkFile.keep

        def keep_or_die(self, state):
            keep(self, state)
            kept.append(state.samples)
            if len(kept) == number:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(WalkFile, "keep", keep_or_die)
            assert run()[0] == 130
        return kept

    return after


def record(name):
    return {**json.loads(Path(name).read_text()), **dict.fromkeys(("command", "created", "seconds", "samples_file"))}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_walk_goes_on_as_if_it_had_never_been_cut(volume, cut, number):
    assert volume(out="whole.npy")[0] == 0
    cut(number, volume)
    assert not Path("v.npy").exists() and WALK.exists()
    code, _, err = volume()
    assert code == 2 and "--resume" in err
    code, _, err = volume("--resume", seed=8)
    assert code == 2 and "another job" in err
    code, _, err = volume("--resume")
    assert code == 0 and f"going on with {WALK}" in err, err
    assert Path("v.npy").read_bytes() == Path("whole.npy").read_bytes()
    assert record("v.json") == record("whole.json")
    assert not list(Path().glob("*unfinished*"))


def test_only_what_is_not_done_is_done_again(volume, cut, monkeypatch):
    """Leaps and sweeps that are behind a walk are not made once more."""
    calls = []
    ask = InBlocks.__call__
    monkeypatch.setattr(InBlocks, "__call__", lambda *of: (calls.append(len(calls)), ask(*of))[1])
    assert volume(out="whole.npy")[0] == 0
    whole = len(calls)
    cut(2, volume)
    assert whole < len(calls) < 2 * whole
    assert volume("--resume")[0] == 0
    assert len(calls) == 2 * whole


def test_a_damaged_walk_is_said_in_one_line(volume, cut):
    cut(1, volume)
    WALK.write_bytes(WALK.read_bytes()[:-9])
    code, _, err = volume("--resume")
    assert code == 4 and "delete it" in err
    WALK.unlink()
    assert volume("--resume")[0] == 0


def test_small_jobs_keep_no_state(volume, monkeypatch):
    monkeypatch.setattr(stream, "LONG", 2**24)
    monkeypatch.setattr(WalkFile, "keep", lambda self, state: pytest.fail("a state of a small job"))
    assert volume()[0] == 0


def test_a_state_that_cannot_be_kept_ends_no_walk(volume, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    assert volume(out="whole.npy")[0] == 0
    monkeypatch.setattr("dsdcli.network.checkpoint.save_file", full)
    code, _, err = volume()
    assert code == 0 and "could not be kept" in err
    assert np.array_equal(np.load("v.npy"), np.load("whole.npy"))
