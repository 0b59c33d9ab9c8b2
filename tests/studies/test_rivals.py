"""The rivals that dsd is measured against: their counts are exact, their bookkeeping is right."""

import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from dsdcli.evaluation.measures.correlation import two_point
from dsdcli.process.lattice import Lattice

STUDIES = Path(__file__).parents[2] / "examples/studies"


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)


def totals_of(stack, phases):
    return np.stack([np.bincount(image.ravel(), minlength=phases) for image in stack])


def test_the_table_of_all_methods(tmp_path, electrode, monkeypatch, capsys):
    from rivals import gaussian, generators

    monkeypatch.setattr(gaussian, "STEPS", 2)
    monkeypatch.setattr(generators, "FIT_CROPS", 4)
    monkeypatch.chdir(tmp_path)
    words = ["--minutes", "0.005", "-n", "2", "--size", "16x16", "--cfl", "0", "--work", "work"]
    monkeypatch.setattr(sys, "argv", ["rivals.py", str(electrode.path), *words])
    runpy.run_path(str(STUDIES / "rivals.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    assert names[2].startswith("real against real")
    for method in ("dsd", "Gaussian", "annealing", "porespy blobs", "porespy overlapping_spheres"):
        assert any(name.startswith(method) for name in names[3:]), method
    assert sum(" beats dsd (" in line for line in lines) == 4
    assert (tmp_path / "rivals.png").is_file()
    assert (tmp_path / "work/gaussian-0.005min/best.safetensors").is_file()


@pytest.mark.parametrize("material", ["rock", "electrode"])
def test_annealing_keeps_counts_and_knows_its_error(material, request):
    from rivals.annealing import TRIAL, Annealing, covariance

    dataset = request.getfixturevalue(material)
    phases = len(dataset.phases)
    data = dataset.crops("train", 16, (16, 12), np.random.default_rng(0))
    totals = totals_of(data[:3], phases)
    state = Annealing(totals, (16, 12), data, np.random.default_rng(1))
    before = (state.error**2).sum((1, 2, 3))
    for _ in range(400):
        state.swap(np.zeros(len(totals)))
    assert ((state.error**2).sum((1, 2, 3)) < before / 2).all()
    assert state.run(0.05) >= TRIAL
    stack = state.stack()
    assert (totals_of(stack, phases) == totals).all()
    f = (totals / 192)[:, :, None, None]
    target = f**2 + f * (1 - f) * np.stack([covariance(data, phase) for phase in range(phases)])
    s2 = np.array([[two_point(image == phase)[0][:, 1:] for phase in range(phases)] for image in stack])
    np.testing.assert_allclose(state.error, (s2 - target)[:, state.followed], atol=1e-12)


@pytest.mark.parametrize("material", ["rock", "electrode"])
def test_gaussian_and_porespy_samples_have_exact_counts(material, request, monkeypatch):
    from rivals import gaussian, generators

    from dsdcli.training.recipes import TrainSettings
    from dsdcli.training.run import make_config

    monkeypatch.setattr(gaussian, "STEPS", 2)
    dataset = request.getfixturevalue(material)
    settings = TrainSettings("tiny", (16, 16), 1, None, 2, 1e-3, 0, "noflux", "float32")
    config = make_config(dataset, settings)
    totals = totals_of(dataset.crops("train", 3, (16, 16), np.random.default_rng(0)), len(dataset.phases))
    model = gaussian.Denoiser(config).eval()
    images, _ = zip(*gaussian.sample(model, totals, (16, 16), 2, seed=0), strict=True)
    assert (totals_of(images, len(dataset.phases)) == totals).all()
    scales = dict.fromkeys(range(len(config.phases)), 2.0)
    for generator in generators.SCALES:
        stack, changed = generators.sample(
            generator, totals, (16, 16), dataset.phases, int(np.argmax(config.fractions)), scales, 0
        )
        assert (totals_of(stack, len(dataset.phases)) == totals).all()
        assert 0 <= changed < 0.5


def test_a_denoiser_without_training_knows_the_best_linear_guess(rock):
    """The last layer starts at zero: what is left is the skip, right for white data of known variance."""
    from rivals import gaussian

    from dsdcli.training.recipes import TrainSettings
    from dsdcli.training.run import make_config

    config = make_config(rock, TrainSettings("tiny", (16, 16), 1, None, 2, 1e-3, 0, "noflux", "float32"))
    x = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.5, 5.0])
    with torch.inference_mode():
        guess = gaussian.Denoiser(config)(x, sigma, torch.tensor([[0.3, 0.7]] * 2))
    expected = x * (0.25 / (sigma**2 + 0.25)).view(2, 1, 1, 1)
    torch.testing.assert_close(guess, expected)


AUTHORS = """
import numpy as np
from scipy.linalg import expm

def get_transition_matrix_PBC_fast(r, t_size, size, schedule):
    ring = np.roll(np.eye(size), 1, 0) + np.roll(np.eye(size), -1, 0) - 2 * np.eye(size)
    line = expm(r * ring)[:, 0]
    table = np.outer(line, line).reshape(-1, 1)
    return None, None, np.stack([table, table], axis=-1)

get_transition_matrix = None

def forward_backward_sample(flat, prob, cprob, random, side, periodic):
    hops = np.searchsorted(cprob[:, 0], random)
    x, y = np.divmod(np.repeat(np.arange(len(flat)), flat), side)
    moved = (x + hops // side) % side * side + (y + hops % side) % side
    return np.bincount(moved, minlength=len(flat)), None
"""


def test_corruption_is_tested_against_the_exact_kernel(tmp_path, monkeypatch):
    from rivals import corruption

    for name in ("toolkit", "faster_diffusion_dataset"):
        (tmp_path / f"{name}.py").write_text(AUTHORS)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))  # the authors' code imports it
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(corruption, "REPEATS", 1)
    authors = corruption.load_authors(tmp_path)
    images = np.random.default_rng(0).random((2, 12, 12)) < 0.3
    found = corruption.measure(authors, images, Lattice((12, 12), "periodic"), 3.0)
    assert min(found.p_authors, found.p_dsd) > 1e-3
    assert min(found.table, found.authors, found.dsd) > 0
    elsewhere = corruption.authors_table(authors, Lattice((12, 12), "periodic"), 2.5).reshape(12, 12)
    right = corruption.authors_table(authors, Lattice((12, 12), "periodic"), 3.0).reshape(12, 12)
    assert corruption.p_value(np.rint(1e5 * elsewhere), right) < 1e-6  # another dose shows
