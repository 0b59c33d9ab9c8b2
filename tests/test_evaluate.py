"""Comparing ensembles: shuffled voxels are found out, real images pass, and the command says so."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from dsdcli.cli import app
from dsdcli.data.dataset import Dataset, Image
from dsdcli.data.phases import Phase
from dsdcli.data.samples import write_samples
from dsdcli.errors import DataError, DsdError
from dsdcli.evaluation.compare import compare
from dsdcli.evaluation.crops import fractions, matched_crops
from dsdcli.evaluation.evaluate import evaluate
from dsdcli.evaluation.kinds import Correlation, Number, Sizes

PHASES = (Phase("pore", 0), Phase("solid", 255))


def volume(seed: int, shape: tuple[int, int, int] = (48, 64, 64)) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2, mode="wrap")
    return (field > np.quantile(field, 0.3)).astype(np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    made = Dataset(
        path=tmp_path_factory.mktemp("real") / "rock.dsd.h5",
        phases=PHASES,
        voxel_size=2.0,
        voxel_unit="um",
        slice_axes="z",
        downsample=1,
        provenance={},
        train=(Image(volume(1), "ZYX"),),
        heldout=(Image(volume(2), "ZYX"),),
    )
    made.write(made.path)
    return made


def shuffled(stack: np.ndarray) -> np.ndarray:
    flat = stack.reshape(len(stack), -1).copy()
    rng = np.random.default_rng(0)
    for image in flat:
        rng.shuffle(image)
    return flat.reshape(stack.shape)


def test_real_images_are_indistinguishable_and_shuffled_ones_are_off(dataset):
    real = dataset.crops("heldout", 24, (32, 32), np.random.default_rng(3))
    for row in evaluate(real, dataset, crops=48).rows:
        assert row.verdict in ("indistinguishable", "matched"), row
    rows = evaluate(shuffled(real), dataset, crops=48).rows
    assert {row.verdict for row in rows if row.metric != "volume-fraction"} == {"off"}
    assert all(row.low <= row.ratio <= row.high for row in rows if row.verdict == "off")


def test_volumes_are_compared_like_images(dataset):
    real = dataset.crops("heldout", 4, (16, 16, 16), np.random.default_rng(3))
    rows = evaluate(shuffled(real), dataset, crops=8, metrics=("two-point", "interface")).rows
    assert [(row.metric, row.subject, row.verdict) for row in rows] == [
        ("two-point", "pore", "off"),
        ("interface", "pore|solid", "off"),
    ]


def test_matched_crops_have_the_volume_fractions_of_their_samples(dataset):
    samples = dataset.crops("train", 8, (24, 24), np.random.default_rng(4))
    crops = matched_crops(dataset, "heldout", samples, 2, np.random.default_rng(5))
    difference = fractions(crops.stack, 2) - np.repeat(fractions(samples, 2), 2, axis=0)
    assert np.abs(difference).max() <= 0.01
    assert crops.residual == pytest.approx(np.abs(difference).max(axis=1).mean())
    again = matched_crops(dataset, "heldout", samples, 2, np.random.default_rng(5))
    assert np.array_equal(crops.stack, again.stack)


def test_without_matching_a_wrong_porosity_is_off(dataset):
    samples = dataset.crops("heldout", 24, (24, 24), np.random.default_rng(4))
    samples = np.where(samples == 0, 1, np.roll(samples, 1, axis=2))  # fewer pores
    by_subject = {
        row.subject: row for row in evaluate(samples, dataset, metrics=("volume-fraction",), match=False).rows
    }
    assert by_subject["pore"].verdict == "off"
    assert by_subject["pore"].generated < by_subject["pore"].real


def test_the_two_point_distance_is_its_definition():
    phi, s2, other = 0.3, np.array([0.2, 0.15, 0.1]), np.array([0.21, 0.13, 0.1])
    real, generated = np.array([phi**2, phi, *s2]), np.array([phi**2, phi, *other])
    expected = np.abs(other - s2).sum() / (s2 - phi**2).sum()
    assert Correlation().distance(generated, real) == pytest.approx(expected)


def test_the_distance_of_sizes_is_the_mean_shift():
    sizes = np.zeros(10)
    sizes[[2, 4]] = 5, 5
    assert Sizes().summary(sizes) == 3
    assert Sizes().distance(np.roll(3 * sizes, 2), sizes) == pytest.approx(2 / 3)


def test_what_neither_has_is_no_difference_and_what_only_samples_have_is_infinite():
    none, some = np.array([0.0, 0.0]), np.array([0.2, 0.2])
    assert Number().distance(none, none) == 0
    assert Number().distance(some, none) == np.inf


def test_undefined_vectors_are_left_out():
    def ensemble(*values):
        return {("interface", "a|b"): np.array([[v, abs(v)] for v in values])}

    rng = np.random.default_rng(0)
    (row,) = compare(ensemble(1, np.nan, 3), ensemble(*range(6)), ensemble(*range(6)), 2, False, rng)
    assert row.generated == 2
    (row,) = compare(ensemble(np.nan, np.nan), ensemble(*range(6)), ensemble(*range(6)), 2, False, rng)
    assert row.verdict == "undefined"


def test_one_sample_is_refused(dataset):
    with pytest.raises(DataError, match="one sample"):
        evaluate(np.zeros((1, 16, 16), np.uint8), dataset)


def test_samples_larger_than_the_real_images_are_refused(dataset):
    with pytest.raises(DataError, match="do not fit"):
        evaluate(np.zeros((4, 128, 128), np.uint8), dataset)


def test_samples_of_one_phase_are_measured_and_said(dataset):
    samples = dataset.crops("heldout", 4, (24, 24), np.random.default_rng(4))
    samples[0] = 1
    found = evaluate(samples, dataset, crops=4)
    assert "1 of 4 samples hold a single phase" in found.remarks[0]
    assert all(np.isfinite(row.generated) for row in found.rows)


def run(folder: Path, monkeypatch, *words: str):
    monkeypatch.chdir(folder)
    return CliRunner().invoke(app, ["evaluate", *words])


def test_the_command_prints_a_table_or_json(dataset, tmp_path, monkeypatch):
    samples = dataset.crops("heldout", 8, (24, 24), np.random.default_rng(4))
    write_samples(tmp_path / "s.tif", samples, PHASES, 2.0, "um")
    words = ("s.tif", "--real", str(dataset.path), "--metrics", "two-point,interface", "--crops", "16")
    result = run(tmp_path, monkeypatch, *words)
    assert result.exit_code == 0, result.output
    head, two_point, interface = result.stdout.splitlines()
    assert head.split()[:2] == ["metric", "phase"]
    assert two_point.startswith("two-point")
    assert "um" in two_point
    assert "1/um" in interface
    assert "noise" not in result.stdout

    found = json.loads(run(tmp_path, monkeypatch, *words, "--json", "-q").stdout)
    assert found["samples"] == 8
    assert [entry["metric"] for entry in found["metrics"]] == ["two-point", "interface"]
    assert found["largest_lag"] == 12


def test_the_dataset_of_the_audit_record_is_the_default(dataset, tmp_path, monkeypatch):
    samples = dataset.crops("heldout", 4, (24, 24), np.random.default_rng(4))
    write_samples(tmp_path / "s.npy", samples, PHASES)
    (tmp_path / "s.json").write_text(json.dumps({"dataset": str(dataset.path)}))
    result = run(tmp_path, monkeypatch, "s.npy", "--metrics", "interface")
    assert result.exit_code == 0, result.output
    assert f"{dataset.path} (the dataset that the model was trained on)" in result.stderr
    (tmp_path / "s.json").write_text(json.dumps({"dataset": "gone.dsd.h5"}))
    error = run(tmp_path, monkeypatch, "s.npy").exception
    assert isinstance(error, DsdError)
    assert error.exit_code == 2
    assert "gone.dsd.h5" in str(error)
    assert "dsd ingest" in str(error)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("no.tif",), 4, "there is no samples file no.tif"),
        ((), 2, "no samples in this folder"),
        (("s.npy", "--metrics", "beauty"), 2, "there is no metric 'beauty'"),
        (("s.npy", "--real", "no.dsd.h5"), 2, "no.dsd.h5"),
    ],
)
def test_bad_words_end_in_one_line(tmp_path, monkeypatch, words, code, said):
    np.save(tmp_path / "s.npy", np.zeros((4, 8, 8), np.uint8))
    error = run(tmp_path, monkeypatch, *words).exception
    assert isinstance(error, DsdError)
    assert error.exit_code == code
    assert said in str(error)
    assert "\n" not in str(error)
