"""What a known voxel says of those beside it: a correction of the network's guess, as round trips of real images ask
for.

A voxel beside a known one nearly always has its phase, whatever the dose. Few voxels lie beside known ones, and the
loss of large doses is small, so that a network learns this too faintly: at large doses it expects half to three
quarters as many unlike neighbours again across the rim of a hole as there are. What is missing can be measured: for
each dose the evidence, in the log-odds of the phases, of a neighbour that is known to have each of them (method.md,
section 8).
"""

import math

import torch
import torch.nn.functional as F

from dsdcli.network.tables import between, row_of

DOSES = 8  # spaced evenly in log s, from the least to the largest of the model; constant beyond
LEAST_DOSE = 0.1
PRIOR = 1.0  # precision of the evidence before anything is measured: without a measurement there is none
TURNS = 50


def doses(most: float) -> torch.Tensor:
    """Doses that a table is made at, float64 (DOSES,)."""
    return torch.logspace(math.log10(LEAST_DOSE), math.log10(most), DOSES, dtype=torch.float64)


def shape(phases: int) -> tuple[int, ...]:
    """Of a table: of voxels that are frozen behind a wall, and of those that the network is told; dose, phase of the
    neighbour, phase."""
    return 2, DOSES, phases, phases


def evidence(table: torch.Tensor, most: float, dose: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """What known neighbours (B, K, *L) add to the logits (B, K, *L) at doses (B,), by a table (DOSES, K, K) that was
    made for doses up to ``most``."""
    at = row_of(dose, LEAST_DOSE, most, DOSES)
    return torch.einsum("bqp,bq...->bp...", between(table, at), neighbours)


def weigh(logits: torch.Tensor, neighbours: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The evidence (K, K) that makes a guess most likely: a multinomial regression, drawn a little towards none.

    Args:
        logits: of the guess, at sites that have known neighbours, (N, K).
        neighbours: how many of each phase, (N, K).
        truth: phases, int64 (N,).
    """
    logits, neighbours = logits.double(), neighbours.double()
    weight = torch.zeros(logits.shape[1], logits.shape[1], dtype=torch.float64, device=logits.device)
    weight.requires_grad_(True)
    search = torch.optim.LBFGS([weight], max_iter=TURNS, line_search_fn="strong_wolfe")

    def unlikely() -> torch.Tensor:
        search.zero_grad()
        total = F.cross_entropy(logits + neighbours @ weight, truth, reduction="sum")
        total = total + PRIOR / 2 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        search.step(unlikely)
    return weight.detach()
