"""Several materials by the command: ingest keeps the class of every image, the others ask for it by name."""

import json

import numpy as np
import pytest
import tifffile

from dsdcli.data.dataset import Dataset
from dsdcli.network.config import PRESETS, Architecture
from tests.conftest import blobs, save_model


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Two volumes, fine and coarse, as files in this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "tiny", (Architecture((8, 16)),) * 2)
    for name, width, level in (("fine", 0.8, 0.2), ("coarse", 2.5, 0.4)):
        tifffile.imwrite(tmp_path / f"{name}.tif", 255 * blobs((40, 40, 40), [level], 0, width))
    return tmp_path


NAMED = ("--class", "fine", "--class", "coarse")


def test_from_two_images_to_samples_of_one_and_their_judgement(dsd, sources):
    code, out, err = dsd("ingest", "fine.tif", "coarse.tif", *NAMED, "-o", "two.dsd.h5")
    assert (code, out.strip()) == (0, "two.dsd.h5")
    dataset = Dataset.open(sources / "two.dsd.h5")
    assert dataset.classes == ("fine", "coarse")
    for split in ("train", "heldout"):
        assert [image.material for image in dataset.images(split)] == ["fine", "coarse"]
    assert "classes     fine, coarse" in dsd("info", "two.dsd.h5")[1]

    words = ("--size", "16x16", "--steps", 2, "--batch", 4, "-o", "run")
    assert dsd("train", "two.dsd.h5", *words)[0] == 0
    code, _, err = dsd(
        "generate", "--model", "run", "--class", "coarse", "--guidance", 2, "-n", 3, "--steps", 2, "-o", "a.tif"
    )
    assert code == 0, err
    audit = json.loads((sources / "a.json").read_text())
    assert (audit["class"], audit["guidance"], audit["evaluations_per_sample"]) == ("coarse", 2.0, 10)
    pore = round(256 * float(dataset.of_class("coarse").fractions("train")[0]))
    for sample in audit["samples"]:
        assert sample["class"] == "coarse"
        assert abs(sample["achieved"]["pore"] - pore) <= 1
        assert sample["achieved"] == sample["requested"]

    shown = {}
    for named in ((), ("--class", "fine")):
        code, out, err = dsd("evaluate", "a.tif", "--metrics", "interface", "--crops", 32, *named, "--json")
        assert code == 0
        assert ("class coarse, as that of the samples" in err) == (not named)
        shown[named] = json.loads(out)["metrics"][0]["real"]
    assert shown[()] < 0.6 * shown["--class", "fine"]


def test_counts_like_real_crops_are_those_of_the_class(dsd, sources):
    assert dsd("ingest", "fine.tif", "coarse.tif", *NAMED, "-o", "two.dsd.h5")[0] == 0
    save_model(sources / "model", Dataset.open(sources / "two.dsd.h5"), (16, 16))
    words = ("--model", "model", "--like", "two.dsd.h5", "-n", 12, "--steps", 1, "--seed", 0)
    mean = {}
    for name in ("fine", "coarse"):
        code, _, _ = dsd("generate", *words, "--class", name, "-o", f"{name}-like.tif")
        assert code == 0
        audit = json.loads((sources / f"{name}-like.json").read_text())
        mean[name] = np.mean([sample["achieved"]["pore"] for sample in audit["samples"]]) / 256
    assert mean["fine"] < 0.27 < 0.33 < mean["coarse"]


def test_classes_that_do_not_fit_are_one_line(dsd, sources):
    for words, message in (
        (("fine.tif", "coarse.tif", "--class", "fine"), "--class names 1, and there are 2 sources"),
        (("fine.tif", "coarse.tif", "--class", "fine", "--class", ""), "argument is empty"),
    ):
        code, out, err = dsd("ingest", *words, "-o", "x.dsd.h5")
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
    tifffile.imwrite(sources / "flat.tif", 255 * blobs((40, 40), [0.3], 0))
    code, _, err = dsd("ingest", "fine.tif", "flat.tif", *NAMED, "-o", "x.dsd.h5")
    assert code == 4
    assert "mix volumes and independent 2D images" in err
    for name, size in (("a_2um.tif", "fine"), ("b_3um.tif", "coarse")):
        (sources / f"{size}.tif").rename(sources / name)
    code, _, err = dsd("ingest", "a_2um.tif", "b_3um.tif", *NAMED, "-o", "x.dsd.h5")
    assert code == 4
    assert "one model needs one size" in err


def test_a_class_that_a_model_does_not_have_is_one_line(dsd, sources, rock):
    save_model(sources / "plain", rock, (16, 16))
    assert dsd("ingest", "fine.tif", "coarse.tif", *NAMED, "-o", "two.dsd.h5")[0] == 0
    save_model(sources / "both", Dataset.open(sources / "two.dsd.h5"), (16, 16))
    for words, message in (
        (("--model", "plain", "--class", "fine"), "plain is of one material, without classes"),
        (("--model", "both", "--class", "clay"), "has the classes fine, coarse"),
        (("--model", "both", "--guidance", 2), "name one by --class"),
        (("--model", "both", "--class", "fine", "--guidance", -1), "--guidance -1"),
        (("--model", "both", "--class", "fine", "--size", "16x16x16"), "leave out --class"),
    ):
        code, out, err = dsd("generate", *words, "-n", 1)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert dsd("generate", "--model", "both", "-n", 2, "--steps", 1, "-o", "any.tif")[0] == 0
    for name, message in (("clay", "has fine, coarse"), ("fine", None)):
        code, _, err = dsd(
            "evaluate", "any.tif", "--real", "two.dsd.h5", "--class", name, "--metrics", "interface", "--crops", 8
        )
        assert code == (2 if message else 0)
        assert (message or "") in err
