"""What a user sees: the pipeline with no paths, the outputs of generate and train, and one clear line for bad input."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch

from dsdcli.cli.console import progress
from dsdcli.data.phases import Phase
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import Run, make_config
from dsdcli.training.trainer import Trainer
from tests.conftest import blobs, make_dataset

LABELS = np.array([0, 85, 170], np.uint8)


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps on the two-phase material."""
    folder = tmp_path_factory.mktemp("trained")
    rock = make_dataset(folder, (Phase("pore", 0), Phase("grain", 255)), [0.3])
    settings = TrainSettings("tiny", (16, 16), 2, None, 8, 1e-3, 0, "noflux", "float32")
    config = dataclasses.replace(make_config(rock, settings), architecture=Architecture((8, 16)))
    trainer = Trainer(config, settings, rock, torch.device("cpu"))
    run = Run.create(folder / "run", rock, config, settings)
    for report in trainer.run():
        run.log(report)
    run.checkpoint(trainer, best=True)
    return folder / "run"


@pytest.fixture
def run(trained, rock, tmp_path):
    """A copy of it at runs/toy-001, beside its dataset."""
    return shutil.copytree(trained, tmp_path / "runs/toy-001").relative_to(tmp_path)


def test_the_bare_pipeline(dsd, tmp_path):
    """ingest, train, generate, evaluate: no paths but that of the image."""
    tifffile.imwrite("cell.tif", LABELS[blobs((40, 32, 32), [0.5, 0.8], 0)])
    code, out, err = dsd("ingest", "cell.tif", "--phase", "pore=0", "--phase", "NMC=85", "--phase", "CBD=170")
    assert (code, out) == (0, "cell.dsd.h5\n"), err
    code, out, err = dsd("train", "--steps", 4, "--batch", 4, "--size", "16x16", "--validate-every", 2)
    assert (code, out) == (0, "runs/cell-001\n"), err
    assert "cell.dsd.h5 (the newest here)" in err
    names = {path.name for path in (tmp_path / "runs/cell-001").iterdir()}
    assert {
        "config.json",
        "train.json",
        "metrics.jsonl",
        "best.safetensors",
        "last.safetensors",
        "sheet-000004.png",
    } <= names
    code, out, err = dsd("generate", "--porosity", 0.41, "-n", 8, "--steps", 2)
    assert (code, out) == (0, "samples.tif\n"), err
    assert "runs/cell-001 (the newest run here)" in err
    labels = tifffile.imread("samples.tif")
    assert labels.shape == (8, 16, 16)
    assert set(np.unique(labels)) <= {0, 85, 170}
    assert ((labels == 0).sum((1, 2)) == round(0.41 * 256)).all()
    code, out, err = dsd("evaluate", "--json")
    assert code == 0, err
    assert isinstance(json.loads(out), dict)


def test_generate_writes_samples_sheet_and_audit(dsd, run, tmp_path):
    code, out, err = dsd(
        "generate", "--counts", "pore=77", "-n", 5, "--size", "13x18", "--seed", 4, "--steps", 3, "-o", "a.h5"
    )
    assert (code, out) == (0, "a.h5\n"), err
    audit = json.loads((tmp_path / "a.json").read_text())
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [s["achieved"] for s in audit["samples"]] == [{"pore": 77, "grain": 13 * 18 - 77}] * 5
    assert [s["requested"] for s in audit["samples"]] == [s["achieved"] for s in audit["samples"]]
    assert len({s["seed"] for s in audit["samples"]}) == 5
    assert set(audit["samples"][0]["decoding"]) == {"forced", "overlap", "far"}
    assert audit["evaluations_per_sample"] == 7
    assert audit["seed"] == 4
    assert len(audit["model"]["digest"]) == 64
    assert audit["versions"]["torch"]
    assert audit["voxel_size"] == 2.0
    code, out, err = dsd("info", "a.h5", "--json")
    assert code == 0, err


