"""Volume fractions that differ from place to place: exactly the integers that a map implies, in every cell."""

import json

import numpy as np
import pytest
import tifffile

import dsdcli
from dsdcli.errors import DsdError
from dsdcli.sampling.counts import largest_remainder
from tests.conftest import save_model


@pytest.fixture
def models(rock, electrode, tmp_path, monkeypatch):
    """Untrained: two and three phases, images and volumes."""
    monkeypatch.chdir(tmp_path)
    made = {}
    for dataset, size in ((rock, (12, 10)), (electrode, (12, 10)), (electrode, (8, 8, 8))):
        name = f"{len(dataset.phases)}-{len(size)}"
        save_model(tmp_path / name, dataset, size)
        made[len(dataset.phases), len(size)] = dsdcli.load(name)
    return made


def cell_counts(images, edges, phases):
    """Voxels of each phase in every box between the edges: (n, *grid, K)."""
    one_hot = np.stack([images == k for k in range(phases)], -1).astype(int)
    for axis, cuts in enumerate(edges):
        one_hot = np.add.reduceat(one_hot, cuts[:-1], axis=axis + 1)
    return one_hot


def test_every_cell_of_random_maps_has_the_integers_that_they_imply(models):
    rng = np.random.default_rng(0)
    for case in range(40):
        phases, ndim = [(2, 2), (3, 2), (3, 3)][case % 3]
        size = tuple(int(rng.integers(5, 14)) for _ in range(ndim))
        side = int(rng.choice([1, 2, 3, 5, 20]))
        grid = [int(rng.integers(1, n + 1)) for n in size]
        share = rng.dirichlet(np.full(phases, rng.choice([0.05, 1.0])), grid)
        named = ("pore", "NMC")[: phases - 1]
        made = models[phases, ndim].generate(
            1, size=size, steps=1, seed=case, exact_in=side, field={n: share[..., k] for k, n in enumerate(named)}
        )
        edges = made.audit["cells"]["edges"]
        assert edges == [[*range(0, n, side), n] for n in size]
        at = [((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, grid, strict=True)]
        voxels = share[np.ix_(*at)]
        if phases == 3:  # what is not named shares the rest
            voxels[..., 2] = 1 - voxels[..., :2].sum(-1)
        exact = voxels
        for axis, cuts in enumerate(edges):
            exact = np.add.reduceat(exact, cuts[:-1], axis=axis)
        got = cell_counts(made.stack, edges, phases)[0]
        assert (np.abs(got - exact) < 1 + 1e-6).all()
        whole = exact.reshape(-1, phases).sum(0)
        assert np.array_equal(
            got.reshape(-1, phases).sum(0), largest_remainder(whole / whole.sum(), int(np.prod(size)))
        )


def test_profiles_from_words_lists_and_files_are_one(models, dsd, tmp_path):
    model = models[3, 2]
    (tmp_path / "column.csv").write_text("porosity\n0.1\n0.5\n0.3\n")
    (tmp_path / "positions.csv").write_text("0,0.2\n24,0.6\n")
    tifffile.imwrite("map.tif", np.array([[0.1], [0.5], [0.3]], np.float32))
    ways = {
        "list": {"profile": {"pore": ("y", [0.1, 0.5, 0.3])}},
        "csv": {"profile": {"pore": ("y", "column.csv")}},
        "map": {"field": {"pore": np.array([[0.1], [0.5], [0.3]])}},
        "file": {"field": {"pore": "map.tif"}},
    }
    made = {name: model.generate(2, size=(24, 8), steps=1, seed=3, **way) for name, way in ways.items()}
    for samples in made.values():
        assert np.array_equal(samples.stack, made["list"].stack)
    assert np.array_equal((made["map"].stack == 0).reshape(2, 3, 64).sum(2), np.tile([6, 32, 19], (2, 1)))
    code, _, err = dsd(
        "generate", "--model", "3-2", "-n", 2, "--size", "24x8", "--steps", 1, "--seed", 3,
        "--profile", "pore=y:0.1,0.5,0.3", "-o", "words.npy",
    )  # fmt: skip
    assert code == 0, err
    assert np.array_equal(np.asarray(dsdcli.read_samples("words.npy")), np.asarray(made["list"]))
    record = json.loads((tmp_path / "words.json").read_text())
    assert record["cells"]["grid"] == [3, 1]
    assert record["samples"][0]["cells"]["pore"] == [6, 32, 19]
    rising = model.generate(1, size=(24, 8), steps=1, seed=3, profile={"pore": ("y", [0.2, 0.6])}).stack[0] == 0
    again = model.generate(1, size=(24, 8), steps=1, seed=3, profile={"pore": ("y", "positions.csv")}).stack[0] == 0
    assert rising.sum() == pytest.approx(0.4 * 192, abs=1) and again.sum() == pytest.approx(0.4 * 192, abs=1)
    assert rising[:8].sum() < rising[8:16].sum() < rising[16:].sum()


def test_counts_of_cells_are_those_of_real_crops(models, electrode):
    made = models[3, 2].generate(6, like=electrode, exact_in=4, steps=1, seed=2, size=(12, 10))
    crops = electrode.crops("train", 6, (12, 10), np.random.default_rng(2))
    edges = made.audit["cells"]["edges"]
    assert np.array_equal(cell_counts(made.stack, edges, 3), cell_counts(crops, edges, 3))
    assert made.audit["evaluations_per_sample"] == 3 + 4  # the round trips before voxels are exchanged


def test_counts_of_cells_of_samples_larger_than_the_images_vary_as_real_blocks(models, electrode, dsd, tmp_path):
    request = {"like": electrode, "exact_in": 5, "steps": 1, "seed": 4, "size": (44, 36)}
    told = []
    made = models[3, 2].generate(4, **request, note=told.append)
    edges = [[*range(0, 44, 5), 44], [*range(0, 36, 5), 36]]
    assert made.audit["cells"]["edges"] == edges
    assert made.audit["like"]["counts"].startswith("by a Gaussian field") and any("larger" in line for line in told)
    counts = cell_counts(made.stack, edges, 3)
    real = {
        tuple(row)
        for plane in electrode.train[0].array
        for row in np.moveaxis(np.lib.stride_tricks.sliding_window_view(plane, (5, 5)), 0, 0).reshape(-1, 25)
        for row in [np.bincount(row, minlength=3).tolist()]
    }
    assert {tuple(row) for row in counts[:, :-1, :-1].reshape(-1, 3).tolist()} <= real
    for sample, cells in zip(made.audit["samples"], counts, strict=True):
        assert [sample["cells"][name] for name in ("pore", "NMC", "CBD")] == cells.reshape(-1, 3).T.tolist()
        assert list(sample["achieved"].values()) == cells.reshape(-1, 3).sum(0).tolist()
    assert len({tuple(row) for row in counts.sum((1, 2)).tolist()}) > 1  # the whole varies too
    rest = models[3, 2].generate(4, **request, indices=range(2, 4))
    assert np.array_equal(rest.stack, made.stack[2:])
    assert models[3, 2].generate(1, **{**request, "size": (12, 10)}).audit["like"]["counts"] == "of random real crops"
    with pytest.raises(DsdError, match="two of them along each axis"):
        models[3, 2].stream(1, **{**request, "exact_in": 20})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"profile": {"pore": ("q", [0.1, 0.2])}}, "runs along y, x"),
        ({"profile": {"pore": ("y", [0.1] * 99)}}, "99 values for 24 voxels"),
        ({"profile": {"pore": ("y", [0.1, 1.2])}}, "between 0 and 1"),
        ({"profile": {"air": ("y", [0.1, 0.2])}}, "no phase 'air'"),
        ({"profile": {"pore": ("y", "missing.csv")}}, "missing.csv"),
        ({"profile": {"pore": ("y", "bad.csv")}}, "one column"),
        ({"field": {"pore": np.full((25, 1), 0.1)}}, "as fine or coarser"),
        ({"field": {"pore": np.full((2, 2, 2), 0.1)}}, "as fine or coarser"),
        ({"field": {"pore": np.array([[np.nan]])}}, "between 0 and 1"),
        ({"field": {"pore": np.array([[0.7]]), "NMC": np.array([[0.1], [0.4]])}}, "within 1 everywhere"),
        ({"field": {"pore": np.array([[0.7]]), "NMC": np.array([[0.1]]), "CBD": np.array([[0.1]])}}, "be 1 everywhere"),
        ({"field": {"pore": np.array([[0.7]])}, "porosity": 0.2}, "give one of them"),
        ({"field": {"pore": np.array([[0.7]])}, "counts": {"NMC": 5}}, "give `fractions` instead"),
        ({"field": {"pore": np.array([[0.7]])}, "profile": {"pore": ("y", [0.1, 0.2])}}, "a profile and a field"),
        ({"field": {"pore": np.array([[0.7]])}, "exact_in": 0}, "at least 1 voxel"),
        ({"field": {"pore": np.array([[[0.7]]])}, "size": (8, 8, 8)}, "take a 3D model"),
    ],
)  # fmt: skip
def test_fields_that_cannot_be_met_are_one_line(models, tmp_path, request_, words):
    (tmp_path / "bad.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(DsdError, match=words):
        models[3, 2].stream(1, **{"size": (24, 8), **request_})
