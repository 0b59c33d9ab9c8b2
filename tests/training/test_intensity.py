"""Training on intensities: what is minimised is least at the truth, and a short run learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.network.checkpoint import load_model, save_config, save_tensors
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.network.intensity import IntensityNet
from dsdcli.network.model import Prediction
from dsdcli.pipeline.train import train
from dsdcli.pipeline.trial import draw_like
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.intensity import counts_like
from dsdcli.training.calibrate import calibration
from dsdcli.training.intensity import IntensityTrainer, WalkedCounts, count_losses, make_counts_config
from dsdcli.training.levels import levels_of
from dsdcli.training.loss import losses
from dsdcli.training.recipes import TrainSettings, choose_settings
from tests.intensity_data import ONE, TWO, make_intensities, random_intensity_model


class Told(torch.nn.Module):
    """A network that says what it is told."""

    def __init__(self, config, log_ratio, logits):
        super().__init__()
        self.config, self.said = config, Prediction(log_ratio, logits)

    def forward(self, counts, dose, domains, given):
        return self.said


def untrained(dataset):
    """A network of the dataset's counts that has learned nothing."""
    settings = TrainSettings("tiny", (16, 16), 1, None, 8, 4e-3, 0, "noflux", "float32")
    return IntensityNet(replace(make_counts_config(dataset, settings), architecture=Architecture((8, 16)))).eval()


def test_the_losses_are_least_at_the_truth_and_nil_where_that_is_certain():
    """Of one site that is full, origins are known, so that the best guess leaves nothing."""
    config, lattice = random_intensity_model(ONE).config, Lattice((4, 4))
    images = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    images[0, 0, 1, 2] = 12
    dose = torch.tensor([0.6], dtype=torch.float64)
    walked = WalkedCounts.draw(images, 1, dose, lattice, torch.Generator().manual_seed(0))
    ratio = walked.ratio / walked.counts.unsqueeze(2).clamp_min(1)
    log_ratio = torch.where(ratio > 0, ratio, 1).log()
    logits = torch.where(images > 0, 40.0, -40.0)
    best = count_losses(Told(config, log_ratio, logits), walked)
    assert best[0].item() == pytest.approx(0, abs=1e-4) and best[1].item() == pytest.approx(0, abs=1e-4)
    for shift in (-0.3, 0.3):
        worse = count_losses(Told(config, log_ratio + shift, logits * 0.1 + shift), walked)
        assert worse[0] > best[0] + 0.1 and worse[1] > best[1] + 0.1


def test_a_share_of_a_batch_walks_as_all_of_it():
    images = torch.randint(0, 12, (4, 1, 6, 5), generator=torch.Generator().manual_seed(0))
    dose = torch.rand(4, dtype=torch.float64) + 0.1
    whole, part = (
        WalkedCounts.draw(images, 1, dose, Lattice((6, 5)), torch.Generator().manual_seed(1), share=share)
        for share in (slice(None), slice(1, 3))
    )
    for name in ("images", "counts", "ratio", "floor", "particles"):
        assert torch.equal(getattr(whole, name)[1:3], getattr(part, name))
    assert torch.equal(whole.batch, part.batch)


@pytest.mark.parametrize("species", [ONE, TWO])
def test_a_short_run_learns_and_repeats(tmp_path, species):
    dataset = make_intensities(tmp_path / "x.dsd.h5", species)
    settings = TrainSettings("tiny", (16, 16), 24, None, 8, 4e-3, 0, "noflux", "float32", warmup=2)
    config = replace(make_counts_config(dataset, settings), architecture=Architecture((8, 16)))
    assert config.fractions == pytest.approx(dataset.fractions("train"))
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    images = torch.from_numpy(dataset.crops("heldout", 16, (16, 16), rng).astype(np.int64))
    dose = torch.logspace(-1, 1, 16, dtype=torch.float64)
    walked = WalkedCounts.draw(images, len(species), dose, Lattice((16, 16)), generator)
    trainers = [IntensityTrainer(config, settings, dataset, torch.device("cpu")) for _ in "ab"]
    with torch.no_grad():
        before = losses(trainers[0].model, walked, count_losses).total
    found = [[report.loss for report in trainer.run()] for trainer in trainers]
    assert found[0] == found[1]
    with torch.no_grad():
        assert losses(trainers[0].model, walked, count_losses).total < 0.97 * before


def test_settings_follow_from_the_counts(tmp_path):
    settings, _ = choose_settings(make_intensities(tmp_path / "x.dsd.h5"), {}, gpu=False)
    assert settings.size == (32, 32)
    settings, _ = choose_settings(make_intensities(tmp_path / "y.dsd.h5", shape=(9, 10, 12)), {}, gpu=False)
    assert settings.size == (10, 10)  # smaller than any usual crop


def test_a_network_that_says_nothing_of_waves_is_told_how_they_grow(tmp_path, monkeypatch):
    monkeypatch.setattr("dsdcli.training.calibrate.MOST_COUNTS", 16)
    dataset = make_intensities(tmp_path / "x.dsd.h5", TWO, (6, 64, 64))
    model = untrained(dataset)
    table = calibration(model, dataset, 0)
    assert table is not None and model.calibration is None
    assert (table[..., 0] == 1).all() and (table[..., 1] == 0).all() and table[..., 3].max() > 0.1
    model.calibration = table
    save_config(tmp_path, model.config)
    save_tensors(tmp_path / "model.safetensors", model.state_dict())
    loaded = load_model(tmp_path)
    assert torch.equal(loaded.calibration, table)
    crops = dataset.crops("heldout", 3, (16, 16), np.random.default_rng(0))
    made = counts_like(loaded, crops, np.full(3, -1), Lattice((16, 16)), steps=4)
    assert (made.sum((2, 3)) == crops.sum((2, 3), dtype=np.int64)).all()
    assert calibration(model, dataset, 0, stop=lambda: True) is None


def test_samples_come_closer_to_the_histogram_of_the_crops(tmp_path, monkeypatch):
    """Of a model that has learned nothing; totals of single images, which are met exactly, keep it from more."""
    monkeypatch.setattr("dsdcli.training.levels.MOST_CROPS", 24)
    dataset = make_intensities(tmp_path / "x.dsd.h5", ONE, (6, 64, 64))
    model = untrained(dataset)
    model.levels = levels_of(model, dataset, 0, lambda *a: draw_like(*a, lambda: False))
    crops = dataset.crops("train", 24, (16, 16), np.random.default_rng(0), augment=True)

    def off():
        made = counts_like(model, crops, np.full(24, -1), Lattice((16, 16)), steps=31)
        one, other = (np.bincount(each.ravel(), minlength=13) / each.size for each in (made, crops))
        return np.abs(one - other).sum()

    after = off()
    model.levels = None
    assert after < 0.75 * off()
    assert levels_of(model, dataset, 0, lambda *a: draw_like(*a, lambda: True)) is None


def test_a_finished_run_has_levels_where_its_waves_need_no_calibration(tmp_path, monkeypatch):
    monkeypatch.setattr("dsdcli.training.run.calibration", lambda *_: None)
    monkeypatch.setattr("dsdcli.training.levels.MOST_CROPS", 4)
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8,), blocks=1, fine=4),) * 2)
    dataset = make_intensities(tmp_path / "x.dsd.h5", ONE, (6, 64, 64))
    train(dataset, size=(16, 16), steps=1, batch=2, device="cpu", out=tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert model.calibration is None and model.levels is not None
