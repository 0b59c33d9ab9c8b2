"""A run on disk, whatever ends it: kills, full disks, a second trainer, torn logs."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dsdcli.errors import DataError, DsdError, UsageError
from dsdcli.network.checkpoint import load_model, load_tensors
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.pipeline.describe import describe_model
from dsdcli.pipeline.train import train
from dsdcli.process.lattice import Lattice
from dsdcli.training.holes import random_boxes
from dsdcli.training.lock import locked
from dsdcli.training.log import Log
from dsdcli.training.recipes import SHORTEST

SMALL = {"steps": 4, "batch": 2, "size": (16, 16), "validate_every": 2}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8,), blocks=1, fine=4),) * 2)
    monkeypatch.setattr("dsdcli.pipeline.train.draw_sheet", lambda trainer, path: path)


@pytest.fixture
def whole(rock):
    """A finished run."""
    return train(rock, out="whole", **SMALL).run


def entries(folder):
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in Log.read(folder / "metrics.jsonl").entries]


def same_weights(a, b):
    return all(
        torch.equal(tensor, load_tensors(b / name)[key])
        for name in ("best.safetensors", "last.safetensors")
        for key, tensor in load_tensors(a / name).items()
    )


@pytest.mark.parametrize("failing", range(1, 10))
def test_whatever_write_fails_a_resumed_run_ends_as_an_unbroken_one(rock, whole, monkeypatch, failing):
    """The n-th move of a file into its place fails, as on a full disk or by a kill: config, manifest, then best, last
    and state of two checkpoints, and best with its calibration."""
    count = itertools.count(1)
    move = Path.replace

    def break_off(self, target):
        if next(count) == failing:
            raise OSError(28, "No space left on device")
        return move(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", break_off)
        with pytest.raises(DsdError, match="No space left"):
            train(rock, out="cut", **SMALL)
    if failing <= 2:
        assert not Path("cut").exists()
        return
    done = train(out="cut", resume=True)
    assert done.finished
    assert entries(done.run) == entries(whole)
    assert same_weights(done.run, whole)


def test_a_run_is_resumed_by_its_name(rock, whole):
    done = train(whole, resume=True, steps=6)
    assert (done.run, done.step) == (whole, 6)


def test_the_state_never_knows_a_best_loss_without_its_weights(rock, monkeypatch):
    saved = []
    monkeypatch.setattr(
        "dsdcli.training.run.save_tensors", lambda path, tensors: (saved.append(path.name), path.write_bytes(b"x"))
    )
    monkeypatch.setattr("dsdcli.training.trainer.Trainer.save", lambda self, folder: saved.append("state.safetensors"))
    monkeypatch.setattr("dsdcli.training.run.Run.calibrate", lambda *_: None)
    train(rock, out="run", **{**SMALL, "steps": 2})
    assert saved == ["best.safetensors", "last.safetensors", "state.safetensors"]


def test_the_best_weights_of_a_finished_run_are_calibrated_and_no_others(rock, whole):
    best, last = (load_model(whole / name) for name in ("best.safetensors", "last.safetensors"))
    assert best.calibration is not None and best.near is not None
    assert last.calibration is None and last.near is None
    train(out=whole, resume=True, steps=8)  # goes on from weights without them
    assert load_model(whole).calibration is not None and load_model(whole).near is not None
    train(rock, out="next", start_from=whole, **{**SMALL, "steps": 1})


def test_a_run_that_is_told_to_stop_while_it_calibrates_does_so_when_resumed(rock, monkeypatch):
    steps = []
    stop = lambda: len(steps) >= 2  # noqa: E731  # after the last step
    train(
        rock,
        out="run",
        stop=stop,
        progress=lambda done, *_: steps.append(done) if done else None,
        **{**SMALL, "steps": 2},
    )
    assert load_model(Path("run")).calibration is None and load_model(Path("run")).near is None
    train(out="run", resume=True)
    assert load_model(Path("run")).calibration is not None and load_model(Path("run")).near is not None


def test_a_run_without_its_best_weights_makes_new_ones(rock, whole):
    (whole / "best.safetensors").unlink()
    train(out=whole, resume=True, steps=6)
    assert (whole / "best.safetensors").is_file()


def test_a_full_disk_under_the_log_ends_in_one_line(rock, whole, monkeypatch):
    opened = Path.open

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def write(self, text):
            raise OSError(28, "No space left on device")

    def open_full(self, mode="r", *rest, **more):
        return Full() if self.name == "metrics.jsonl" and mode == "a" else opened(self, mode, *rest, **more)

    before = (whole / "state.safetensors").read_bytes()
    with monkeypatch.context() as full, pytest.raises(DsdError, match=r"metrics\.jsonl: No space left.*make room"):
        full.setattr(Path, "open", open_full)
        train(out=whole, resume=True, steps=6)
    assert (whole / "state.safetensors").read_bytes() == before
    assert train(out=whole, resume=True, steps=6).step == 6


GARBLED = [
    b"",
    b"   ",
    b'{"step": 3, "lo',
    b"\0" * 50,
    b"\xff\xfe",
    b"[" * 10_000,
    b'{"step": 1e999}',
    b'{"loss": 1}',
    b"7",
]


def test_resume_and_info_survive_garbled_lines(rock, whole):
    log = whole / "metrics.jsonl"
    good = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([*GARBLED, *good, *GARBLED]) + b'\n{"step": 4, "loss": 0.7, "l')
    about = describe_model(whole)["training"]
    assert (about["steps"], about["unreadable_lines"]) == (4, 2 * len(GARBLED) + 1)
    assert about["best_validation"] == min(json.loads(line)["validation"] for line in good)
    said = []
    assert train(out=whole, resume=True, steps=6, note=said.append).step == 6
    assert any(f"dropped {2 * len(GARBLED) + 1} torn or garbled lines" in line for line in said)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [2, 4, 6]


def test_of_two_that_resume_one_run_the_second_is_refused(rock, whole):
    with locked(whole):
        before = {path.name: path.read_bytes() for path in whole.iterdir()}
        with pytest.raises(UsageError, match=f"is being trained by process {os.getpid()} on "):
            train(out=whole, resume=True, steps=6)
        assert {path.name: path.read_bytes() for path in whole.iterdir()} == before
    assert train(out=whole, resume=True, steps=6).step == 6


def test_a_killed_trainer_leaves_no_lock(whole):
    script = "import os, sys; from pathlib import Path; from dsdcli.training.lock import locked\n"
    script += "with locked(Path(sys.argv[1])): print('locked', flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", script, whole], capture_output=True, text=True, check=False)
    assert (killed.stdout, killed.returncode) == ("locked\n", -9)
    with locked(whole):
        pass


def test_where_there_are_no_locks_a_run_is_trained_without(whole, monkeypatch):
    def without(file):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("dsdcli.training.lock._take", without)
    with locked(whole), locked(whole):
        pass


def test_a_run_that_was_ended_before_its_first_checkpoint_begins_anew(rock, whole):
    said = []
    train(rock, out="cut", stop=lambda: True, **SMALL)
    for name in ("state", "last"):
        Path(f"cut/{name}.safetensors").unlink()
    done = train(out="cut", resume=True, note=said.append)
    assert any("begins anew" in line for line in said)
    assert entries(done.run) == entries(whole)
    assert same_weights(done.run, whole)


def test_a_run_from_other_weights_begins_anew_with_them(rock, whole):
    """And not with random ones."""
    expected = train(rock, out="unbroken", start_from=whole, **SMALL).run
    train(rock, out="cut", start_from=whole, stop=lambda: True, **SMALL)
    for name in ("state", "last"):
        Path(f"cut/{name}.safetensors").unlink()
    done = train(out="cut", resume=True)
    assert entries(done.run) == entries(expected) != entries(whole)
    train(rock, out="other", start_from=whole, stop=lambda: True, **SMALL)
    Path("other/state.safetensors").unlink()
    train(out=whole, resume=True, steps=20)
    with pytest.raises(UsageError, match="has changed since"):
        train(out="other", resume=True)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"settings": {"size": [16, 16], "steps": "many"}}'])
def test_a_damaged_manifest_is_named(whole, content):
    (whole / "train.json").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.json"):
        train(out=whole, resume=True)


def test_crops_that_are_too_small_are_refused_before_there_is_a_run(rock):
    for size in ((2, 2), (SHORTEST - 1, 16), (3, 3, 3), (16,), (8,) * 4):
        with pytest.raises(UsageError, match="size"):
            train(rock, out="run", size=size, steps=1)
        assert not Path("run").exists()


@pytest.mark.parametrize("size", [(4, 4), (4, 5), (4, 32), (4, 4, 4), (5, 4, 7)])
def test_the_smallest_crops_are_trained_on(rock, size):
    assert train(rock, out="run", size=size, steps=12, batch=3, validate_every=12).step == 12


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_boxes_are_found_in_any_lattice_and_leave_surroundings(boundary):
    for shape in [*itertools.product(range(1, 6), repeat=2), *itertools.product((1, 2, 3, 4), repeat=3)]:
        rng = np.random.default_rng(0)
        for _ in range(4):
            box = random_boxes(Lattice(shape, boundary), rng)
            assert box.sites == 1 or not box.mask.all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lr": 1e300}, "learning rate"),
        ({"lr": float("inf")}, "learning rate"),
        ({"lr": float("nan")}, "learning rate"),
        ({"max_seconds": float("inf")}, "max_seconds"),
        ({"seed": 2**64}, "seed"),
        ({"seed": -1}, "seed"),
        ({"steps": 10**30}, "steps"),
        ({"batch": 10**8}, r"need about [\d,]+\.\d GiB of memory, and [\d,.]+ GiB are free"),
    ],
)
def test_absurd_settings_are_refused_before_there_is_a_run(rock, wrong, said):
    with pytest.raises(UsageError, match=said):
        train(rock, out="run", **{**SMALL, **wrong})
    assert not Path("run").exists()
