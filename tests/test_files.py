"""No command harms a file: not its inputs, not what others made, not what another job is writing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures

from dsdcli.errors import UsageError
from dsdcli.evaluation.cache import Cache
from dsdcli.files import check_outputs
from dsdcli.moves import claim
from dsdcli.pipeline import output
from dsdcli.pipeline.output import read_samples
from tests.conftest import blobs, save_model

FEW = ("-n", 1, "--steps", 1)


@pytest.fixture
def model(tmp_path, rock):
    save_model(tmp_path / "model", rock, (16, 16))
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, rock):
    """A scan, a mask, and samples that dsd has made: `made.tif` and `made.npy`."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    tifffile.imwrite("scan.tif", np.array([0, 255], np.uint8)[blobs((20, 20), [0.3], 1)])
    mask = np.zeros((20, 20), np.uint8)
    mask[3:9, 4:9] = 1
    tifffile.imwrite("mask.tif", mask)
    one = output.Samples(blobs((1, 20, 20), [0.3], 2), rock.phases, 2.0, "um", {"format": "dsd-audit"})
    one.save("made.tif")
    one.save("plain.npy")
    return tmp_path / "here"


def content():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def links():
    Path("soft.tif").symlink_to("made.tif")
    os.link("made.tif", "hard.tif")
    Path("folder").mkdir()
    os.link("made.tif", "folder/made.tif")


@pytest.mark.parametrize("out", ["made.tif", "soft.tif", "hard.tif", "folder/made.tif", "../here/made.tif"])
def test_a_filling_never_replaces_its_image(dsd, model, out):
    """By whatever name or link, though dsd may replace what it made."""
    links()
    before = content()
    words = ("inpaint", "made.tif", "--box", "3:9,4:9", "--model", model, *FEW)
    code, stdout, err = dsd(*words, "-o", out)
    assert (code, stdout) == (2, "")
    assert "is read as well" in err
    assert content() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inpaint", "scan.tif", "--box", "3:9,4:9", "-o", "scan.tif"], "read as well"),
        (["inpaint", "scan.tif", "--mask", "mask.tif", "-o", "mask.tif"], "read as well"),
        (["inpaint", "made.tif", "--box", "3:9,4:9", "-o", "made.npy"], "read as well"),
        (["generate", "-o", "scan.tif"], "dsd did not make it"),
        (["generate", "--like", "../toy.dsd.h5", "-o", "../toy.dsd.h5"], "read as well"),
        (["generate", "-o", "../model/config.tif"], "config.json is in the way"),
        (["ingest", "made.tif", "-o", "notes.h5"], "dsd did not make it"),
        (["ingest", "../toy.dsd.h5:/train/0000", "-o", "../toy.dsd.h5"], "read as well"),
        (["evaluate", "made.tif", "--real", "../toy.dsd.h5", "--report", "notes.html"], "dsd did not make it"),
        (["evaluate", "made.tif", "--real", "../toy.dsd.h5", "--report", "made.tif"], "read as well"),
        (["view", "made.tif", "-o", "notes.html"], "dsd did not make it"),
    ],
)
def test_what_is_read_or_foreign_is_not_written_over(dsd, model, words, said):
    Path("notes.h5").write_bytes(b"mine")
    Path("notes.html").write_text("mine")
    before, outside = content(), Path("../toy.dsd.h5").read_bytes()
    more = ["--model", model, *FEW] if words[0] in ("generate", "inpaint") else []
    code, stdout, err = dsd(*words, *more)
    assert (code, stdout) == (2, ""), err
    assert said in err
    assert content() == before
    assert Path("../toy.dsd.h5").read_bytes() == outside


def test_neither_sheet_nor_record_replaces_what_others_made(dsd, model):
    """A name that is given is refused; a name that is chosen is one of which sheet and record are free as well."""
    Pictures.fromarray(np.zeros((4, 4), np.uint8)).save("samples.png")
    Path("samples-2.json").write_text("{}")
    Path("given.json").write_text("[]")
    Path("folder.png").mkdir()
    before = content()
    assert dsd("generate", "--model", model, *FEW)[1] == "samples-3.tif\n"
    for name in ("samples.tif", "given.npy", "folder.tif"):
        code, _, err = dsd("generate", "--model", model, *FEW, "-o", name)
        assert (code, "in the way" in err) == (2, True)
    assert {path: data for path, data in content().items() if not path.name.startswith("samples-3")} == before


