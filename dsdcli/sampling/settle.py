"""From the particles that a walk ends with to images with exact counts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dsdcli.process.exchange import exchange
from dsdcli.process.image import Decoded, decode, one_hot, place, share_far
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, forward
from dsdcli.sampling.rates import Rates

TIE_BREAK = 1e-9  # random preference between equally probable sites, far below what a network resolves
TRIPS = 4  # there and back, one evaluation of the network each: they tell what else the voxels of an image might be
TRIP_DOSE = 2.0  # of these; at the end of a walk nearly all voxels count as certain
RARE = 1e-6  # the least probability of a voxel that counts


def settle(
    walkers: Particles,
    totals: np.ndarray,
    clean: Rates,
    dose: float,
    lattice: Lattice,
    generators: Sequence[torch.Generator],
    open_parts: Sequence[tuple[np.ndarray | None, np.ndarray | None]] | None = None,
) -> list[Decoded]:
    """Decode the particles that a walk ended with at ``dose``, one image for every row of ``totals``.

    Args:
        totals: int64 (n, R, K).
        clean: probabilities of the clean image; one evaluation of the network.
        generators: one per image.
        open_parts: ``around`` and ``parts`` of `dsdcli.process.image.decode`, one pair per image.
    """
    occupied = walkers.occupancy(lattice, len(totals), totals.shape[-1])
    doses = torch.full((len(totals),), dose, dtype=torch.float64, device=occupied.device)
    probability = clean(occupied, doses, lattice)  # (B, K, *L)
    ties = [torch.rand(p.shape, generator=g, device=p.device) for p, g in zip(probability, generators, strict=True)]
    scores = (probability + TIE_BREAK * torch.stack(ties)).cpu().numpy()
    held = occupied.cpu().numpy()
    kept = open_parts or [(None, None)] * len(totals)
    return [
        decode(score, n, wanted, lattice, *keep)
        for score, n, wanted, keep in zip(scores, held, totals, kept, strict=True)
    ]


def settle_in_cells(
    walkers: Particles,
    totals: np.ndarray,
    clean: Rates,
    dose: float,
    lattice: Lattice,
    generators: Sequence[torch.Generator],
    open_parts: Sequence[tuple[np.ndarray | None, np.ndarray]],
) -> list[Decoded]:
    """As `settle`, where the parts are cells without walls between them: what particles carried across their borders is
    put right in images that were decoded as a whole, voxel by voxel (`dsdcli.process.exchange`)."""
    whole = [(around, (parts > 0).astype(np.int64)) for around, parts in open_parts]
    made = settle(walkers, totals.sum(1, keepdims=True), clean, dose, lattice, generators, whole)
    phases = totals.shape[-1]
    images = torch.from_numpy(np.stack([decoded.image for decoded in made])).to(walkers.site.device)
    seen = voxels_by_trips(images, phases, clean, lattice, generators)
    held = walkers.occupancy(lattice, len(totals), phases).cpu().numpy()
    settled = []
    for decoded, log_p, wanted, occupied, (_, parts) in zip(made, seen, totals, held, open_parts, strict=True):
        image = exchange(decoded.image, log_p, wanted, lattice, parts)
        changed = float((image != decoded.image).sum() / max(1, (parts > 0).sum()))
        far = share_far(image, occupied, lattice, parts > 0)
        settled.append(replace(decoded, image=image, forced=min(1.0, decoded.forced + changed), far=far))
    return settled


def voxels_by_trips(
    images: torch.Tensor, phases: int, clean: Rates, lattice: Lattice, generators: Sequence[torch.Generator]
) -> np.ndarray:
    """Log-probability of every phase at every voxel of images (B, *L), the mean of some round trips: (B, K, *L)."""
    dose = torch.full((len(images),), TRIP_DOSE, dtype=torch.float64, device=images.device)
    total = torch.zeros(len(images), phases, *lattice.shape, dtype=torch.float64, device=images.device)
    for _ in range(TRIPS):
        walked = [
            forward(place(one_hot(image[None], phases)), dose[:1], lattice, generator)[0].occupancy(lattice, 1, phases)
            for image, generator in zip(images, generators, strict=True)
        ]
        total += clean(torch.cat(walked), dose, lattice).clamp_min(RARE).log()
    return (total / TRIPS).cpu().numpy()
