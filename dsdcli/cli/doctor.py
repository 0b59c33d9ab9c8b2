"""`dsd doctor`: is this installation sound?"""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from dsdcli.cli.console import emit, emit_json
from dsdcli.cli.options import AsJson
from dsdcli.data.voxel import sides
from dsdcli.view.text import table

if TYPE_CHECKING:
    from dsdcli.doctor import Findings


def doctor(as_json: AsJson = False) -> None:
    """Check the installation: versions, devices, shipped models.

    Problems are shown with their fix; then the exit code is 1.
    """
    from dsdcli.doctor import examine

    found = examine()
    if as_json:
        emit_json({"ok": not found.problems, **asdict(found)})
    else:
        _show(found)
    if found.problems:
        raise typer.Exit(1)


def _show(found: "Findings") -> None:
    emit(f"dsd {found.versions['dsd']}, Python {found.versions['python']}, {found.system}")
    emit("packages")
    packages = [[name, version or "missing"] for name, version in found.versions.items()][2:]
    for line in table(("name", "version"), packages, left=2)[1:]:
        emit(line)
    emit("devices")
    cpu = found.cpu
    parts = [f"{cpu['cores']} cores"]
    if "threads" in cpu:
        parts += [f"{cpu['threads']} threads", cpu["instructions"]]
    if cpu["memory"]:
        parts.append(f"{cpu['memory']:g} GiB")
    emit(f"  cpu   {', '.join(parts)}")
    for gpu in found.gpus:
        kind = "bfloat16" if gpu["bfloat16"] else "no bfloat16: train with --precision float32"
        emit(f"  cuda  {gpu['name']}, {gpu['memory']:g} GiB, {gpu['free']:g} free, {kind}")
    if not found.gpus:
        emit("  cuda  none")
    emit("shipped models")
    for model in found.models:
        emit(f"  {model['name']}  {sides(model['size'])}, {', '.join(model['phases'])}")
    for item in found.problems:
        emit(f"PROBLEM: {item.problem}; fix: {item.fix}")
    if not found.problems:
        emit("all is well")