def test_same_seed_same_files_whatever_the_batch(dsd, run, tmp_path):
    common = ("generate", "--porosity", 0.3, "--seed", 9, "--steps", 3)
    assert dsd(*common, "-n", 6, "-o", "a.npy")[0] == 0
    assert dsd(*common, "-n", 4, "--batch", 1, "-o", "b.npy")[0] == 0
    assert dsd(*common, "-n", 6, "--seed", 10, "-o", "c.npy")[0] == 0
    a, b, c = (np.load(f"{name}.npy") for name in "abc")
    assert np.array_equal(a[:4], b)
    assert not np.array_equal(a, c)


def test_a_chosen_seed_is_reported_and_names_are_not_reused(dsd, run, tmp_path):
    _, out, err = dsd("generate", "-n", 1, "--steps", 1)
    assert out == "samples.tif\n"
    seed = json.loads((tmp_path / "samples.json").read_text())["seed"]
    assert f"seed {seed}" in err
    assert dsd("generate", "-n", 1, "--steps", 1)[1] == "samples-2.tif\n"
    assert dsd("generate", "-n", 1, "--steps", 1, "-q")[2] == ""


def test_like_takes_the_counts_of_real_crops(dsd, run, rock):
    code, out, err = dsd("generate", "--like", rock.path, "-n", 6, "--steps", 1, "--json")
    assert code == 0, err
    pores = [s["achieved"]["pore"] for s in json.loads(out)["samples"]]
    assert len(set(pores)) > 2
    crops = rock.crops("train", 6, (16, 16), np.random.default_rng(json.loads(out)["seed"]))
    assert pores == (crops == 0).sum((1, 2)).tolist()


def test_the_sheet_alone(dsd, run, tmp_path):
    assert dsd("generate", "-n", 2, "--steps", 1, "-o", "only.png")[1] == "only.png\n"
    assert {p.suffix for p in tmp_path.glob("only.*")} == {".png", ".json"}


