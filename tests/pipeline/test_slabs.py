"""Volumes made in slabs, by the command: the same file from one process and from two, and an end for all."""

import json

import numpy as np
import pytest

from dsdcli.data.samples import read_samples
from dsdcli.data.writers import ome_zarr
from tests.conftest import save_model
from tests.training.test_ranks import ends, start, until


@pytest.fixture
def model(electrode, tmp_path, monkeypatch):
    """An untrained 3D model, by its folder; samples go to where the test is."""
    save_model(tmp_path / "model", electrode, (8, 8, 8))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "model"


def content(folder):
    """Every file of a folder, the voxels and all that is said of them."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_processes_write_the_file_of_one(model, dsd):
    (model.parent / "a").mkdir()
    (model.parent / "b").mkdir()
    words = ["generate", "--model", model, "--size", "70x66x12", "--fraction", "pore=0.4", "--steps", 1, "-n", 2]
    words += ["--seed", 5]
    code, out, said = dsd(*words, "--slabs", "-o", "a/s.zarr")
    assert (code, out.strip()) == (0, "a/s.zarr"), said
    (code, out, said), (other, *nothing) = ends(start(2, "-m", "dsdcli", *words, "-o", "b/s.zarr"))
    assert (code, other, out.strip(), nothing) == (0, 0, "b/s.zarr", ["", ""]), said
    one, two = model.parent / "a", model.parent / "b"
    assert content(one / "s.zarr") == content(two / "s.zarr")
    assert (one / "s.png").read_bytes() == (two / "s.png").read_bytes()
    samples, about = read_samples(two / "s.zarr"), json.loads((two / "s.json").read_text())
    assert about["slabs"] == {"ranks": 2, "unit": 4}
    for image, entry in zip(samples.stack, about["samples"], strict=True):
        counts = np.bincount(image.ravel(), minlength=3).tolist()
        assert list(entry["requested"].values()) == list(entry["achieved"].values()) == counts
        assert counts[0] == round(0.4 * image.size)
    assert not np.array_equal(*samples.stack)
    for key in ("command", "created", "seconds", "slabs"):
        del about[key]
    assert about.items() <= json.loads((one / "s.json").read_text()).items()


def test_levels_are_those_of_samples_written_whole(tmp_path, model, dsd):
    code, _, said = dsd("generate", "--model", model, "--size", "70x66x12", "--slabs", "-n", 1, "--steps", 1)
    assert code == 0, said
    found = read_samples(model.parent / "samples.zarr")
    about = {"voxel_size": found.voxel_size, "voxel_unit": found.voxel_unit, "extra": None}
    ome_zarr.ZarrSamples(tmp_path / "whole.zarr", found.stack.shape, found.phases, about).write(0, found.stack[0])
    for level in ("0", "1"):
        assert content(tmp_path / "whole.zarr" / level) == content(model.parent / "samples.zarr" / level)
    # An ordinary job of the same seed makes another sample, and does not take this one for its own.
    words = [
        "generate",
        "--model",
        model,
        "--size",
        "70x66x12",
        "-n",
        1,
        "--steps",
        1,
        "--resume",
        "-o",
        "samples.zarr",
    ]
    code, _, said = dsd(*words)
    assert code == 2
    assert "rows of the units" in said


def test_a_rank_that_dies_ends_all_and_leaves_nothing_that_looks_whole(model):
    words = ["-m", "dsdcli", "generate", "--model", model, "--size", "16x16x16", "-n", 1, "--steps", 10**5]
    jobs = start(2, *words, "-o", "s.zarr")
    until(lambda: list(model.parent.glob(".dsd-*/new/s.zarr/.zattrs")), jobs)
    jobs[1].kill()
    (code, out, said), _ = ends(jobs)
    assert (code, out) == (1, "")
    assert "rank 0 of 2 has lost another" in said.splitlines()[-1]
    assert not list(model.parent.glob("s.*"))


def test_what_slabs_cannot_do_is_said_once(model):
    words = ["-m", "dsdcli", "generate", "--model", model, "-n", 1, "--size", "4x16x16"]
    (code, _, said), (other, *nothing) = ends(start(2, *words))
    assert (code, other, nothing) == (2, 2, ["", ""])
    assert "2 ranks share 1 units" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--resume", "-o", "s.zarr"], "take no --resume"),
        (["-o", "s.tif"], "let s.tif end in .zarr"),
        (["--profile", "pore=z:0.1..0.2"], "leave out --profile"),
        (["--sampler", "cfl"], "--sampler trapezoidal"),
        (["--steer", "interface.pore|NMC=0.1"], "leave out --steer"),
        (["--size", "100000x100000x100000"], "GiB of memory"),
        (["--size", "6x8x8", "--boundary", "periodic"], "multiples of 4"),
    ],
)
def test_what_slabs_cannot_do_is_refused(model, dsd, more, why):
    code, _, said = dsd("generate", "--model", model, "--slabs", *more)
    assert code == 2
    assert why in said.splitlines()[-1]
