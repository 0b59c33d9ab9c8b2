"""Killed at any write, a command leaves the old files or the new ones, whole, and the next one puts the rest in order.

What a kill leaves is what lies on the disk at that moment: the folder is copied before each write of one run, and the
copies are looked at afterwards. Locks are not copied, as those of a killed process are gone.
"""

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dsdcli.data.samples import read_samples
from dsdcli.moves import settle
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.pipeline import output, stream, walks
from tests.conftest import blobs, save_model

WRITES = ("rename", "replace", "fsync", "unlink", "rmdir", "mkdir")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder in which a command is killed."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def kills(here, tmp_path, monkeypatch):
    """Run something; folders as a kill before each of its writes would leave them."""

    def run(command):
        found, copying, lock = [], [], threading.RLock()

        def seen(write):
            def act(*words, **options):
                with lock:  # Zarr writes by several threads: none moves a file while another copies the folder
                    if not copying:
                        copying.append(True)
                        found.append(shutil.copytree(here, tmp_path / f"kill{len(list(tmp_path.iterdir())):04d}"))
                        copying.clear()
                    return write(*words, **options)

            return act

        with monkeypatch.context() as patched:
            for name in WRITES:
                patched.setattr(os, name, seen(getattr(os, name)))
            command()
        return found

    return run


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hidden(folder):
    return [path.name for path in folder.rglob(".dsd*")]


def put_in_order(found, old, new):
    """Every copy is as ``old`` or ``new`` once the next job has come by; both occur."""
    seen = []
    for folder in found:
        settle(folder)
        assert not hidden(folder)
        now = files(folder)
        assert now in (old, new), f"{folder}: {sorted(map(str, now))}"
        seen.append(now == new)
    assert seen == sorted(seen), "what is done stays done"
    assert {True, False} == set(seen)


@pytest.fixture
def model(tmp_path, rock):
    save_model(tmp_path / "model", rock, (16, 16))
    return tmp_path / "model"


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".mhd", ".zarr"])
def test_generate(dsd, here, kills, model, suffix):
    """Over the files of an earlier job; then without any."""

    def generate(seed):
        words = ("--model", model, "-n", 2, "--steps", 1, "--seed", seed, "-o", f"a{suffix}")
        assert dsd("generate", *words)[0] == 0

    generate(1)
    old = files(here)
    found = kills(lambda: generate(2))
    assert len(found) > 20
    put_in_order(found, old, files(here))
    for path in here.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = kills(lambda: generate(3))
    put_in_order(found, {}, files(here))


def test_inpaint(dsd, here, kills, model):
    tifffile.imwrite("rock.tif", np.array([0, 255], np.uint8)[blobs((20, 20), [0.3], 1)])

    def inpaint(seed):
        words = ("--model", model, "--box", "3:9,4:10", "-n", 1, "--steps", 1, "--seed", seed, "-o", "out.tif")
        assert dsd("inpaint", "rock.tif", *words)[0] == 0

    inpaint(1)
    old = files(here)
    found = kills(lambda: inpaint(2))
    put_in_order(found, old, files(here))


def test_ingest(dsd, here, kills):
    np.save("rock.npy", blobs((40, 40, 40), [0.3], 0))
    assert dsd("ingest", "rock.npy")[0] == 0
    old = files(here)
    found = kills(lambda: dsd("ingest", "rock.npy", "--voxel-size", "2um"))
    put_in_order(found, old, files(here))


def test_evaluate_with_a_report(dsd, here, kills, rock):
    stack = rock.crops("heldout", 4, (16, 16), np.random.default_rng(0))
    output.Samples(stack, rock.phases, 2.0, "um", {"format": "dsd-audit"}).save("s.tif")

    def evaluate(crops):
        words = ("--real", rock.path, "--crops", crops, "--metrics", "volume-fraction", "--report", "page.html")
        code, _, err = dsd("evaluate", "s.tif", *words)
        assert code == 0, err

    evaluate(4)
    old = files(here)
    found = kills(lambda: evaluate(5))
    put_in_order(found, old, files(here))


def test_train(dsd, here, kills, rock, monkeypatch):
    """A run goes on from any kill after its first state, or says in one line why not; nothing of it is half a file."""
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    words = ("--size", "16x16", "--batch", 2, "--validate-every", 2, "--out", "run")
    found = kills(lambda: dsd("train", rock.path, "--steps", 2, *words))
    states = {}
    for folder in found:
        settle(folder / "run")
        assert not hidden(folder)
        for path in folder.rglob("*.json"):
            json.loads(path.read_text())
        states.setdefault(tuple(sorted(map(str, files(folder)))), folder)
    assert len(states) > 5
    begun = [folder for folder in states.values() if not (folder / "run/state.safetensors").exists()]
    saved = [folder for folder in states.values() if folder not in begun]
    assert saved
    for folder in (begun[0], begun[-1], *saved):
        monkeypatch.chdir(folder)
        code, _, err = dsd("train", "--resume", "--out", "run")
        assert code == 0 or folder in begun, err
        lines = [line for line in err.splitlines() if "error" in line]
        assert (len(lines), "fault" in err) == (int(code != 0), False)