def test_what_dsd_made_under_a_name_is_replaced(dsd, model):
    for suffix in (".tif", ".npy", ".h5", ".png"):
        for seed in (1, 2):
            words = ("--model", model, *FEW, "--seed", seed, "-o", f"again{suffix}")
            code, _, err = dsd("generate", *words)
            assert code == 0, err
        assert json.loads(Path("again.json").read_text())["seed"] == 2
        for path in Path().glob("again.*"):
            path.unlink()
    assert dsd("ingest", "made.tif", "--axes", "t", "-o", "a.h5")[0] == 0
    assert dsd("ingest", "made.tif", "--axes", "t", "-o", "a.h5")[0] == 0


def test_the_partial_results_of_an_evaluation_replace_nothing(monkeypatch):
    monkeypatch.setattr("dsdcli.evaluation.cache._PATIENCE", -1.0)
    for text, left in (("my notes", "my notes"), ('{"format": "dsd-evaluate-partial", "dsd": "0"}', None)):
        Path("made.evaluate-partial.jsonl").write_text(text)
        cache = Cache(Path("made.evaluate-partial.jsonl"), ["pore", "grain"])
        cache.add(np.zeros((2, 2), np.uint8), ["two-point"], {})
        cache.discard()
        assert (cache.path.read_text() if cache.path.exists() else None) == left


def test_a_file_that_comes_during_the_work_is_kept_and_so_is_the_work(rock):
    samples = read_samples("made.tif")
    with (
        pytest.raises(UsageError, match="the new files are in dsd-") as caught,
        output.together(Path(), lambda: check_outputs([(Path("late.tif"), lambda path: False)])) as new,
    ):
        samples.save(new / "late.tif")
        Path("late.tif").write_bytes(b"mine")
    assert Path("late.tif").read_bytes() == b"mine"
    kept = Path(str(caught.value).rpartition(" ")[2])
    assert np.array_equal(read_samples(kept / "late.tif").stack, samples.stack)
    assert not list(Path().glob(".dsd*"))


def test_jobs_at_once_get_names_of_their_own():
    """A chosen name is held until its job ends; one that was given is shared, and never one that was chosen."""
    with output.output(None, "samples.tif") as one, output.output(None, "samples.tif") as two:
        assert (one.name, two.name) == ("samples.tif", "samples-2.tif")
        with pytest.raises(UsageError, match="another dsd is at work"), output.output(one, ""):
            pass
    given = Path("samples.tif")
    with output.output(given, ""), output.output(given, ""), output.output(None, "samples.tif") as other:
        assert other.name == "samples-2.tif"
    assert not list(Path().glob(".dsd*"))


def test_a_killed_job_holds_no_name():
    script = (
        "import os, sys; from pathlib import Path; from dsdcli.moves import Scratch, claim\n"
        "name = claim(Path('samples.tif')); name.__enter__(); work = Scratch(Path())\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    job = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "ready\n"
    with claim(Path("samples.tif")) as held:
        assert not held
    read_samples("made.tif").save("other.tif")
    assert len(list(Path().glob(".dsd-*.tmp"))) == 1, "a job that lives is left alone"
    job.kill()
    job.communicate()
    with claim(Path("samples.tif")) as held:
        assert held
    read_samples("made.tif").save("other.tif")
    assert not list(Path().glob(".dsd*"))


def test_two_jobs_on_one_name_leave_the_files_of_one(rock):
    """Both are given the name; samples, sheet and record are of the same job whoever is last."""
    script = (
        "import numpy as np, sys; from dsdcli.pipeline.output import Samples; from dsdcli.data.phases import Phase\n"
        "n = int(sys.argv[1]); audit = {'format': 'dsd-audit', 'n': n}\n"
        "for _ in range(15):\n"
        "    Samples(np.zeros((n, 5, 5), np.uint8), (Phase('a', 0), Phase('b', 1)), None, None, audit).save('s.npy')"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", script, str(n)]) for n in (1, 2)]
    assert [job.wait() for job in jobs] == [0, 0]
    assert len(np.load("s.npy")) == json.loads(Path("s.json").read_text())["n"]
    assert not list(Path().glob(".dsd*"))


def test_a_folder_without_the_right_to_write_is_said_before_the_work(dsd, model, monkeypatch):
    denied = Path().absolute()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).absolute() != denied and allowed(path, mode))
    for words in (("generate", "--model", model, "-o", "a.tif"), ("ingest", "scan.tif"), ("view", "scan.tif")):
        code, _, err = dsd(*words)
        assert (code, "you may not write" in err) == (2, True)


def test_files_that_look_like_strays_but_are_not_stay():
    for name in (".dsd-notes.tmp", ".dsd-12345678.old"):
        Path(name).mkdir()
    Path(".dsd-mine.lock").write_text("mine")
    read_samples("made.tif").save("other.tif")
    assert len(list(Path().glob(".dsd*"))) == 3
    shutil.rmtree(".dsd-notes.tmp")
