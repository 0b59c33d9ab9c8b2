"""What README and the page for Python show works, from the first line to the last."""

import re

import numpy as np
import pytest
import tifffile

from dsdcli.data.phases import Phase
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.sampling.registry import SAMPLERS
from dsdcli.sampling.sweeps import PlaneSweeps
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training import recipes, told
from tests.conftest import blobs, make_dataset, save_model
from tests.test_docs import ROOT, commands

ROCK = np.array([0, 255], np.uint8)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with a scan, and all that takes long made small: untrained models, one leap, four steps of training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    monkeypatch.setitem(recipes.RECIPES, "tiny", {"steps": 4, "voxels": 2**9, "lr": 1e-3})
    monkeypatch.setattr(told, "VALIDATION_CROPS", 32)
    monkeypatch.setattr("dsdcli.evaluation.evaluate._CROPS", 8)
    monkeypatch.setattr(Trapezoidal.__init__, "__defaults__", (1, *Trapezoidal.__init__.__defaults__[1:]))
    monkeypatch.setattr(PlaneSweeps, "schedule", lambda self: [(1.0, 1), (0.5, 1), (0.1, 1)])
    shipped = {}
    for name, size, phases, levels in (
        ("berea-2d", (16, 16), (Phase("pore", 0), Phase("grain", 255)), [0.2]),
        ("berea-3d", (16, 16, 16), (Phase("pore", 0), Phase("grain", 255)), [0.2]),
        ("nmc-2d", (16, 16), (Phase("pore", 0), Phase("NMC", 85), Phase("CBD", 170)), [0.4, 0.8]),
    ):
        folder = tmp_path / "library" / name
        folder.mkdir(parents=True)
        save_model(folder, make_dataset(tmp_path / "library", phases, levels, name), size)
        shipped[name] = folder
    monkeypatch.setattr("dsdcli.network.catalogue.shipped_models", lambda: shipped)
    tifffile.imwrite("rocks.tif", ROCK[blobs((80, 64, 64), [0.2], 3)], photometric="minisblack")
    tifffile.imwrite("scan.tif", ROCK[blobs((256, 256), [0.2], 4)], photometric="minisblack")
    tifffile.imwrite("slice.tif", ROCK[blobs((16, 16), [0.2], 5)], photometric="minisblack")
    hole = np.zeros((256, 256), np.uint8)
    hole[30:40, 50:70] = hole[100:109, 90:101] = 1
    tifffile.imwrite("hole.tif", hole)
    return tmp_path


# Fewer and smaller, but all of it.
SMALLER = {"64": "4", "256": "4", "200x333": "40x67", "64x64x64": "16x16x16"}


def test_the_whole_of_readme_from_the_shell(small, dsd):
    done = []
    for words in commands(ROOT / "README.md"):
        code, _, err = dsd(*(SMALLER.get(word, word) for word in words))
        assert code == 0, (words, err)
        done.append(words[0])
    assert {"ingest", "train", "generate", "inpaint", "evaluate", "info"} <= set(done)
    assert len(done) > 10


def test_the_page_for_python_runs_from_the_first_line_to_the_last(small, monkeypatch):
    monkeypatch.setattr("dsdcli.sampling.registry.SAMPLERS", dict(SAMPLERS))
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/guide/python.md").read_text(encoding="utf-8"), re.M | re.S
    )
    assert len(blocks) > 8
    names = {"__name__": "page"}
    for block in blocks:
        for many in ("10_000", "64", "32"):
            for verb in ("generate", "stream"):
                block = block.replace(f"{verb}({many}, ", f"{verb}(4, ")
            block = block.replace(f'.tif", {many}', '.tif", 4')
        exec(compile(block, "docs/guide/python.md", "exec"), names)
    assert {path.name for path in small.iterdir()} >= {"samples.tif", "rocks.dsd.h5", "fillings.tif", "report.html"}
