"""Where do the particles come from? Rates of the walk back that follow from a guess of the clean image."""

from collections.abc import Callable

import torch

from dsdcli.process.kernel import smoother
from dsdcli.process.lattice import Lattice

LEAST = 1e-6  # probability that a site is never denied: every particle comes from somewhere
FREE = 1e-4  # claim on a site below which it counts as free
TINY = 1e-20


def log_undo_ratio(
    clean: torch.Tensor,
    counts: torch.Tensor,
    dose: torch.Tensor,
    lattice: Lattice,
    pull: torch.Tensor | None = None,
) -> torch.Tensor:
    """log(h / s) of particles that started in a clean image of which only probabilities are known.

    A particle at x comes from y with probability in proportion to p_s(x | y) e(y) / a(y): e(y) is the probability that
    the clean image has a particle there, and a(y) how far the particles that are seen claim it already,

        a = K (n / K e),    h_v / s = K(e / a)(x + v) / K(e / a)(x),    K = exp(s Lap),

    one step of Sinkhorn's balancing of origins and particles (method.md, section 5). Exact for a single particle, and
    for any number if they were matched to their origins in the mean; what is missing is left to the network.

    Args:
        clean: probabilities (B, C, *L) of the phases.
        counts: (B, C, *L); those of frozen particles are ignored.
        dose: (B,).
        pull: (B, C, *L), added to the logarithm of K(e / a): towards where it is high.

    Returns:
        (B, C, 2d, *L), in the type of ``clean``; meaningless towards a wall.
    """
    walkable = lattice.walkable(clean.device)
    likely = origins(clean.clamp_min(LEAST) * walkable, counts * walkable, smoother(dose, lattice))
    log_likely = torch.where(walkable, likely, 1).clamp_min(TINY).log()
    return to_neighbours(log_likely if pull is None else log_likely + pull)


def origins(image: torch.Tensor, counts: torch.Tensor, walk: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """K (e / a) of `log_undo_ratio`, where ``walk`` is K."""
    claim = walk(counts / walk(image).clamp_min(TINY))
    return walk(image / claim.clamp_min(FREE))


def to_neighbours(field: torch.Tensor) -> torch.Tensor:
    """What a field (B, C, *L) gains with a hop in every direction: (B, C, 2d, *L), around the ring at every border."""
    axes = range(2, field.ndim)
    return torch.stack([field.roll(-sign, axis) - field for axis in axes for sign in (1, -1)], dim=2)
