"""Many samples: jobs that are killed and go on, parts made apart, clusters; the samples are those of one plain run."""

import errno
import json
import os
import socket
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

import dsdcli
from dsdcli.data.dataset import SPLITS
from dsdcli.data.journal import Entry, Journal
from dsdcli.errors import DataError, UsageError
from dsdcli.moves import claim
from dsdcli.pipeline.cluster import Cluster
from dsdcli.pipeline.parts import part_indices, part_of_task
from tests.conftest import save_model

WORDS = ("generate", "--model", "model", "-n", 7, "--steps", 1, "--batch", 2, "--device", "cpu")


@pytest.fixture
def folder(electrode, tmp_path, monkeypatch):
    """An untrained model of three phases in ./model."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if "TASK" in name or "ARRAY" in name]:
        monkeypatch.delenv(name)
    save_model(tmp_path / "model", electrode, (12, 9))
    return tmp_path


@pytest.fixture
def cut(dsd, folder, monkeypatch):
    """Begin a job whose disk is full when it has kept four of its samples."""

    def run(name, *words):
        calls, fsync = [], os.fsync

        def full(handle):
            calls.append(handle)
            if len(calls) == 4:  # the first is of the file's head
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(handle)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            code, out, err = dsd(*WORDS, "-o", name, *words)
        assert (code, out) == (1, "")
        assert [line for line in err.splitlines() if "error" in line] == [
            f"dsd: error: cannot write {name}.unfinished: No space left on device"
        ]
        assert f"what was made is kept in {name}.unfinished" in err

    return run


def same(one, other):
    """The same voxels and the same entries in the records."""
    first, second = dsdcli.read_samples(one), dsdcli.read_samples(other)
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert first.audit["samples"] == second.audit["samples"]
    assert len(first.audit["samples"]) == len(first)
    assert first.audit.keys() == second.audit.keys()


def test_a_job_that_was_cut_by_a_full_disk_goes_on(dsd, folder, cut):
    cut("s.h5")
    assert not (folder / "s.h5").exists()
    code, out, err = dsd(*WORDS, "-o", "s.h5", "--resume")
    assert (code, out) == (0, "s.h5\n")
    assert "going on with s.h5.unfinished: 4 of 7 samples are there" in err
    assert not list(folder.glob("*.unfinished"))
    seed = json.loads((folder / "s.json").read_text())["seed"]
    assert dsd(*WORDS, "-o", "t.h5", "--seed", seed, "--batch", 100)[0] == 0
    same("s.h5", "t.h5")


def test_frequencies_count_the_samples_that_were_there(dsd, folder, cut):
    cut("s.h5", "--seed", 3)
    for _ in ("to go on", "when all is complete"):
        assert dsd(*WORDS, "-o", "s.h5", "--resume", "--frequencies", "one.tif")[0] == 0
    assert dsd(*WORDS, "-o", "t.h5", "--seed", 3, "--frequencies", "two.tif")[0] == 0
    one, two = ((folder / name).read_bytes().replace(b"s.h5", b"t.h5") for name in ("one.tif", "two.tif"))
    assert one == two


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "4 of 7 samples of a job that was cut; say --resume to go on, or delete it"),
        (("--resume", "--seed", 4), "4 of 7 samples of another job, by its seed (3, not 4)"),
        (("--resume", "--steps", 2), "another job, by its sampler"),
        (("--resume", "-n", 8), "another job, by its request"),
        (("--resume", "--fraction", "pore=0.3"), "another job, by its request"),
        (("--resume", "--size", "9x9"), "another job, by its"),
    ],
)
def test_another_job_is_refused_and_nothing_lost(dsd, folder, cut, words, says):
    cut("s.h5", "--seed", 3)
    kept = (folder / "s.h5.unfinished").read_bytes()
    code, _, err = dsd(*WORDS, "--seed", 3, *words, "-o", "s.h5")
    assert code == 2
    assert says in err.splitlines()[-1]
    assert (folder / "s.h5.unfinished").read_bytes() == kept


STEERED = ("--class", "aged", "--guidance", 2, "--steer", "chords=2:0.5", "--walkers", 2, "--seed", 3)


@pytest.fixture
def two(electrode, folder):
    """Its images as two materials, and a model of these in ./two."""
    named = [tuple(replace(image, material="fresh") for image in electrode.images(split)) for split in SPLITS]
    named = [(*images, replace(images[0], array=images[0].array[::-1] // 2, material="aged")) for images in named]
    dataset = replace(electrode, path=folder / "two.dsd.h5", **dict(zip(SPLITS, named, strict=True)))
    dataset.write(dataset.path)
    save_model(folder / "two", dataset, (12, 9))
    return dataset


def test_steered_samples_of_a_class_are_the_same_in_parts_and_after_a_cut(dsd, two, cut):
    words = ("--model", "two", "--like", two.path, *STEERED)
    cut("s.h5", *words)
    for other, says in (
        (("--walkers", 3), "steering"),
        (("--steer", "chords.NMC=3"), "steering"),
        (("--guidance", 3), "guidance (2.0, not 3.0)"),
        (("--class", "fresh"), "request"),
    ):
        code, _, err = dsd(*WORDS, *words, *other, "-o", "s.h5", "--resume")
        assert code == 2
        assert f"of another job, by its {says}" in err.splitlines()[-1]
    assert dsd(*WORDS, *words, "-o", "s.h5", "--resume")[0] == 0
    code, _, err = dsd(*WORDS, *words, "-o", "t.h5", "--batch", 100)
    assert code == 0
    assert "chords: 2 um asked for" in err
    same("s.h5", "t.h5")
    for number in (1, 2):
        assert dsd(*WORDS, *words, "-o", "p.h5", "--part", f"{number}/2")[0] == 0
    assert dsd("gather", "p-0001-of-0002.h5", "p-0002-of-0002.h5", "-o", "all.h5")[0] == 0
    same("all.h5", "t.h5")


def test_a_class_is_part_of_what_a_job_is(dsd, two, cut):
    words = ("--model", "two", "--counts", "pore=50", "--counts", "NMC=40", "--seed", 3)
    cut("s.h5", *words)
    code, _, err = dsd(*WORDS, *words, "--class", "aged", "-o", "s.h5", "--resume")
    assert code == 2
    assert "of another job, by its class (None, not aged)" in err.splitlines()[-1]


def test_what_is_complete_is_not_made_again(dsd, folder):
    for words in (("--seed", 3), ()):
        assert dsd(*WORDS, "-o", "s.h5", "--resume", *words)[0] == 0
        made = (folder / "s.json").read_bytes()
    code, out, err = dsd(*WORDS, "-o", "s.h5", "--resume")
    assert (code, out) == (0, "s.h5\n")
    assert "s.h5 is complete already" in err
    assert (folder / "s.json").read_bytes() == made
    code, _, err = dsd(*WORDS, "-o", "s.h5", "--resume", "--seed", 4)
    assert code == 2
    assert "s.h5 is complete, of another job, by its seed (3, not 4)" in err


def test_one_at_a_time_works_on_a_job(dsd, folder, cut):
    cut("s.h5")
    with claim(folder / "s.h5.unfinished"):
        code, _, err = dsd(*WORDS, "-o", "s.h5", "--resume")
    assert code == 2
    assert "another dsd is at work on s.h5.unfinished" in err


def test_resume_needs_a_name(dsd, folder):
    assert dsd(*WORDS, "--resume")[::2] == (2, "dsd: error: --resume goes on with the job at --out: give that\n")


def test_a_name_that_dsd_chooses_is_free_of_unfinished_jobs(dsd, folder, cut):
    cut("samples.tif")
    assert dsd(*WORDS)[1] == "samples-2.tif\n"


@pytest.mark.parametrize("suffix", [".zarr", ".npy"])
def test_parts_gathered_are_the_whole(dsd, folder, electrode, suffix):
    """With counts of real crops, of which each part has its own."""
    words = (*WORDS, "--like", electrode.path, "--seed", 6)
    assert dsd(*words, "-o", f"whole{suffix}")[0] == 0
    for number in (2, 3, 1):
        assert dsd(*words, "-o", f"s{suffix}", "--part", f"{number}/3")[1] == f"s-000{number}-of-0003{suffix}\n"
    names = [f"s-000{number}-of-0003{suffix}" for number in (3, 1, 2)]
    code, out, err = dsd("gather", *names, "-o", "all.h5")
    assert (code, out) == (0, "all.h5\n"), err
    same("all.h5", f"whole{suffix}")
    assert (folder / "all.png").read_bytes() == (folder / "whole.png").read_bytes()


def test_shards_that_are_not_one_job_are_refused(dsd, folder):
    def part(number, *words):
        return dsd(*WORDS, "--seed", 3, *words, "--part", f"{number}/3", "-o", "s.h5")

    def refused(*names):
        code, _, err = dsd("gather", *names, "-o", "all.h5")
        assert not (folder / "all.h5").exists()
        return code, err.splitlines()[-1].removeprefix("dsd: error: ")

    first, second, third = (f"s-000{number}-of-0003.h5" for number in (1, 2, 3))
    assert part(1)[0] == part(3)[0] == 0
    assert refused(first, third) == (4, f"2 of 7 samples are missing: {second}")
    assert refused(third) == (4, f"4 of 7 samples are missing: {first}, {second}")
    assert refused(first, second)[0] == 2
    assert part(2, "--steps", 2)[0] == 0
    assert refused(first, second, third)[0] == 4
    assert "of another job" in refused(first, second, third)[1]
    assert refused(first, first, third)[1].endswith("in another part too; name each part once")
    np.save("strange.npy", np.zeros((2, 12, 9), np.uint8))
    assert refused(first, "strange.npy")[0] == 4


def test_gather_says_how_far_an_unfinished_part_is(dsd, folder):
    words = ("--seed", 3, "-n", 14)
    assert dsd(*WORDS, *words, "--part", "2/2", "-o", "s.h5")[0] == 0
    with Journal.create(folder / "s-0001-of-0002.h5.unfinished", {}, range(7), (12, 9)) as journal:
        journal.add([Entry(4, np.zeros((12, 9), np.uint8), {})])
    for names in (["s-0002-of-0002.h5"], ["s-0001-of-0002.h5", "s-0002-of-0002.h5"]):
        said = dsd("gather", *names, "-o", "all.h5")[2]
        assert "s-0001-of-0002.h5 (it has 1 of 7: go on by its command with --resume)" in said


@pytest.mark.parametrize(("part", "code"), [("0/3", 2), ("4/3", 2), ("1/8", 2), ("1", 2), ("a/b", 2)])
def test_parts_out_of_range_are_refused(dsd, folder, part, code):
    assert dsd(*WORDS, "--seed", 1, "--part", part)[0] == code
    assert not list(folder.glob("samples*"))


def test_parts_need_the_seed_that_they_share(dsd, folder):
    code, _, err = dsd(*WORDS, "--part", "1/2")
    assert code == 2
    assert "share a seed" in err


def test_parts_cover_a_job_in_order():
    for whole, of in ((7, 3), (10, 10), (1000, 7)):
        made = [index for number in range(1, of + 1) for index in part_indices((number, of), whole)]
        assert made == list(range(whole))


def slurm(task, first, last, count, step=1):
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{key}": str(value) for key, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({}, None),
        (slurm(1, 1, 10, 10), (1, 10)),
        (slurm(9, 0, 9, 10), (10, 10)),
        (slurm(4, 0, 8, 5, step=2), (3, 5)),
        (slurm(3, 3, 3, 1), None),
        ({"SGE_TASK_ID": "undefined", "SGE_TASK_FIRST": "undefined", "SGE_TASK_LAST": "undefined"}, None),
        ({"SGE_TASK_ID": "2", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "3", "SGE_TASK_STEPSIZE": "1"}, (2, 3)),
        ({"PBS_ARRAY_INDEX": "2"}, None),
        ({"LSB_JOBINDEX": "0"}, None),
    ],
)
def test_a_task_of_an_array_knows_its_part(environment, part):
    found, note = part_of_task(environment)
    assert found == part
    assert bool(note) == (part is not None or "PBS_ARRAY_INDEX" in environment)


@pytest.mark.parametrize("environment", [slurm(7, 3, 9, 7), slurm(3, 1, 9, 3)])
def test_an_array_that_is_some_tasks_of_another_has_no_parts(environment):
    with pytest.raises(UsageError, match="give `part`"):
        part_of_task(environment)


def test_a_task_of_an_array_makes_its_part(dsd, folder, monkeypatch):
    for name, value in slurm(2, 1, 3, 3).items():
        monkeypatch.setenv(name, value)
    code, out, err = dsd(*WORDS, "--seed", 1, "--resume")
    assert (code, out) == (0, "samples-0002-of-0003.h5\n")
    assert "part 2 of 3, as SLURM_ARRAY_TASK_ID says" in err
    audit = json.loads((folder / "samples-0002-of-0003.json").read_text())
    assert (audit["part"], audit["indices"], len(audit["samples"])) == ([2, 3], [2, 4], 2)
    assert dsd(*WORDS, "--seed", 1, "--part", "1/1")[1] == "samples.tif\n"


def test_a_journal_keeps_what_is_whole(tmp_path):
    """Cut or damaged at any byte it gives back the entries before that, and is whole again after the next."""
    path, images = tmp_path / "j", np.arange(24, dtype=np.uint8).reshape(4, 6)
    ends = []
    with Journal.create(path, {"a": 1}, range(3, 7), (6,)) as journal:
        for index in (5, 3, 6):
            ends.append(path.stat().st_size)
            journal.add([Entry(index, images[index - 3], {"index": index})])
        assert journal.missing == [range(4, 5)]
        assert [entry.index for entry in journal] == [3, 5, 6]
    whole = path.read_bytes()
    for at in range(ends[0], len(whole)):
        for damage in (whole[:at], whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]):
            path.write_bytes(damage)
            with Journal(path) as journal:
                assert len(journal) == sum(end <= at for end in ends) - 1
                journal.add([Entry(4, images[1], {})])
            with Journal(path) as journal:
                assert {entry.index: entry.image.tolist() for entry in journal}[4] == images[1].tolist()
    for strange in (b"", b"{}\n", b"\xff\n", b'{"format": "dsd-unfinished"}\n'):
        path.write_bytes(strange)
        with pytest.raises(DataError):
            Journal(path)


def test_a_cluster_makes_the_same_samples(folder, tmp_path):
    """Whatever worker leaves midway."""
    distributed = pytest.importorskip("distributed")
    model = dsdcli.load("model", "cpu")
    request = {"steps": 1, "seed": 3, "fractions": {"pore": 0.4}}
    model.stream(24, **request).save("here.h5")
    with distributed.LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:

        def leave(done, total, what):
            if done == 4:
                cluster.scale(1)

        stream = model.stream(24, **request, batch=2, scheduler=cluster.scheduler_address, progress=leave)
        with pytest.raises(UsageError, match="`save` them"):
            list(stream)
        stream.save("there.h5")
    same("here.h5", "there.h5")
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


def test_a_scheduler_that_is_not_there_is_one_line(dsd, folder):
    code, _, err = dsd(*WORDS, "--scheduler", "tcp://127.0.0.1:1")
    assert code == 2
    assert "scheduler" in err.splitlines()[-1]


def test_what_is_no_scheduler_is_one_line():
    pytest.importorskip("distributed")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak():
            with suppress(OSError):
                while True:
                    server.accept()[0].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        Thread(target=speak, daemon=True).start()
        with pytest.raises(UsageError, match="cannot reach a dask scheduler"):
            Cluster.at(f"tcp://127.0.0.1:{server.getsockname()[1]}", "cpu")
