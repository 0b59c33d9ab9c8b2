"""Several processes train one model: the numbers of one, an end for all, one that speaks."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.errors import DataError, ToldElsewhere, UsageError
from dsdcli.network.checkpoint import load_tensors
from dsdcli.network.config import Architecture
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice
from dsdcli.ranks import Ranks, connected, own_device, ranks_here
from dsdcli.training.loss import Walked
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from dsdcli.training.trainer import Trainer

CPU = torch.device("cpu")
STEPS, HALF = 50, 25
TINY = (
    "import sys; from dsdcli.network.config import PRESETS, Architecture;"
    "PRESETS['tiny'] = (Architecture((8, 16)),) * 2;"
    "from dsdcli.cli import main; main()"
)


def start(count, *words):
    """So many processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"OMP_NUM_THREADS": 1}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, words)],
            env=os.environ | {k: str(v) for k, v in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ends(jobs):
    """Exit code, stdout and stderr of each."""
    said = [job.communicate(timeout=120) for job in jobs]
    return [(job.returncode, *streams) for job, streams in zip(jobs, said, strict=True)]


def until(condition, jobs):
    """Wait for what processes should do, unless one of them ends."""
    while not condition():
        assert all(job.poll() is None for job in jobs), ends(jobs)
        time.sleep(0.02)


# --- equal numbers ------------------------------------------------------------------------------------------------


def make_trainer(dataset, ranks, holes=0.0):
    """Batches of six crops, or of a single wider one: fewer than there are ranks."""
    settings = TrainSettings(
        "tiny", (8, 8), STEPS, None, 6, 1e-3, 1, "noflux", "float32", large=0.2, validate_every=HALF, holes=holes
    )
    config = replace(make_config(dataset, settings), architecture=Architecture((8, 16)))
    return Trainer(config, settings, dataset, CPU, ranks)


def numbers(trainer, folder=None):
    """Loss and validation loss of every step that is left; the state after half of them goes to the folder."""
    found = []
    for report in trainer.run():
        found.append((report.loss, report.validation or 0.0, float(report.best)))
        if folder is not None and report.step == HALF:
            trainer.save(folder)
    return found


def listening():
    """Ports on which this process waits for others, where these need not be on this machine."""
    inodes, found = set(), []
    for handle in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        lines = Path("/proc/net", table).read_text().splitlines() if Path("/proc/net", table).exists() else []
        for line in lines[1:]:
            words = line.split()
            host, port = words[1].split(":")
            if words[3] == "0A" and words[9] in inodes and host != loopback:
                found.append(int(port, 16))
    return found


def on_a_rank(path, one, two):
    """What a rank sees of a training from the beginning, of one that goes on with another's state, and of failures."""
    ranks, dataset = ranks_here(), Dataset.open(path)
    with connected(ranks, CPU):
        whole = numbers(make_trainer(dataset, ranks), two / str(ranks.number))
        trainer = make_trainer(dataset, ranks)
        trainer.restore(one)
        about = {"whole": whole, "rest": numbers(trainer), "wide": [number for number, _ in trainer.wide]}
        about["holes"] = numbers(make_trainer(dataset, ranks, 0.5))
        about["text"] = ranks.text_of_first(f"näme of rank {ranks.number}")
        about["ports"] = [port for port in listening() if port != int(os.environ["MASTER_PORT"])]
        about["once"] = ranks.once(lambda: "done")
        about["failures"] = []
        for failing in (0, 1):
            try:
                with ranks.together():
                    if ranks.number >= failing:
                        raise DataError(f"rank {ranks.number} failed")
            except (DataError, ToldElsewhere) as error:
                about["failures"].append([type(error).__name__, str(error), error.exit_code])
    print(json.dumps(about))


def test_two_ranks_train_as_one_and_go_on_with_its_state(electrode, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    expected = numbers(make_trainer(electrode, Ranks()), one)
    in_holes = np.array(numbers(make_trainer(electrode, Ranks(), 0.5)))
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from pathlib import Path; from tests.training import test_ranks as t\n"
        "t.on_a_rank(*map(Path, sys.argv[1:]))"
    )
    for rank in (0, 1):
        (two / str(rank)).mkdir()
    done = ends(start(2, "-c", script, electrode.path, one, two))
    assert [code for code, _, _ in done] == [0, 0], done
    first, second = (json.loads(out) for _, out, _ in done)
    assert first["wide"] == [1]
    assert first["ports"] == second["ports"] == []
    np.testing.assert_allclose(first["whole"], expected, rtol=1e-6)
    np.testing.assert_allclose(first["rest"], expected[HALF:], rtol=1e-6)
    assert all(second[name] == first[name] for name in ("whole", "rest", "holes"))
    np.testing.assert_allclose(first["holes"], in_holes, rtol=1e-6)
    for name, tensor in load_tensors(two / "0/state.safetensors").items():
        assert torch.equal(tensor, load_tensors(two / "1/state.safetensors")[name])
    alone = make_trainer(electrode, Ranks())
    alone.restore(two / "1")
    np.testing.assert_allclose(numbers(alone), expected[HALF:], rtol=1e-6)

    assert (first["text"], second["text"]) == ("näme of rank 0",) * 2
    assert (first["once"], second["once"]) == ("done", None)
    assert first["failures"] == [["DataError", "rank 0 failed", 4], ["ToldElsewhere", "another rank failed", 4]]
    assert second["failures"] == [["ToldElsewhere", "another rank failed", 4], ["DataError", "rank 1 failed", 4]]


def free_form(shape):
    mask = np.zeros(shape, bool)
    mask[1:4, 2:5] = mask[2, 1] = True  # a box with a nose, then two boxes
    mask[6:8, 6:8] = mask[6:8, 1:3] = True
    return Hole(shape, "noflux", mask=mask)


@pytest.mark.parametrize("domain", [Lattice((9, 9), "periodic"), free_form((9, 9))])
def test_a_share_of_images_walks_as_all_of_them_do(domain):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(3, (5, 9, 9), generator=generator).to(torch.uint8)
    dose = torch.tensor([0.1, 1.0, 3.0, 0.3, 10.0], dtype=torch.float64)

    def draw(**share):
        kinds = torch.arange(5) - 1
        return Walked.draw(images, 3, dose, domain, torch.Generator().manual_seed(7), kinds=kinds, **share)

    whole = draw()
    cuts = [0, 2, 2, 5]  # one share is empty
    shares = [draw(share=slice(a, b)) for a, b in itertools.pairwise(cuts)]
    for name in ("images", "counts", "dose", "walking", "ratio", "particles", "known", "kinds"):
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))
    torch.testing.assert_close(torch.cat([share.floor for share in shares]), whole.floor, rtol=1e-12, atol=0)
    assert all(torch.equal(share.batch, whole.particles) for share in shares)
    joined = Walked.join([whole, draw(share=slice(3, 5))])  # seven images on two domains
    for parts, sizes in ((3, [[2], [2], [1, 2]]), (9, [[1]] * 7)):
        cut = list(joined.cut(parts))
        assert [[number for number, _ in share.domains] for share in cut] == sizes
        assert torch.equal(torch.cat([share.ratio for share in cut]), joined.ratio)
        assert all(share.batch is joined.batch for share in cut)