def test_a_3d_model(dsd, rock, tmp_path):
    code, _, err = dsd("train", "--steps", 1, "--batch", 1, "--size", "8x8x8")
    assert code == 0, err
    code, _, err = dsd("generate", "--counts", "pore=100", "-n", 2, "--steps", 1, "--size", "9x8x10")
    assert code == 0, err
    volumes = tifffile.imread("samples.tif")
    assert volumes.shape == (2, 9, 8, 10)
    assert ((volumes == 0).sum((1, 2, 3)) == 100).all()
    code, _, err = dsd("generate", "--size", "9x8")
    assert code == 2
    assert "3D model" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["generate", "--porosity", "1.5"], 2, "between 0 and 1"),
        (["generate", "--fraction", "pore=0.7", "--fraction", "grain=0.5"], 2, "add up to 1.199"),
        (["generate", "--fraction", "clay=0.1"], 2, "pore, grain"),
        (["generate", "--fraction", "clay"], 2, "NAME=V"),
        (["generate", "--porosity", "0.2", "--fraction", "pore=0.2"], 2, "same thing"),
        (["generate", "--model", "nonsense"], 2, "unknown model 'nonsense'"),
        (["generate", "--size", "64"], 2, "HxW"),
        (["generate", "--boundary", "open"], 2, "noflux or periodic"),
        (["generate", "-o", "absent/a.tif"], 2, "does not exist"),
        (["generate", "-o", "a.docx"], 2, "a.docx"),
        (["generate", "--device", "tpu"], 2, "auto, cpu or cuda"),
        (["generate", "--like", "absent.dsd.h5"], 2, "absent.dsd.h5"),
        (["train", "absent.dsd.h5"], 2, "absent.dsd.h5"),
        (["train", "--size", "64x64"], 4, "64x64"),
        (["train", "--preset", "huge"], 2, "tiny, small, base"),
        (["train", "--max-time", "soon"], 2, "30m"),
        (["train", "--lr", "-1"], 2, "learning rate"),
        (["train", "--precision", "int4"], 2, "float32 or bfloat16"),
        (["evaluate", "samples.tif", "--crops", "9" * 30], 2, "must lie between 1 and 1000000"),
        (["generate", "-n", str(2**64)], 2, "a job has 1000000000000000 samples at most"),
        (["train", "--size", "16x16", "--out", "absent/run"], 2, "does not exist"),
        (["train", "--resume", "--out", "absent"], 2, "not a training run"),
        (["train", "--resume", "--lr", "0.5"], 2, "leave out lr"),
        (["train", "--size", "2x2"], 2, "4 voxels"),
        (["train", "--max-time", ""], 2, "empty"),
        (["train", "--max-time="], 2, "--max-time has no value"),
        (["train", "--max-time", "9" * 30 + "h"], 2, "cannot read the time"),
        (["train", "--seed", 2**64], 2, "--seed"),
        (["train", "--lr", "1e300"], 2, "--lr 1e+300"),
        (["train", "--lr", "inf"], 2, "learning rate"),
        (["generate", "--size", "\u0663x\u00b2"], 2, "HxW"),
        (["generate", "--size", "9" * 5000 + "x2"], 2, "more than any name"),
        (["generate", "--size", "900000x900000"], 2, "GiB of memory"),
        (["generate", "--size", "9000x9000x9000"], 2, "GiB of memory"),
        (["generate", "-n", 10**11], 2, "GiB of memory"),
        (["generate", "--eta", "inf"], 2, "--eta inf"),
        (["generate", "--eta", "nan"], 2, "--eta nan"),
        (["generate", "--seed", 2**64], 2, "2^64 - 1"),
        (["generate", "--steps", 10**12], 2, "--steps"),
        (["generate", "--batch", "\u0663"], 2, "auto"),
        (["generate", "--fraction", "pore=nan"], 2, "NAME=V"),
        (["generate", "--counts", "pore=\u0663"], 2, "NAME=K"),
        (["generate", "--model", ""], 2, "empty"),
        (["generate", "--model", "x" * 5000], 2, "5000 characters"),
        (["generate", "-o", "x" * 300 + ".tif"], 2, "304 characters"),
        (["generate", "-o", "a\0.tif"], 2, "NUL"),
        (["generate", "--model", "\udcff"], 2, "unknown model"),
        (["evaluate", "a.tif", "--report", "."], 2, "is a folder"),
        (["inpaint", "a.tif", "--box", "0:\u0663,0:2"], 2, "--box"),
        (["inpaint", "a.tif", "--disk", "1,1,inf"], 2, "--disk"),
    ],
)
def test_bad_requests_end_in_one_line_and_no_output(dsd, run, tmp_path, words, code, said):
    before = sorted(tmp_path.rglob("*"))
    got, out, err = dsd(*words)
    lines = [line for line in err.splitlines() if "error" in line]
    assert (got, out) == (code, "")
    assert len(lines) == 1
    assert said in lines[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "free"), [("a.npy", 500), ("a.mhd", 500), ("a.h5", 20)])
