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
    open_parts: Sequence[tuple[np.ndarray | None, np.ndarray]],
    cells: bool = False,
) -> list[Decoded]:
    """Decode the particles that a walk ended with at ``dose``, one image for every row of ``totals``.

    Args:
        totals: int64 (n, R, K).
        clean: probabilities of the clean image; one evaluation of the network, `TRIPS` more with cells.
        generators: one per image.
        open_parts: ``around`` and ``parts`` of `dsdcli.process.image.decode`, one pair per image.
        cells: whether the parts have no walls between them. Images are then decoded as a whole, and what particles have
            carried across the borders is put right voxel by voxel (`dsdcli.process.exchange`).
    """
    occupied = walkers.occupancy(lattice, len(totals), totals.shape[-1])
    doses = torch.full((len(totals),), dose, dtype=torch.float64, device=occupied.device)
    probability = clean(occupied, doses, lattice)  # (B, K, *L)
    ties = [torch.rand(p.shape, generator=g, device=p.device) for p, g in zip(probability, generators, strict=True)]
    scores = (probability + TIE_BREAK * torch.stack(ties)).cpu().numpy()
    held = occupied.cpu().numpy()
    if not cells:
        each = zip(scores, held, totals, open_parts, strict=True)
        return [decode(score, n, wanted, lattice, *keep) for score, n, wanted, keep in each]
    insides = [parts > 0 for _, parts in open_parts]
    made = [
        decode(score, n, wanted.sum(0, keepdims=True), lattice, around, inside.astype(np.int64))
        for score, n, wanted, (around, _), inside in zip(scores, held, totals, open_parts, insides, strict=True)
    ]
    images = torch.from_numpy(np.stack([decoded.image for decoded in made])).to(occupied.device)
    seen = voxels_by_trips(images, totals.shape[-1], clean, lattice, generators)
    settled = []
    for decoded, log_p, wanted, n, (_, parts), inside in zip(
        made, seen, totals, held, open_parts, insides, strict=True
    ):
        image = exchange(decoded.image, log_p, wanted, lattice, parts)
        changed = float((image != decoded.image).sum() / max(1, inside.sum()))
        far = share_far(image, n, lattice, inside)
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
