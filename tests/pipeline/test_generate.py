"""Generation from Python: the samples of the command, parts of a job, streams and files."""

import json

import numpy as np
import pytest

import dsdcli
from dsdcli.errors import UsageError
from tests.conftest import save_model


@pytest.fixture
def folder(electrode, tmp_path, monkeypatch):
    """An untrained model of three phases in ./model."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "model", electrode, (12, 9))
    return tmp_path


@pytest.fixture
def model(folder):
    return dsdcli.load("model")


REQUEST = {"fractions": {"pore": 0.4}, "steps": 2, "seed": 5}


def test_python_and_the_command_give_the_same_samples_and_files(model, dsd, folder):
    samples = model.generate(5, **REQUEST)
    words = ("--model", "model", "-n", 5, "--fraction", "pore=0.4", "--steps", 2, "--seed", 5)
    for suffix in (".tif", ".h5", ".npy"):
        code, _, err = dsd("generate", *words, "-o", f"command{suffix}")
        assert code == 0, err
        written = samples.save(f"python{suffix}")
        ours, theirs = (dsdcli.read_samples(f"{name}{suffix}") for name in ("python", "command"))
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
        assert np.array_equal(np.asarray(ours), np.asarray(samples))
        assert written.sheet.read_bytes() == (folder / "command.png").read_bytes()
        about = json.loads((folder / "command.json").read_text())
        changing = ("command", "created", "seconds", "samples_file")
        assert {**written.audit, **dict.fromkeys(changing)} == {**about, **dict.fromkeys(changing)}
    assert (samples.counts[:, 0] == round(0.4 * 108)).all()
    assert samples.voxel_size == 2.0
    assert set(np.unique(samples)) <= {0, 85, 170}
    assert "data:image/png" in samples._repr_html_()


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_two_shards_are_one_run_byte_for_byte(model, electrode, folder, suffix):
    """On an odd lattice, where the place in a block decides the rounding; with counts of real crops."""
    request = {"like": electrode, "steps": 2, "seed": 9, "size": (11, 13)}
    model.stream(7, **request).save(f"whole{suffix}")
    parts = [range(0, 3), range(3, 7)]
    for part in reversed(parts):
        model.stream(indices=part, **request, batch=2).save(f"part{part.start}{suffix}")
    read = [np.asarray(dsdcli.read_samples(f"part{part.start}{suffix}")) for part in parts]
    assert np.concatenate(read).tobytes() == np.asarray(dsdcli.read_samples(f"whole{suffix}")).tobytes()
    records = [json.loads((folder / f"{name}.json").read_text()) for name in ("part0", "part3", "whole")]
    assert records[0]["samples"] + records[1]["samples"] == records[2]["samples"]
    assert records[1]["indices"] == [3, 7]


def test_a_stream_hands_out_samples_as_they_come_once(model):
    told = []
    stream = model.stream(4, **REQUEST, batch=2, progress=lambda done, total, what: told.append((done, total)))
    whole = model.generate(4, **REQUEST)
    for number, sample in enumerate(stream):
        assert sample.index == number
        assert np.array_equal(np.asarray(sample), np.asarray(whole)[number])
        assert sample.record["achieved"]["pore"] == 43
        if number == 0:
            with pytest.raises(UsageError, match="read to its end"):
                stream.audit()
    assert told == [(done, 10) for done in range(11)]
    assert stream.audit()["samples"] == whole.audit["samples"]
    with pytest.raises(UsageError, match="read once"):
        list(stream)


def test_a_request_that_cannot_be_met_is_a_value_error_in_the_words_of_python(model):
    for request, words in (
        ({"size": (8,)}, r"`size=\(H, W\) or \(D, H, W\)`"),
        ({"porosity": 0.2, "fractions": {"pore": 0.1}}, "`porosity` and `fractions`"),
        ({"like": "x", "porosity": 0.2}, "leave out `porosity`"),
        ({"indices": range(0, 6, 2)}, "one by one"),
        ({"sampler": dsdcli.load, "steps": 3}, "settings of its own"),
    ):
        with pytest.raises(ValueError, match=words):
            model.stream(2, **request)


def test_fillings_from_arrays_and_from_files_are_the_same(model, dsd, folder):
    scan = np.asarray(model.generate(1, size=(30, 26), seed=1, steps=1))[0]
    np.save("scan.npy", scan)
    words = ("--box", "3:9,4:12", "-n", 3, "--steps", 2, "--seed", 4, "-o", "command.npy")
    assert dsd("inpaint", "scan.npy", "--model", "model", *words)[0] == 0
    fillings = model.inpaint(scan, 3, boxes=[[(3, 9), (4, 12)]], steps=2, seed=4)
    assert np.array_equal(np.asarray(fillings), np.load("command.npy"))
    mask = np.zeros(scan.shape, bool)
    mask[3:9, 4:12] = True
    assert np.array_equal(model.inpaint("scan.npy", 3, masks=[mask], steps=2, seed=4).stack, fillings.stack)
    assert fillings.save("python.npy").sheet.read_bytes() == (folder / "command.png").read_bytes()
    assert np.array_equal(fillings.mask, mask)


def test_volumes_of_planes_take_as_many_sweeps_as_are_asked_for(dsd, folder):
    words = ("generate", "--model", "model", "-n", 1, "--seed", 1)
    code, _, err = dsd(*words, "--size", "6x7x8", "--sweeps", 2, "-o", "v.npy")
    assert code == 0, err
    about = json.loads((folder / "v.json").read_text())
    assert (about["sampler"]["name"], about["sampler"]["sweeps"]) == ("sweeps", 2)
    assert about["samples"][0]["requested"] == about["samples"][0]["achieved"]
    code, _, err = dsd(*words, "--sweeps", 2, "-o", "w.npy")
    assert (code, "--sweeps are over the planes of a volume that 2D models make; leave it out" in err) == (2, True)
    assert not (folder / "w.npy").exists()