def test_more_than_the_disk_holds_is_refused_before_the_work(dsd, run, tmp_path, monkeypatch, name, free):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    before = sorted(tmp_path.rglob("*"))
    code, out, err = dsd("generate", "-n", 2, "--steps", 1, "-o", name)
    assert (code, out) == (2, "")
    assert "disk" in err.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_cuda_without_cuda_is_an_error(dsd, run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for command in ("generate", "train"):
        code, out, err = dsd(command, "--device", "cuda")
        assert (code, out) == (2, "")
        assert "--device cpu" in err


def test_a_full_disk_leaves_nothing(dsd, run, tmp_path, monkeypatch):
    """The write of the last of the three files fails: none of them is there."""

    def full(picture, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dsdcli.pipeline.output.save_picture", full)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = dsd("generate", "-n", 1, "--steps", 1)
    assert (code, out) == (1, "")
    assert "No space left on device" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_truncated_checkpoint_is_named(dsd, run, tmp_path):
    weights = tmp_path / run / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, out, err = dsd("generate")
    assert (code, out) == (4, "")
    assert "best.safetensors" in err


def test_resume_on_the_command_line(dsd, rock, tmp_path):
    words = ("train", "--batch", 2, "--size", "16x16", "--validate-every", 2)
    assert dsd(*words, "--steps", 6, "--out", "whole")[0] == 0
    assert dsd(*words, "--steps", 6, "--out", "parts", "--max-time", "0.001s")[0] == 0
    stopped = json.loads((tmp_path / "parts/metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert stopped == 1
    code, out, err = dsd("train", "--resume", "--out", "parts", "--max-time", "1h")
    assert (code, out) == (0, "parts\n"), err
    assert json.loads((tmp_path / "parts/metrics.jsonl").read_text().splitlines()[-1])["step"] == 6


ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
TINY = (
    "import sys; from dsdcli.network.config import PRESETS, Architecture;"
    "PRESETS['tiny'] = (Architecture((8, 16)),) * 2;"
    "from dsdcli.cli import main; main()"
)


def cut_by(number, folder, words):
    """A training in a process of its own, sent a signal after its first 50 steps: its exit code and what it said."""
    job = subprocess.Popen([sys.executable, "-c", TINY, *words, "--out", folder], stderr=subprocess.PIPE, text=True)
    while not (folder / "metrics.jsonl").exists() and job.poll() is None:  # first written at step 50
        time.sleep(0.01)
    job.send_signal(number)
    said = job.communicate(timeout=60)[1]
    return job.returncode, said


def test_a_signal_saves_and_resume_reaches_the_same_weights(dsd, rock, tmp_path):
    """Killed at any step and resumed: the log and the weights of an uninterrupted run, whatever the signal."""

    def last(name):
        entry = json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])
        return entry["step"], entry["loss"]

    words = ["train", "--batch", "2", "--size", "16x16", "--steps", "100", "--validate-every", "1000"]
    assert dsd(*words, "--out", "whole")[0] == 0
    for number in ENDING:
        name = f"cut-{int(number)}"
        code, said = cut_by(number, tmp_path / name, words)
        if code not in (0, -number):  # not so fast that training had ended
            assert code == 128 + number, said
            assert f"--resume --out {tmp_path / name}" in said
            assert Run(tmp_path / name).resumable()
            assert dsd("train", "--resume", "--out", name)[0] == 0
        assert last(name) == pytest.approx(last("whole"), rel=1e-5)


def test_a_lost_terminal_saves(rock, tmp_path):
    """What is said after the hangup has nowhere to go, and harms nothing."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    near, far = pty.openpty()
    words = ["train", "--batch", "2", "--size", "16x16", "--steps", "100000", "--validate-every", "60", "--out", "cut"]

    def at_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which dsd respects

    streams = {"stdin": far, "stdout": far, "stderr": far}
    job = subprocess.Popen(
        [sys.executable, "-c", TINY, *words], **streams, start_new_session=True, preexec_fn=at_terminal
    )
    os.close(far)
    os.set_blocking(near, False)
    while not (tmp_path / "cut/metrics.jsonl").exists() and job.poll() is None:
        with contextlib.suppress(BlockingIOError):
            os.read(near, 2**16)
        time.sleep(0.01)
    os.close(near)
    assert job.wait(timeout=120) == 128 + signal.SIGHUP
    assert Run(tmp_path / "cut").resumable()


def test_help_and_version_load_nothing_heavy():
    script = (
        "import sys; sys.argv = ['dsd', '--help']\n"
        "from dsdcli.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'porespy', 'h5py', 'skimage'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("ingest", "train", "generate", "evaluate", "info", "doctor"):
        assert command in done.stdout


def test_another_piece_of_work_has_its_own_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """The crops that are measured before a training do not count as its beginning."""
    with progress("training", every_seconds=0.0) as update:
        for done, total in ((0, 500), (500, 500), (0, 60), (30, 60)):
            update(done, total, "")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("training 500/500")
    assert second.startswith("training 30/60") and "inf" not in second
