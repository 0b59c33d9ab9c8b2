"""Known voxels: every sample has them as they are, and exactly the voxels of each phase that were ordered."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

import dsdcli
from dsdcli.errors import DsdError
from tests.conftest import save_model

LABELS = np.array([0, 85, 170], np.uint8)


@pytest.fixture
def models(electrode, tmp_path, monkeypatch):
    """Untrained models of three phases, of images and of volumes."""
    monkeypatch.chdir(tmp_path)
    made = {}
    for ndim in (2, 3):
        save_model(tmp_path / f"model-{ndim}", electrode, (8,) * ndim)
        made[ndim] = dsdcli.load(f"model-{ndim}")
    return made


def test_any_known_voxels_come_out_as_they_are(models):
    rng = np.random.default_rng(0)
    for case in range(30):
        ndim = 2 + case % 2
        size = tuple(int(rng.integers(4, 12)) for _ in range(ndim))
        real = rng.integers(0, 3, size)
        known = rng.random(size) < rng.choice([0.002, 0.1, 0.5, 0.95])
        known.ravel()[0] = False
        labels = np.where(known, LABELS[real], 7)
        request = {} if case % 3 else {"counts": {"pore": int((real[known] == 0).sum()) + int((~known).sum()) // 2}}
        made = models[ndim].generate(2, known=labels, unknown=7, steps=1, seed=case, **request)
        assert made.stack.shape == (2, *size)
        assert (made.stack[:, known] == real[known]).all()
        if request:
            assert (made.counts[:, 0] == request["counts"]["pore"]).all()
        else:  # the rest as in the training images
            rest = (made.stack[0] == 1).sum() - (real[known] == 1).sum()
            assert abs(rest - models[ndim].config.fractions[1] * (~known).sum()) < 1
        assert made.audit["known_voxels"] == known.sum()


def test_slices_cores_and_extensions_lie_where_they_are_said_to(models, dsd, tmp_path):
    rng = np.random.default_rng(1)
    plane, core = (LABELS[rng.integers(0, 3, shape)] for shape in ((8, 6), (10, 5, 5)))
    tifffile.imwrite("plane.tif", plane)
    tifffile.imwrite("core.tif", core)
    words = ("--model", "model-3", "-n", 1, "--steps", 1, "--seed", 1, "--size", "10x8x6")
    code, _, err = dsd(
        "generate", *words, "--known-slice", "z:3:plane.tif", "--known-core", "3,2:1.5:core.tif", "-o", "a.npy"
    )
    assert code == 2 and "contradicts" in err and "(3, " in err
    code, _, err = dsd("generate", *words, "--known-slice", "z:3:plane.tif", "-o", "a.npy")
    assert code == 0, err
    assert np.array_equal(np.load("a.npy")[0, 3], plane)
    code, _, err = dsd("generate", *words, "--known-core", "3,2:1.5:core.tif", "-o", "b.npy")
    assert code == 0, err
    for y, x in ((3, 2), (2, 2), (4, 3), (2, 1)):
        assert np.array_equal(np.load("b.npy")[0, :, y, x], core[:, y - 1, x])
    made = models[2].generate(2, known=plane, extend={"y": (3, 0), "x": (0, 5)}, steps=1, seed=2)
    assert made.stack.shape == (2, 11, 11)
    assert (np.asarray(made)[:, 3:, :6] == plane).all()
    code, _, err = dsd(
        "generate", "--model", "model-2", "-n", 2, "--known", "plane.tif", "--extend", "y=-3", "--extend", "x=+5",
        "--steps", 1, "--seed", 2, "-o", "c.npy",
    )  # fmt: skip
    assert code == 0, err
    assert np.array_equal(np.load("c.npy"), np.asarray(made))
    assert json.loads((tmp_path / "c.json").read_text())["known_voxels"] == 48


def test_a_known_slice_of_a_volume_from_a_2d_model(models):
    plane = LABELS[np.random.default_rng(3).integers(0, 3, (7, 6))]
    made = models[2].generate(1, size=(8, 7, 6), known_slices=[("z:4", plane)], seed=0, fractions={"pore": 0.5})
    assert np.array_equal(np.asarray(made)[0, 4], plane)
    assert made.counts[0, 0] == 168
    free = models[2].generate(1, size=(8, 7, 6), seed=0)
    assert made.audit["sampler"]["dose_start"] > free.audit["sampler"]["dose_start"]  # what is known reaches further


def test_known_voxels_change_what_is_drawn_beside_them(models):
    """The network is told: another known voxel, another sample with the same seed and counts."""
    a = np.full((8, 8), 7)
    b = a.copy()
    a[2, 2], a[5, 5], b[2, 2], b[5, 5] = 0, 85, 85, 0
    one, two = (models[2].generate(4, known=k, unknown=7, seed=1, counts={"pore": 20, "NMC": 20}).stack for k in (a, b))
    free = np.ones((8, 8), bool)
    free[[2, 5], [2, 5]] = False
    assert (one[:, free] != two[:, free]).any()


def test_maps_of_an_ensemble_are_its_frequencies_and_their_entropy(models, dsd):
    known = np.full((9, 8), 7, np.uint8)
    known[4] = 85
    tifffile.imwrite("known.tif", known)
    words = ("--model", "model-2", "-n", 5, "--steps", 1, "--seed", 1, "--known", "known.tif", "--unknown", 7)
    code, _, err = dsd("generate", *words, "-o", "a.npy", "--frequencies", "maps.tif")
    assert code == 0, err
    maps, stack = tifffile.imread("maps.tif"), np.load("a.npy")
    assert maps.shape == (4, 9, 8)
    for of_phase, label in zip(maps, LABELS, strict=False):
        np.testing.assert_allclose(of_phase, (stack == label).mean(0), atol=1e-6)
    assert (maps[3, 4] < 1e-6).all() and (maps[1, 4] == 1).all() and maps[3].max() > 0.5
    again = models[2].generate(5, known=known, unknown=7, steps=1, seed=1)
    assert np.array_equal(again.frequencies, maps[:3])
    assert again.save("b.npy").sheet.read_bytes() == Path("a.png").read_bytes()
    code, _, err = dsd("generate", *words, "-o", "c.npy", "--frequencies", "known.tif")
    assert code == 2 and np.array_equal(tifffile.imread("known.tif"), known)
    assert dsd("generate", *words, "-o", "known.tif")[0] == 2


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"known": np.zeros((8, 8), int)}, "nothing is left to draw"),
        ({"known": np.full((8, 8), 3)}, "belong to no phase"),
        ({"unknown": 3}, "give it by `known`"),
        ({"extend": {"y": (1, 1)}}, "give it by `known`"),
        ({"known": np.zeros((8, 8), int), "extend": {"z": (1, 1)}}, "along y, x"),
        ({"known": np.zeros((8, 8), int), "extend": {"y": (1, 1)}, "size": (8, 8)}, "leave out `size`"),
        ({"known": np.eye(8, dtype=int) * 7, "unknown": 7, "counts": {"pore": 5}}, "51 too many"),
        ({"known": np.eye(8, dtype=int) * 7, "unknown": 7, "porosity": 0.9, "exact_in": 4}, "cell that begins at"),
        ({"known_slices": [("z:1", np.zeros(8, int))]}, "place of the slice"),
        ({"known_slices": [("y:9", np.zeros(8, int))], "size": (8, 8)}, "lies outside"),
        ({"known_cores": [((4, 4), 3, np.zeros((3, 3), int))], "size": (8, 8)}, "smaller than the disc"),
    ],
)
def test_what_cannot_be_known_is_one_line(models, request_, words):
    with pytest.raises(DsdError, match=words):
        models[2].stream(1, **request_)
