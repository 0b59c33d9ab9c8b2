"""How much the phases of neighbouring voxels attract each other in the network's guess, so that interfaces are as long
as in the material.

What a short training lacks most is how smooth interfaces are: samples have too many contacts of unlike phases. Of all
distributions with the right number of contacts of every pair of phases, the one closest to that of the samples weighs
an image by the exponential of a sum over its contacts, with one number for every pair. Seen from a voxel, that adds to
the log-odds of its phase a number for each neighbour, taken here as the network expects it (a mean field), at doses
where the phase of single voxels is about to be decided (method.md, section 5).
"""

import torch

from dsdcli.process.image import beside

FADING = 3.0  # dose at which half of it is left: from there on what is decided is wider than a voxel


def shape(phases: int) -> tuple[int, ...]:
    """Of a table: what a neighbour of one phase adds to the log-odds of another; symmetric."""
    return phases, phases


def attraction(table: torch.Tensor, dose: torch.Tensor, expected: torch.Tensor, periodic: bool) -> torch.Tensor:
    """What neighbours add to the logits, (B, K, *L).

    Args:
        table: (K, K).
        dose: (B,).
        expected: probability of each phase at every site of the clean image, (B, K, *L).
    """
    fading = (1 / (1 + dose / FADING)).to(expected.dtype).view(-1, *(1,) * (expected.ndim - 1))
    return fading * torch.einsum("pq,bq...->bp...", table.to(expected.dtype), beside(expected, periodic))