def test_readers_see_whole_sets_after_a_kill(dsd, here, kills, rock):
    """Whoever looks first, finds the samples and the record that belong together."""
    pages = [
        output.Samples(np.full((n, 4, 4), 0, np.uint8), rock.phases, None, None, {"format": "dsd-audit", "n": n})
        for n in (1, 2)
    ]
    pages[0].save("s.npy")
    for folder in kills(lambda: pages[1].save("s.npy")):
        code, out, err = dsd("info", folder / "s.npy", "--json")
        assert code == 0, err
        about = json.loads(out)
        assert about["audit"]["n"] == about["samples"]


def test_a_job_that_runs_is_left_alone(here):
    with output.together(here) as new:
        (new / "a.txt").write_text("in work")
        settle(here)
        assert (new / "a.txt").exists()
    assert files(here) == {Path("a.txt"): b"in work"}


def test_nothing_is_moved_over_a_file_that_came_after_a_kill(dsd, here, kills, rock):
    """A user's new file stays, and the line says where the other one is."""
    samples = output.Samples(np.zeros((1, 4, 4), np.uint8), rock.phases, None, None, {"format": "dsd-audit"})
    found = kills(lambda: samples.save("s.npy"))
    cut = next(f for f in found if list(f.glob(".dsd-*.move/new/s.npy")))
    (cut / "s.npy").write_bytes(b"mine")
    code, _, err = dsd("info", cut / "s.npy")
    assert code == 2
    assert "where another file is now" in err
    assert (cut / "s.npy").read_bytes() == b"mine"
    (cut / "s.npy").unlink()
    assert len(read_samples(cut / "s.npy") if settle(cut) is None else ()) == 1


def same_samples(folder, wanted, name):
    """The files of a job are those wanted; of the record but the entries that tell of the run."""
    made, whole = files(folder), files(wanted)
    assert made.keys() == whole.keys()
    record = Path(name).with_suffix(".json")
    assert all(made[path] == whole[path] for path in whole if path != record)
    records = [
        {**json.loads(found[record]), **dict.fromkeys(("command", "created", "seconds"))} for found in (made, whole)
    ]
    assert records[0] == records[1]


def test_a_long_job_goes_on_from_any_kill(dsd, here, kills, model, monkeypatch):
    """With what it had: complete, nothing twice, and all bytes as if it had never been killed."""
    name = "s.npy"
    words = ("generate", "--model", model, "-n", 5, "--steps", 1, "--batch", 2, "--device", "cpu", "-o", name)
    found = kills(lambda: dsd(*words, "--seed", 5))
    kept = Path(f"{name}.unfinished")
    sizes, seen = {}, set()
    for folder in found:
        settle(folder)
        assert (folder / name).exists() == (folder / "s.json").exists()
        sizes.setdefault((folder / kept).stat().st_size if (folder / kept).exists() else -1, folder)
    assert len(sizes) >= 4, "before, and after each of three batches"
    longest = max(sizes)
    for cut in (1, 400):  # a kill within a write
        torn = shutil.copytree(sizes[longest], here.parent / f"torn{cut}")
        os.truncate(torn / kept, longest - cut)
        sizes[longest - cut] = torn
    for folder in sizes.values():
        monkeypatch.chdir(folder)
        new = not kept.exists() and not Path(name).exists()
        code, _, err = dsd(*words, "--resume", *(("--seed", 5) if new else ()))
        assert code == 0, err
        seen.add("going on" in err)
        same_samples(folder, here, name)
    assert seen == {True, False}


def test_a_long_walk_goes_on_from_any_kill(dsd, here, kills, model, monkeypatch):
    """As a job of several batches; a walk is never left without the file that says whose it is."""
    monkeypatch.setattr(stream, "LONG", 1)
    monkeypatch.setattr(walks, "EVERY", 0.0)
    name, walk = "s.npy", Path("s.npy.unfinished.walk")
    words = ("generate", "--model", model, "-n", 1, "--steps", 2, "--device", "cpu", "--seed", 5, "-o", name)
    found = kills(lambda: dsd(*words))
    states, seen = {}, set()
    for folder in found:
        settle(folder)
        kept = [path.name for path in folder.iterdir()]
        assert walk.name not in kept or walk.stem in kept
        states.setdefault((tuple(sorted(kept)), (folder / walk).read_bytes() if walk.name in kept else b""), folder)
    assert len(states) >= 5
    for folder in states.values():
        monkeypatch.chdir(folder)
        code, _, err = dsd(*words, "--resume")
        assert code == 0, err
        seen.add(f"with {walk}" in err)
        same_samples(folder, here, name)
    assert seen == {True, False}
