"""Doses: how the noise levels are spread in training and stepped through in sampling."""

import math

import torch

GRIDS = ("power", "linear", "exponential", "cosine")  # of the doses that the way back stops at


def stratified_log_doses(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """n doses with log s uniform on [log low, log high], one in each of n equal strata, in random order: (n,) float64.

    Uniform in log s makes the undo-count loss the process likelihood (method.md, section 5).
    """
    device = generator.device
    u = torch.rand(n, generator=generator, device=device, dtype=torch.float64)
    stratum = torch.randperm(n, generator=generator, device=device)
    return low * (high / low) ** ((stratum + u) / n)


def dose_grid(steps: int, high: float, low: float, rho: float = 7.0, grid: str = "power") -> list[float]:
    """steps + 1 decreasing doses from ``high`` to ``low``, equally spaced in s^(1/rho) (method.md, section 6).

    Other grids: "linear", equally spaced in s; "exponential", in log s; "cosine", log s by half a period of the cosine,
    so that the doses lie closer at both ends.
    """
    shares = [i / steps for i in range(steps + 1)]
    if grid in ("exponential", "cosine"):
        if grid == "cosine":
            shares = [(1 - math.cos(math.pi * share)) / 2 for share in shares]
        return [high * (low / high) ** share for share in shares]
    rho = 1.0 if grid == "linear" else rho
    a, b = high ** (1 / rho), low ** (1 / rho)
    return [(a + (b - a) * share) ** rho for share in shares]
