"""`dsd doctor` says what is there, and names what is wrong together with the fix."""

import json
from dataclasses import replace

import pytest
from packaging.requirements import Requirement

from dsdcli import __version__
from dsdcli.doctor import check_package, requirements
from dsdcli.network.checkpoint import save_config, save_tensors
from dsdcli.network.config import Architecture
from dsdcli.network.model import UndoNet
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config


@pytest.fixture
def model(rock, tmp_path, monkeypatch):
    """A small model, the only one that is shipped."""
    settings = TrainSettings("tiny", (16, 16), 1, None, 1, 1e-3, 0, "noflux", "float32")
    config = replace(make_config(rock, settings), architecture=Architecture((8, 16)))
    save_config(tmp_path, config)
    save_tensors(tmp_path / "model.safetensors", UndoNet(config).state_dict())
    monkeypatch.setattr("dsdcli.doctor.shipped_models", lambda: {"toy-2d": tmp_path})
    return tmp_path


def test_a_sound_installation(dsd, model):
    code, out, _ = dsd("doctor")
    assert code == 0, out
    lines = out.splitlines()
    assert lines[0].startswith(f"dsd {__version__}, Python 3.")
    assert any(line.split()[:1] == ["torch"] for line in lines)
    assert "  toy-2d  16x16, pore, grain" in lines
    assert lines[-1] == "all is well"


def test_json(dsd, model):
    code, out, _ = dsd("doctor", "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["problems"]) == (0, True, [])
    assert set(found["versions"]) == {"dsd", "python", *(r.name for r in requirements())}
    assert found["cpu"]["cores"] >= 1
    assert found["cpu"]["threads"] >= 1
    assert found["models"] == [{"name": "toy-2d", "path": str(model), "phases": ["pore", "grain"], "size": [16, 16]}]


def test_a_damaged_model_is_a_problem_with_a_fix(dsd, model):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, out, _ = dsd("doctor")
    assert code == 1
    assert "PROBLEM: the shipped model toy-2d is unusable" in out
    assert "fix: install dsd again" in out
    assert "all is well" not in out


def test_no_models_are_a_problem(dsd, monkeypatch):
    monkeypatch.setattr("dsdcli.doctor.shipped_models", dict)
    code, out, _ = dsd("doctor", "--json")
    assert code == 1
    assert [item["problem"] for item in json.loads(out)["problems"]] == ["no shipped models came along"]


def test_a_gpu_that_pytorch_cannot_use_is_a_problem(dsd, model, monkeypatch):
    monkeypatch.setattr("dsdcli.doctor._has_nvidia_gpu", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, out, _ = dsd("doctor")
    assert code == 1
    assert "NVIDIA GPU" in out


def test_packages_absent_out_of_range_and_broken(monkeypatch):
    version, problem = check_package(Requirement("surely-not-installed>=1"))
    assert version is None
    assert problem.fix == "pip install 'surely-not-installed>=1'"
    version, problem = check_package(Requirement("numpy<1"))
    assert f"numpy {version} is not the <1" in problem.problem
    assert check_package(Requirement("numpy>=1"))[1] is None

    def broken(name):
        raise OSError("libfoo.so:\ncannot open")

    monkeypatch.setattr("importlib.import_module", broken)
    _, problem = check_package(Requirement("numpy>=1"))
    assert "libfoo.so: cannot open" in problem.problem
    assert "--force-reinstall" in problem.fix
