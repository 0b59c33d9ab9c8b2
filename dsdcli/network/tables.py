"""Tables that a model was given after its training: how they are read between their rows."""

import math

import torch


def row_of(dose: torch.Tensor, least: float, most: float, rows: int) -> torch.Tensor:
    """Where doses (B,) lie among rows that are spaced evenly in their logarithm: (B,)."""
    return (dose.log() - math.log(least)) / math.log(most / least) * (rows - 1)


def between(table: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Rows of a table (n, ...) at places (m,), linear between them and constant beyond its ends: (m, ...)."""
    at = at.clamp(0, len(table) - 1)
    low = at.floor().long().clamp_max(len(table) - 2)
    weight = (at - low).view(-1, *(1,) * (table.ndim - 1)).to(table.dtype)
    return torch.lerp(table[low], table[low + 1], weight)
