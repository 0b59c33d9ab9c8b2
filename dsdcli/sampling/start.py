"""Where the walk back of images begins of which voxels are known: with what these say of the others."""

from collections.abc import Iterator

import torch

from dsdcli.network.model import far_from
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import scatter
from dsdcli.sampling.rates import Rates

GUESSES = 4  # of the network, each from particles that are where the one before expects them
LEAST = 1e-12


def foresee(
    share: torch.Tensor,
    known: torch.Tensor,
    far: torch.Tensor,
    waves: torch.Tensor,
    dose: float,
    lattice: Lattice,
    clean: Rates,
    generators: list[torch.Generator],
    totals: torch.Tensor,
) -> Iterator[torch.Tensor]:
    """Expected counts (B, C, *L) at a dose of images of which voxels are known (method.md, section 13).

    A dose that the network was trained to does not mix an image so well that it holds nothing of what is known. Known
    voxels are smoothed by the forward walk as they are. What those beside them are, the network guesses: from particles
    that are placed as if it knew nothing, then from such as its guess expects, and so on.

    Args:
        share: of every phase at the sites that are not known, (B, C, *L).
        known: True for the phase that a voxel is known to have, bool (C, *L).
        far: sites of which these say nothing, bool (*L), as of `far_from_known`.
        waves: noise for the sites that are far, (B, C, *L), as of `dsdcli.process.prior.white_waves`.
        clean: probabilities of the clean image, which know what is known.
        totals: (B, C), known voxels included.

    Yields:
        the expected counts after every evaluation of the network; the last are those to begin with.
    """
    doses = torch.full((len(totals),), dose, dtype=torch.float64, device=totals.device)
    sure = known.any(0)
    left = totals - known.flatten(1).sum(1)

    def expected(guess: torch.Tensor) -> torch.Tensor:
        guess = guess * ~sure
        scale = left / guess.flatten(2).sum(2).clamp_min(LEAST)
        mean = guess * scale[(..., *(None,) * lattice.ndim)] + known
        return smooth(mean + waves, doses, lattice).clamp_min(0)

    seen = expected(share)
    for _ in range(GUESSES):
        walkers = scatter(totals, lattice, generators, seen)
        guess = clean(walkers.occupancy(lattice, *totals.shape), doses, lattice)
        seen = expected(torch.where(far, share, guess.to(share.dtype)))
        yield seen


def far_from_known(known: torch.Tensor) -> torch.Tensor:
    """Sites of which known voxels (C, *L) say nothing: bool (*L)."""
    return far_from(known[None], torch.ones_like(known[:1]))[0, 0]
