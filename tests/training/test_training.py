"""Training: it learns, it resumes to the same numbers, it leaves a sound run."""

import json
import math

import pytest
import torch

from dsdcli.errors import DataError, DsdError, UsageError
from dsdcli.network.checkpoint import load_model
from dsdcli.network.config import PRESETS, Architecture
from dsdcli.pipeline.train import draw_sheet, train
from dsdcli.ranks import Ranks
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import Run, make_config
from dsdcli.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)


def make_settings(**kwargs) -> TrainSettings:
    default = {
        "preset": "tiny", "size": (16, 16), "steps": 6, "max_seconds": None, "batch": 4, "lr": 1e-2, "seed": 3,
        "boundary": "noflux", "precision": "float32", "validate_every": 3,
    }  # fmt: skip
    return TrainSettings(**{**default, **kwargs})


def make_trainer(dataset, **kwargs) -> Trainer:
    settings = make_settings(**kwargs)
    return Trainer(make_config(dataset, settings), settings, dataset, CPU)


def take(trainer, steps=None):
    reports = []
    for report in trainer.run():
        reports.append((report.step, report.loss, report.validation))
        if report.step == steps:
            break
    return reports


@pytest.mark.parametrize("material", ["rock", "electrode"])
def test_training_lowers_the_validation_loss(material, request):
    dataset = request.getfixturevalue(material)
    trainer = make_trainer(dataset, steps=60, validate_every=20, batch=8)
    before = trainer.validate()
    validations = [v for _, _, v in take(trainer) if v is not None]
    assert len(validations) == 3
    assert validations[-1] < 0.9 * before
    assert trainer.validate() == validations[-1]  # the same crops, doses and walks every time


@pytest.mark.parametrize("parts", [2, 3, 9])
def test_parts_of_a_batch_one_after_another_train_as_the_whole(electrode, parts):
    """To rounding; also the wider crops of a batch, of which there are fewer than parts."""
    plain, other = (make_trainer(electrode, size=(8, 8), lr=1e-3, accumulate=n) for n in (1, parts))
    assert [number for number, _ in other.wide] == [1]
    seen = []
    other.model.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0].shape))
    expected, found = take(plain), take(other)
    for (_, loss, validation), (_, one, another) in zip(found, expected, strict=True):
        assert (loss, validation or 0) == pytest.approx((one, another or 0), rel=1e-5)
    assert {shape[0] for shape in seen} == ({2, 1} if parts == 2 else {2, 1} if parts == 3 else {1})
    assert len({shape[2:] for shape in seen}) == 2
    for a, b in zip(plain.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_parts_of_the_shares_of_ranks_add_up(electrode):
    def loss(ranks, **settings):
        trainer = make_trainer(electrode, batch=7, **settings)
        trainer.ranks = ranks
        return sum(part.item() for part in trainer.batch_losses())

    shares = sum(loss(Ranks(number, 2), accumulate=2) for number in (0, 1))
    assert shares == pytest.approx(loss(Ranks()), rel=1e-6)


def test_a_run_keeps_the_parts_of_its_batches(rock, tmp_path):
    words = {"device": "cpu", "out": tmp_path / "run", "size": (8, 8), "batch": 2}
    train(rock, steps=1, accumulate=2, **words)
    train(rock, steps=2, resume=True, **words)
    assert Run(tmp_path / "run").settings().accumulate == 2
    with pytest.raises(UsageError, match="leave out accumulate"):
        train(rock, accumulate=1, resume=True, **words)


def test_no_step_leaves_a_graph_behind(rock):
    trainer = make_trainer(rock, steps=3)
    take(trainer)
    assert not any(weight.requires_grad for weight in trainer.average.parameters())


def test_validation_does_not_depend_on_the_batch(rock):
    assert make_trainer(rock, batch=2).validate() == make_trainer(rock, batch=16).validate()


@pytest.mark.parametrize(
    ("size", "batch", "expected"),
    [
        ((8, 8), 16, [(4, (16, 16)), (1, (32, 32))]),
        ((8, 8), 15, [(3, (16, 16)), (1, (32, 32))]),
        ((8, 8), 7, [(1, (16, 16))]),  # the widest would have more than twice the voxels of a batch
        ((16, 16), 16, [(4, (32, 32))]),  # the images have
        ((32, 32), 16, []),
    ],
)
def test_wider_crops_take_as_many_voxels_where_images_and_batch_are_large_enough(rock, size, batch, expected):
    assert [(number, domains.lattice.shape) for number, domains in make_trainer(rock, size=size, batch=batch).wide] == (
        expected
    )


def test_resume_equals_an_uninterrupted_run(electrode, tmp_path):
    whole = make_trainer(electrode)
    expected = take(whole)
    first = make_trainer(electrode)
    head = take(first, steps=4)
    first.save(tmp_path)
    second = make_trainer(electrode)
    second.restore(tmp_path)
    assert head + take(second) == expected
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)
    assert second.best == whole.best


def test_damaged_state_is_named(rock, tmp_path):
    trainer = make_trainer(rock)
    take(trainer, steps=1)
    trainer.save(tmp_path)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"state\.safetensors"):
        make_trainer(rock).restore(tmp_path)


def test_failed_checkpoint_keeps_the_old_one(rock, tmp_path, monkeypatch):
    """A full disk midway through a checkpoint: the last good one stays."""
    trainer = make_trainer(rock)
    take(trainer, steps=1)
    trainer.save(tmp_path)
    good = (tmp_path / "state.safetensors").read_bytes()

    def full(tensors, path, metadata=None):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dsdcli.network.checkpoint.save_file", full)
    with pytest.raises(DsdError, match="No space left"):
        trainer.save(tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == good
    assert [p.name for p in tmp_path.glob("*state*")] == ["state.safetensors"]


def test_a_run_starts_from_the_weights_of_another(rock):
    other = make_trainer(rock)
    take(other, steps=2)
    run = make_trainer(rock, seed=9)
    run.start_from(other.average)
    for network in (run.model, run.average):
        for mine, theirs in zip(network.parameters(), other.average.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_learning_rate_rises_then_falls(rock):
    trainer = make_trainer(rock, steps=1000, lr=1.0)
    rates = []
    for step in range(1000):
        trainer.step = step
        rates.append(trainer.learning_rate())
    assert rates[0] == pytest.approx(0.01, rel=0.01)
    assert max(rates) > 0.95
    assert rates[-1] == pytest.approx(0.02, rel=0.01)
    timed = make_trainer(rock, steps=1000, max_seconds=10.0)
    timed.seconds = 10.0
    assert timed.finished()


def test_a_run_on_disk(electrode, tmp_path):
    settings = make_settings()
    trainer = make_trainer(electrode)
    run = Run.create(tmp_path / "run", electrode, trainer.model.config, settings)
    for report in trainer.run():
        run.log(report)
        if report.validation is not None:
            run.checkpoint(trainer, report.best)
    sheet = draw_sheet(trainer, run.sheet(trainer.step))
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert run.settings() == settings
    assert run.resumable()
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert math.isfinite(lines[5]["validation"])
    model = load_model(run.folder / "last.safetensors")
    for a, b in zip(model.parameters(), trainer.average.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(UsageError, match="exists already"):
        Run.create(tmp_path / "run", electrode, trainer.model.config, settings)
    with pytest.raises(UsageError, match="not a training run"):
        Run(tmp_path).settings()
