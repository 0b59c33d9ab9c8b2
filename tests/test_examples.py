"""The examples run; the long ones in a short version."""

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dsdcli.network.config import PRESETS, Architecture
from dsdcli.training import told
from tests.conftest import save_model

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = {  # with what makes them small
    "rock_from_file_to_report": {"SCAN": (30, 48, 48), "CROP": (16, 16), "SECONDS": 0.1, "SAMPLES": 3},
    "electrode_inpainted": {"SIZE": (30, 40), "DISK": (14, 20, 6), "FILLINGS": 2, "STEPS": 1},
}


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


def test_every_notebook_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name, tmp_path, monkeypatch):
    """Cell by cell, as a notebook does: the value of the last expression of a cell is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    monkeypatch.setattr(told, "VALIDATION_CROPS", 32)
    monkeypatch.setattr("dsdcli.evaluation.evaluate._CROPS", 8)
    names, shown = {}, []
    for cell in json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        *body, last = ast.parse("".join(cell["source"])).body
        if not isinstance(last, ast.Expr):
            body, last = [*body, last], ast.parse("None").body[0]
        exec(compile(ast.Module(body, []), name, "exec"), names)
        value = eval(compile(ast.Expression(last.value), name, "eval"), names)
        if hasattr(value, "_repr_html_"):
            shown.append(value._repr_html_())
        if "parameters" in cell["metadata"].get("tags", ()):
            assert set(NOTEBOOKS[name]) <= set(names)
            names |= NOTEBOOKS[name]
    assert len(shown) == 2 and all("<" in html for html in shown)
    assert list(tmp_path.glob("*.json")), "samples are saved with their audit record"
