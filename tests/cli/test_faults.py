"""Whatever happens, a command ends in one line and a true exit code; `dsd --debug` shows more."""

import os
import subprocess
import sys

import numpy as np
import pytest

DSD = [sys.executable, "-m", "dsdcli"]


@pytest.fixture
def fails(monkeypatch, dsd):
    """Run `dsd info x` where reading raises this error."""

    def run(error, *before):
        def describe(file):
            raise error

        monkeypatch.setattr("dsdcli.pipeline.describe.describe", describe)
        return dsd(*before, "info", "x")

    return run


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (IndexError("list index\nout of range"), "fault: IndexError: list index (test_faults.py"),
        (RecursionError(), "fault: RecursionError"),
        (MemoryError("Unable to allocate 9 GiB"), "not enough memory (Unable to allocate 9 GiB)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory"),
        (OSError(28, "No space left on device", "a.tif"), "a.tif: No space left on device"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_what_nobody_foresaw_is_one_line(fails, error, said):
    code, out, err = fails(error)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("dsd: ")
    assert said in err
    assert "dsd --debug" in err or "memory" in err


def test_debug_shows_where_it_came_from(fails):
    code, _, err = fails(IndexError("here"), "--debug")
    assert code == 1
    assert "Traceback (most recent call last)" in err
    assert "in describe" in err
    assert err.splitlines()[-1].startswith("dsd: fault: IndexError: here")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rock.npy", np.eye(4, dtype=np.uint8))


def run(words, stdout, **more):
    return subprocess.run([*DSD, *words], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, **more)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("words", [["info", "rock.npy"], ["info", "rock.npy", "--json"], ["--version"]])
def test_a_full_device_is_an_error(words):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run(words, full)
    assert done.returncode == 1
    assert done.stderr == "dsd: error: cannot write to stdout: No space left on device\n"


def test_a_reader_that_closes_the_pipe_changes_nothing():
    """The exit code is that of the work: fine, or what failed after the pipe was closed."""
    for words, code in ((["info", "rock.npy"], 0), (["info", "rock.npy", "absent"], 2)):
        read, write = os.pipe()
        os.close(read)
        done = run(words, write)
        os.close(write)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_talk_that_nobody_can_hear_stops_nothing():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run([*DSD, "info", "absent"], stderr=full, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 2
