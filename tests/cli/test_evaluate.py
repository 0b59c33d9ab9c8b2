"""`dsd evaluate` as a user meets it: tables, JSON, gates, reports, bad input, work cut short."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dsdcli.cli import app
from dsdcli.data.dataset import Dataset
from dsdcli.data.samples import write_samples
from dsdcli.errors import DsdError
from dsdcli.evaluation import workers
from dsdcli.evaluation.cache import Cache
from dsdcli.evaluation.metrics import METRICS, measure
from dsdcli.pipeline.inputs import read_stack
from tests.evaluation_data import THREE, TWO, make_dataset, shuffled, volume


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("real"))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def samples(dataset: Dataset, n: int = 8, *size: int) -> np.ndarray:
    return dataset.crops("heldout", n, size or (24, 24), np.random.default_rng(4))


def run(*words: str):
    return CliRunner().invoke(app, ["evaluate", *words])


def fails(code: int, *words: str) -> str:
    error = run(*words).exception
    assert isinstance(error, DsdError), error
    assert error.exit_code == code
    assert "\n" not in str(error)
    return str(error)


def test_the_table_has_units_and_no_talk(dataset, here):
    write_samples("s.tif", samples(dataset), TWO, 2.0, "um")
    words = ("s.tif", "--real", str(dataset.path), "--metrics", "two-point,interface,euler", "--crops", "16")
    result = run(*words)
    assert result.exit_code == 0, result.output
    head, *lines = result.stdout.splitlines()
    assert head.split()[:2] == ["metric", "phase"]
    assert [line.split()[0] for line in lines] == ["two-point", "interface", "euler", "euler"]
    assert [re.search(r" (1/)?um(\^2)? ", line)[0].strip() for line in lines] == ["um", "1/um", "1/um^2", "1/um^2"]

    found = json.loads(run(*words, "--json", "-q").stdout)
    assert found["samples"] == 8
    assert found["largest_lag"] == 12
    assert [entry["metric"] for entry in found["metrics"]] == ["two-point", "interface", "euler", "euler"]
    in_voxels, in_um = found["metrics"][1]["generated"], float(lines[1].split()[2])
    assert in_um == pytest.approx(in_voxels / 2, rel=1e-3)
    assert list(here.glob("*partial*")) == []


def test_the_dataset_of_the_audit_record_is_the_default(dataset, here):
    write_samples("s.npy", samples(dataset), TWO)
    Path("s.json").write_text(json.dumps({"format": "dsd-audit", "dataset": str(dataset.path)}))
    result = run("s.npy", "--metrics", "interface")
    assert result.exit_code == 0, result.output
    assert f"{dataset.path} (the dataset that the model was trained on)" in result.stderr
    Path("s.json").write_text(json.dumps({"format": "dsd-audit", "dataset": "gone.dsd.h5"}))
    said = fails(2, "s.npy")
    assert "gone.dsd.h5" in said
    assert "dsd ingest" in said


def test_other_voxels_and_another_dataset_are_pointed_out(dataset, here):
    write_samples("s.tif", samples(dataset), TWO, 5.0, "um")
    Path("s.json").write_text(json.dumps({"format": "dsd-audit", "dataset_digest": "0" * 64}))
    result = run("s.tif", "--real", str(dataset.path), "--metrics", "interface")
    assert "not the dataset that the model was trained on" in result.stderr
    assert "voxels of the samples are 5 um" in result.stderr


def test_an_image_stands_in_for_a_dataset_and_phases_match_by_name_or_label(here):
    rock = volume(5)
    np.save("rock.npy", np.where(rock == 0, 7, 3).astype(np.uint8))  # here the pore has the larger label
    stack = np.random.default_rng(0).permutation(rock)[:6, :24, :24]
    write_samples("s.tif", stack, TWO)
    named = json.loads(run("s.tif", "--real", "rock.npy", "--metrics", "volume-fraction", "--json").stdout)
    assert named["metrics"][0]["subject"] == "pore"
    assert named["metrics"][0]["generated"] == pytest.approx((stack == 0).mean())
    np.save("s.npy", np.where(stack == 0, 7, 3).astype(np.uint8))
    result = run("s.npy", "--real", "rock.npy", "--metrics", "volume-fraction", "--json", "--no-match")
    assert result.exit_code == 0, result.output
    assert "rock.npy is an image, not a dataset" in result.stderr
    found = json.loads(result.stdout)
    assert found["phases"] == ["pore", "solid"]
    assert found["metrics"][0]["generated"] == pytest.approx((stack != 0).mean())  # pore = smallest label


def test_named_phases_of_the_samples_name_the_labels_of_a_real_image(here):
    rock = volume(5)
    np.save("rock.npy", (255 * rock).astype(np.uint8))
    swapped = tuple(reversed(TWO))  # "solid" is index 0
    write_samples("s.tif", 1 - rock[:6, :24, :24], swapped)
    found = json.loads(run("s.tif", "--real", "rock.npy", "--metrics", "volume-fraction", "--json").stdout)
    by_name = {entry["subject"]: entry["generated"] for entry in found["metrics"]}
    assert by_name["pore"] == pytest.approx((rock[:6, :24, :24] == 0).mean())


def test_fractions_that_no_real_crop_has_are_not_called_matched(dataset, here):
    np.save("pore.npy", np.zeros((8, 24, 24), np.uint8))
    metrics = "volume-fraction,two-point,interface"
    words = ("pore.npy", "--real", str(dataset.path), "--metrics", metrics, "--crops", "8")
    result = run(*words, "--json")
    found = json.loads(result.stdout)
    verdicts = {(row["metric"], row["subject"]): row["verdict"] for row in found["metrics"]}
    assert verdicts["volume-fraction", "pore"] == verdicts["volume-fraction", "solid"] == "unmatched"
    assert verdicts["interface", "pore|solid"] == "off"
    assert verdicts["two-point", "pore"] == "undefined"
    assert "the volume fraction of pore could not be matched: 1.000 in the samples" in found["warnings"][0]
    assert "WARNING: the volume fraction of pore" in result.stderr
    assert run(*words, "--gate", "volume-fraction=9").exception.exit_code == 3
    np.save("good.npy", 255 * samples(dataset))
    good = json.loads(run("good.npy", *words[1:], "--json").stdout)
    assert {row["verdict"] for row in good["metrics"] if row["metric"] == "volume-fraction"} == {"matched"}
    assert good["warnings"] == []


def test_other_labels_are_taken_in_order_aloud_or_as_named(tmp_path_factory, here):
    dataset = make_dataset(tmp_path_factory.mktemp("three"), THREE)
    stack = samples(dataset, 6)
    np.save("rival.npy", np.array([0, 127, 255], np.uint8)[stack])
    words = ("rival.npy", "--real", str(dataset.path), "--metrics", "volume-fraction", "--no-match", "--json")

    def generated(*more: str) -> list[float]:
        return [row["generated"] for row in json.loads(run(*words, *more).stdout)["metrics"]]

    shares = [(stack == index).mean() for index in range(3)]
    assert generated() == pytest.approx(shares)
    assert "taken in the same order: pore=0, grain=127, binder=255" in run(*words).stderr
    named = ("--phase", "pore=0", "--phase", "grain=255", "--phase", "binder=127")
    assert generated(*named) == pytest.approx([shares[0], shares[2], shares[1]])
    assert "same order" not in run(*words, *named).stderr
    assert "belong to no phase: 127" in fails(4, *words, "--phase", "binder=255")
    assert "clay" in fails(2, *words, "--phase", "clay=127")
    np.save("rival.npy", np.array([0, 127, 255, 9], np.uint8)[(stack + np.eye(24, dtype=np.uint8))])
    assert "`phases={'NAME': LABEL}`" in fails(4, *words)


def test_labels_of_a_folder_are_told_from_all_of_its_images(dataset, here):
    (here / "many").mkdir()
    for number, image in enumerate(samples(dataset, 6)):
        np.save(here / "many" / f"{number}.npy", np.where(number == 3, 2, image + 1))  # one of them is all solid
    stack, warnings = read_stack(here / "many", dataset.phases, False)
    assert stack.stack[3].min() == 1
    assert np.array_equal(stack.stack[0], samples(dataset, 6)[0])
    assert "pore=1, solid=2" in warnings[0]


def test_other_voxel_sizes_are_warned_of_whatever_the_unit_and_resampled_where_that_is_honest(dataset, here):
    coarse = dataset.crops("heldout", 8, (48, 48), np.random.default_rng(4))[:, ::2, ::2]
    words = ("--real", str(dataset.path), "--metrics", "volume-fraction,interface", "--json")
    write_samples("coarse.tif", coarse, TWO, 4000.0, "nm")
    result = run("coarse.tif", *words)
    assert "WARNING: the voxels of the samples are 4000 nm" in result.stderr
    assert "--resample" in result.stderr
    resampled = run("coarse.tif", *words, "--resample")
    assert "WARNING: the voxels" not in resampled.stderr
    found = json.loads(resampled.stdout)
    assert found["resampled"].endswith("from voxels of 2 um to those of the samples, 4000 nm")
    assert found["voxel_size"] == pytest.approx(4.0)
    interfaces = [json.loads(r.stdout)["metrics"][-1] for r in (result, resampled)]
    errors = [abs(row["generated"] / row["real"] - 1) for row in interfaces]
    assert errors[1] < errors[0] / 2  # images of one scale again
    write_samples("fine.tif", coarse, TWO, 65.0, "nm")
    assert "coarsen the samples" in run("fine.tif", *words).stderr
    assert "as fine as the samples" in fails(2, "fine.tif", *words, "--resample")
    write_samples("same.tif", coarse, TWO, 2000.0, "nm")
    assert "voxels of the samples" not in run("same.tif", *words).stderr
    np.save("unknown.npy", 255 * coarse)
    assert "one is unknown" in fails(2, "unknown.npy", *words, "--resample")


def test_voxels_of_a_real_image_can_be_left_out(dataset, here):
    rock = volume(5) * 255
    rock[:, :, :20] = 7
    np.save("rock.npy", rock)
    np.save("mask.npy", (rock[0] == 7).astype(np.uint8))
    np.save("s.npy", samples(dataset) * 255)
    words = ("s.npy", "--real", "rock.npy", "--metrics", "interface", "--json")
    by_label = json.loads(run(*words, "--ignore", "7").stdout)
    assert by_label["phases"] == ["pore", "solid"]
    shares = [fractions["train"]["mean"] for fractions in by_label["volume_fractions"]]
    assert sum(shares) == pytest.approx(1)
    rock[rock == 7] = 0
    np.save("rock.npy", rock)
    by_mask = json.loads(run(*words, "--ignore-mask", "mask.npy").stdout)
    assert by_mask["metrics"] == by_label["metrics"]
    assert "knows what it leaves out" in fails(2, "s.npy", "--real", str(dataset.path), "--ignore", "7")


def test_a_gate_lets_real_images_pass_and_stops_shuffled_ones(dataset, here):
    write_samples("good.tif", samples(dataset, 16), TWO)
    write_samples("bad.tif", shuffled(samples(dataset, 16)), TWO)
    words = ("--real", str(dataset.path), "--metrics", "two-point,interface", "--crops", "32")
    assert run("good.tif", *words, "--gate", "all=1.5").exit_code == 0
    result = run("bad.tif", *words, "--gate", "interface=1.5")
    assert result.stdout.startswith("metric")  # the table comes first
    assert result.exception.exit_code == 3
    assert "interface pore|solid" in str(result.exception)
    assert "two-point" not in str(result.exception)
    assert run("bad.tif", *words, "--gate", "interface=1e6").exit_code == 0
    assert "not computed" in fails(2, "bad.tif", *words, "--gate", "chords=1")
    assert "larger than 0" in fails(2, "bad.tif", *words, "--gate", "all=0")


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_report_is_one_page_with_everything_in_it(tmp_path_factory, here, ndim):
    dataset = make_dataset(tmp_path_factory.mktemp("real3"), THREE)
    write_samples("s.h5", samples(dataset, 4, *[16] * ndim), THREE, 2.0, "um", {"format": "dsd-audit", "seed": 1234})
    names = {2: "all", 3: "volume-fraction,two-point,lineal-path,interface,diffusivity,memorisation,diversity"}[ndim]
    result = run("s.h5", "--real", str(dataset.path), "--crops", "4", "--report", "page.html", "--metrics", names)
    assert result.exit_code == 0, result.output
    page = Path("page.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", page)
    assert page.count("<svg") == {2: 15, 3: 8}[ndim]
    assert page.count('class="dsd-view"') == ndim - 2  # volumes can be turned
    assert page.count("data:image/png") == 4  # samples, real crops, two closest pairs
    assert "pore|grain" in page
    assert "1234" in page
    assert "NaN" not in re.sub(r"[\w+/=]{40,}", "", page)  # pictures may spell anything
    for line in result.stdout.splitlines()[1:]:
        assert f"<td>{line.split()[0]}</td>" in page


def folder_of_images(dataset: Dataset, folder: Path, n: int = 6) -> None:
    folder.mkdir()
    for number, image in enumerate(samples(dataset, n)):
        np.save(folder / f"image{number}.npy", 255 * image)


def test_bad_images_of_a_folder_are_named_and_may_be_skipped(dataset, here):
    folder_of_images(dataset, here / "many")
    (here / "many" / "image2.npy").write_bytes(b"\x93NUMPY broken")
    np.save(here / "many" / "image4.npy", np.zeros((9, 9), np.uint8))
    words = ("many", "--real", str(dataset.path), "--metrics", "interface")
    said = fails(4, *words)
    assert "image2.npy" in said
    assert "`skip_bad=True`" in said
    result = run(*words, "--skip-bad", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["samples"] == 4
    assert re.search(r"left out.*image2.npy", result.stderr)
    assert re.search(r"left out.*image4.npy.*9x9.*24x24", result.stderr)


def test_a_folder_is_read_in_natural_order(dataset, here):
    folder_of_images(dataset, here / "many", 12)
    stack, bad = read_stack(here / "many", dataset.phases, False)
    assert np.array_equal(stack.stack, samples(dataset, 12))
    assert bad == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("no.tif",), 2, "there is no samples file no.tif"),
        ((), 2, "no samples in this folder"),
        (("s.npy", "--metrics", "beauty"), 2, "there is no metric 'beauty'"),
        (("s.npy", "--real", "no.dsd.h5"), 2, "no.dsd.h5"),
        (("s.npy", "--report", "no/such/page.html"), 2, "does not exist"),
        (("s.npy", "--real", "s.npy"), 4, "one phase"),
        (("s.npy", "--real", "text.dsd.h5"), 4, "text.dsd.h5"),
        (("text.dsd.h5", "--real", "rock.npy"), 4, "text.dsd.h5"),
        (("grey.npy", "--real", "rock.npy"), 4, "no phase"),
        (("one.npy", "--real", "rock.npy"), 4, "one sample"),
        (("large.npy", "--real", "rock.npy"), 4, "do not fit"),
        (("empty", "--real", "rock.npy"), 4, "holds no image"),
    ],
)
def test_bad_input_ends_in_one_line(here, words, code, said):
    np.save("s.npy", np.zeros((4, 8, 8), np.uint8))
    np.save("rock.npy", volume(5))
    np.save("grey.npy", np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8))
    np.save("one.npy", np.zeros((1, 8, 8), np.uint8))
    np.save("large.npy", np.zeros((2, 100, 100), np.uint8))
    Path("text.dsd.h5").write_text("hello")
    Path("empty").mkdir()
    assert said in fails(code, *words)


def test_work_cut_short_goes_on_where_it_stopped(dataset, here, monkeypatch):
    write_samples("s.tif", samples(dataset), TWO)
    words = ("s.tif", "--real", str(dataset.path), "--metrics", "chords,interface", "--crops", "8", "--json")
    whole = json.loads(run(*words).stdout)["metrics"]
    calls = 0

    def stop_after_ten(*args):
        nonlocal calls
        calls += 1
        if calls == 11:
            raise KeyboardInterrupt
        return measure(*args)

    monkeypatch.setattr(workers, "measure", stop_after_ten)
    stopped = run(*words)
    assert "s.evaluate-partial.jsonl; the same command goes on" in stopped.stderr
    with Path("s.evaluate-partial.jsonl").open("a") as file:
        file.write('["half a li')  # as a kill in the middle of writing would leave it
    calls = -1000
    resumed = run(*words)
    assert "10 measured images" in resumed.stderr
    assert calls == -1000 + 24 - 10
    assert json.loads(resumed.stdout)["metrics"] == whole
    assert not Path("s.evaluate-partial.jsonl").exists()


def test_what_was_kept_serves_only_the_same_phases_and_metrics(here):
    image = volume(1)[0]
    kept = Cache(Path("kept.jsonl"), ["pore", "solid"])
    kept.add(image, ["interface"], measure(image, ["pore", "solid"], ["interface"]))
    kept.write()
    again = Cache(Path("kept.jsonl"), ["pore", "solid"])
    assert again.lookup(image, ["interface"]).keys() == {("interface", "pore|solid")}
    assert again.lookup(image, ["interface", "chords"]) is None
    assert again.lookup(image[::-1], ["interface"]) is None
    assert Cache(Path("kept.jsonl"), ["pore", "grain"]).found == 0


def test_several_processes_give_the_same_vectors_and_report_each_image():
    images = list(volume(1)[:5, :16, :16])
    names, metrics, reported = ["pore", "solid"], ["two-point", "chords", "interface"], []
    alone = workers.measure_all(images, names, metrics, workers.Workers(jobs=1))
    together = workers.measure_all(
        images, names, metrics, workers.Workers(jobs=2), progress=lambda done, total: reported.append((done, total))
    )
    for one, two in zip(alone, together, strict=True):
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[key], two[key]) for key in one)
    assert reported == [(done, 5) for done in range(1, 6)]


def test_a_cluster_that_is_not_there_is_said(dataset, here):
    write_samples("s.tif", samples(dataset), TWO)
    said = fails(2, "s.tif", "--real", str(dataset.path), "--metrics", "interface", "--scheduler", "tcp://127.0.0.1:1")
    assert "distributed" in said or "cannot reach" in said


def test_the_documentation_names_every_metric():
    text = (Path(__file__).parents[2] / "docs/guide/evaluate.md").read_text()
    assert [name for name in METRICS if f"| `{name}`" not in text] == []
