"""Choosing the device to compute on."""

from typing import TYPE_CHECKING

from dsdcli.errors import UsageError

if TYPE_CHECKING:
    import torch


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
        raise UsageError(f"--device cuda: {build}; use --device cpu, or install PyTorch for CUDA and check dsd doctor")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and available) else "cpu")