# --- the command --------------------------------------------------------------------------------------------------


def test_one_rank_ends_all_whether_it_is_told_to_or_dies(rock, tmp_path):
    run = tmp_path / "run"
    words = ["-c", TINY, "train", rock.path, "--batch", 2, "--size", "8x8", "--steps", 10**6, "--out", run]
    jobs = start(2, *words)
    until((run / "metrics.jsonl").exists, jobs)
    jobs[1].send_signal(signal.SIGTERM)
    (code, _, said), (other, out, nothing) = ends(jobs)
    assert (code, other) == (143, 143)
    assert f"--resume --out {run}" in said.splitlines()[-1]
    assert (out, nothing) == ("", "")
    state = (run / "state.safetensors").read_bytes()

    jobs = start(2, *words, "--resume", "--validate-every", 500)  # as the run has it
    before = (run / "metrics.jsonl").stat().st_size
    until(lambda: (run / "metrics.jsonl").stat().st_size > before, jobs)
    jobs[1].kill()
    (code, out, said), _ = ends(jobs)
    assert (code, out) == (1, "")
    assert "rank 0 of 2 has lost another" in said.splitlines()[-1]
    assert "--resume" in said.splitlines()[-1]
    if not list(run.glob("sheet*")):  # no validation in between
        assert (run / "state.safetensors").read_bytes() == state


def test_what_all_ranks_find_wrong_is_said_once(tmp_path):
    (code, _, said), (other, _, nothing) = ends(start(2, "-m", "dsdcli", "train", tmp_path / "none.dsd.h5"))
    assert (code, other) == (2, 2)
    assert len(said.splitlines()) == 1
    assert "there is no dataset" in said
    assert nothing == ""


@pytest.mark.parametrize(
    "wrong",
    [{"RANK": "2"}, {"RANK": "one"}, {"RANK": None}, {"LOCAL_RANK": "2"}, {"MASTER_PORT": ""}, {"WORLD_SIZE": "0"}],
)
def test_variables_that_contradict_each_other_are_refused(monkeypatch, wrong):
    sound = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in {**sound, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    assert ranks_here() == Ranks(1, 2, 2)
    for name, value in wrong.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="start them with torchrun, or unset WORLD_SIZE"):
        ranks_here()


def test_a_rank_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert own_device(CPU, Ranks(1, 2, 2)) == CPU
    with pytest.raises(UsageError, match="this machine has 1"):
        own_device(torch.device("cuda"), Ranks(1, 2, 2))


@pytest.mark.parametrize("items", [0, 1, 5, 64])
def test_shares_are_as_equal_as_can_be_and_make_up_the_whole(items):
    shares = [range(items)[Ranks(number, 3).share(items)] for number in range(3)]
    assert [item for share in shares for item in share] == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_rank_needs_no_other():
    alone = Ranks()
    assert (alone.sum(2.5), alone.any(False), alone.text_of_first("a"), alone.once(lambda: 1)) == (2.5, False, "a", 1)
    with pytest.raises(UsageError, match="as it is"), alone.together():
        raise UsageError("as it is")
