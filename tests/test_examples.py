"""The examples run; the long ones in a short version."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.conftest import save_model

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(tmp_path, script, *words):
    """Run an example as a user does: exit code 0 and its stdout."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def model(rock, tmp_path):
    """A small untrained model of the two-phase material."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, rock, (16, 16))
    return folder


def test_toy_rock(tmp_path, dsd):
    assert run(tmp_path, "make_toy_rock.py", "a.tif", "--shape", 10, 12, 14, "--fractions", 0.5, 0.3, 0.2) == "a.tif\n"
    volume = tifffile.imread(tmp_path / "a.tif")
    assert volume.shape == (10, 12, 14)
    assert np.bincount(volume.ravel())[[0, 127, 255]] == pytest.approx([840, 504, 336], abs=1)
    code, _, err = dsd("ingest", tmp_path / "a.tif", "-o", tmp_path / "a.dsd.h5")
    assert code == 0, err
    assert "voxel size 2.5 um (ImageJ)" in err


def test_picture_of_real_beside_generated(tmp_path, rock, model, monkeypatch):
    widths = []
    for flags in ([], ["--curves-only"]):
        words = [str(rock.path), str(model), "-n", "8", "--steps", "2", "-o", str(tmp_path / "picture.png"), *flags]
        monkeypatch.setattr(sys, "argv", ["real_beside_generated.py", *words])
        runpy.run_path(str(EXAMPLES / "real_beside_generated.py"), run_name="__main__")
        widths.append(Image.open(tmp_path / "picture.png").width)
    assert widths[0] > widths[1]  # the real crops are left out
