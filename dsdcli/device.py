"""The device to compute on, the memory that is free on it, and the cores of the machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dsdcli.errors import UsageError

if TYPE_CHECKING:
    import torch

UNKNOWN_MEMORY = 2**32  # bytes taken to be free where the system does not tell


def pick_device(name: str) -> "torch.device":
    """``auto`` (a CUDA GPU if there is one, else the CPU), ``cpu`` or ``cuda``.

    Raises:
        UsageError: CUDA was asked for and is not there, or the name is unknown.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device '{name}': use auto, cpu or cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        build = "this PyTorch is a CPU build" if torch.version.cuda is None else "PyTorch finds no CUDA GPU"
        raise UsageError(
            f"`device='cuda'`: {build}; use `device='cpu'`, or install PyTorch for CUDA and check dsd doctor"
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and available) else "cpu")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory(device: "torch.device", root: Path = Path("/")) -> int:
    """Bytes that this process may still take: of the GPU, or of the machine and what its control groups allow it.

    Args:
        root: where ``proc`` and ``sys`` are found.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_ram(root)


def require(needed: int, free: int, what: str, fix: str, of: str = "memory") -> None:
    """See, before the work, that there is room for it.

    Args:
        needed, free: bytes.
        what: needs them.
        fix: what to ask for instead.
        of: what is needed.

    Raises:
        UsageError: there is not.
    """
    if needed > free:
        gib = [f"{size / 2**30:,.1f} GiB" for size in (needed, free)]
        raise UsageError(f"{what} need about {gib[0]} of {of}, and {gib[1]} are free; ask for {fix}")


def free_ram(root: Path = Path("/")) -> int:
    """Bytes of main memory that this process may still take; see `free_memory`."""
    return min([_available(root), *_left_in_groups(root)])


def _available(root: Path) -> int:
    """Memory of the machine that can be had without swapping; where only the whole is known, half of it."""
    try:
        meminfo = dict(line.split(":") for line in (root / "proc/meminfo").read_text().splitlines())
        return int(meminfo["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return UNKNOWN_MEMORY


def _left_in_groups(root: Path) -> Iterator[int]:
    """What every memory limit on a control group of this process leaves: containers and batch systems set them.

    The page cache counts as used there, but is given back on demand.
    """
    try:
        groups = [line.split(":", 2)[1:] for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:  # not Linux
        return
    for controllers, path in groups:
        if controllers not in ("", "memory"):
            continue
        version_1 = bool(controllers)
        mount = root / ("sys/fs/cgroup/memory" if version_1 else "sys/fs/cgroup")
        limit, usage = ("limit_in_bytes", "usage_in_bytes") if version_1 else ("max", "current")
        steps = Path(path.lstrip("/")).parts
        for folder in [mount.joinpath(*steps[:n]) for n in range(len(steps), -1, -1)]:
            try:
                most, used = (int((folder / f"memory.{name}").read_text()) for name in (limit, usage))
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # no such folder in here, or the limit is "max"
                continue
            yield max(0, most - used + int(stat.get("total_inactive_file", stat.get("inactive_file", 0))))
