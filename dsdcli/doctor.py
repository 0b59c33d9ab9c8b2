"""Is this installation sound? Versions, devices, shipped models, and what is wrong with the fix for it."""

import contextlib
import importlib
import os
import platform
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from dsdcli import __version__
from dsdcli.device import cores
from dsdcli.errors import DsdError
from dsdcli.network.catalogue import shipped_models

_IMPORT_NAMES = {"pillow": "PIL", "scikit-image": "skimage"}  # where they differ from the package's name
_GIB = 2**30
_REINSTALL = "install dsd again from a complete copy of its source"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what to do about it."""

    problem: str
    fix: str


@dataclass
class Findings:
    """What `examine` found; sizes in GiB."""

    versions: dict[str, str | None] = field(default_factory=dict)
    system: str = ""
    cpu: dict[str, Any] = field(default_factory=dict)
    gpus: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def examine() -> Findings:
    """Import every dependency, look at the devices and open every shipped model. Takes seconds."""
    found = Findings(versions={"dsd": __version__, "python": platform.python_version()})
    found.system = f"{platform.system()} {platform.machine()}"
    needed = requirements()
    if not needed:
        found.problems.append(Problem("dsd runs from its source without being installed", "pip install -e ."))
    for requirement in needed:
        version, problem = check_package(requirement)
        found.versions[requirement.name] = version
        if problem:
            found.problems.append(problem)
    found.cpu = {"cores": cores(), "memory": _memory()}
    if "torch" in sys.modules:  # else all that follows would only fail once more
        found.cpu |= _torch_cpu()
        found.gpus = _gpus()
        if not found.gpus and _has_nvidia_gpu():
            found.problems.append(_unused_gpu())
        found.models = _models(found.problems)
    return found


def requirements() -> list[Requirement]:
    """What dsd needs, by its installed metadata; empty when it runs from its source without being installed."""
    try:
        lines = metadata.requires("dsdcli") or []
    except metadata.PackageNotFoundError:
        return []
    found = [Requirement(line) for line in lines]
    return [r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]


def check_package(requirement: Requirement) -> tuple[str | None, Problem | None]:
    """Installed version of a dependency, and what is wrong with it: absent, out of range or broken."""
    fix = f"pip install '{requirement.name}{requirement.specifier}'"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None, Problem(f"{requirement.name} is not installed", fix)
    if not requirement.specifier.contains(version, prereleases=True):
        return version, Problem(f"{requirement.name} {version} is not the {requirement.specifier} that dsd needs", fix)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(_IMPORT_NAMES.get(requirement.name, requirement.name.replace("-", "_")))
    except Exception as error:  # whatever a broken package raises
        reason = " ".join(str(error).split()) or type(error).__name__
        fix = fix.replace("install", "install --force-reinstall", 1)
        return version, Problem(f"{requirement.name} {version} cannot be imported ({reason})", fix)
    return version, None


def _memory() -> float | None:
    """Memory of the machine."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB, 1)
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def _torch_cpu() -> dict[str, Any]:
    import torch

    return {"threads": torch.get_num_threads(), "instructions": torch.backends.cpu.get_cpu_capability()}


def _gpus() -> list[dict[str, Any]]:
    """CUDA GPUs that PyTorch can use."""
    import torch

    gpus = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        with torch.cuda.device(index):
            free, total = torch.cuda.mem_get_info()
            gpus.append(
                {
                    "name": torch.cuda.get_device_name(),
                    "memory": round(total / _GIB, 1),
                    "free": round(free / _GIB, 1),
                    "bfloat16": torch.cuda.is_bf16_supported(),
                }
            )
    return gpus


def _has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver shows a GPU, be it usable by PyTorch or not."""
    folder = Path("/proc/driver/nvidia/gpus")
    return folder.is_dir() and any(folder.iterdir())


def _unused_gpu() -> Problem:
    import torch

    if torch.version.cuda is None:
        return Problem(
            "this machine has an NVIDIA GPU, but its PyTorch is a CPU build",
            "install a PyTorch build for CUDA into this environment (pytorch.org, Get started)",
        )
    return Problem(
        f"this machine has an NVIDIA GPU, but PyTorch (for CUDA {torch.version.cuda}) cannot use it",
        "update the NVIDIA driver, or unset CUDA_VISIBLE_DEVICES",
    )


def _models(problems: list[Problem]) -> list[dict[str, Any]]:
    """The shipped models; those that cannot be loaded go to ``problems``."""
    from dsdcli.network.checkpoint import load_model

    models = []
    shipped = shipped_models()
    if not shipped:
        problems.append(Problem("no shipped models came along", _REINSTALL))
    for name, path in shipped.items():
        try:
            config = load_model(path).config
        except DsdError as error:
            problems.append(Problem(f"the shipped model {name} is unusable: {error}", _REINSTALL))
            continue
        phases = [phase.name for phase in config.phases] or [channel.name for channel in config.species]
        models.append({"name": name, "path": str(path), "phases": phases, "size": list(config.size)})
    return models
