"""Many particles on a site: the walk of counts, at a cost that does not grow with their number.

The particles of a site are alike, so that only how many go where is drawn: multinomial numbers, in law those of the
particles of `dsdcli.process.walk` one by one (method.md, section 15). Counts are int64 (B, C, *L).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dsdcli.process.hole import Hole
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, forward, hole_kernel

SETTLED = 6.0  # e-foldings of the slowest wave after which nothing is left of an image: of many particles more is seen


@dataclass(frozen=True)
class Crowd:
    """Counts after a walk, and what their particles have to undo.

    Attributes:
        counts: int64 (B, C, *L).
        ratio: sum over the particles of a site of h_v / s, or its mean given the flows that were drawn, (B, C, 2d, *L).
        floor: sum over the particles and directions of r log r - r, r = h_v / s: float64 (B,).
    """

    counts: torch.Tensor
    ratio: torch.Tensor
    floor: torch.Tensor


def settling_dose(lattice: Lattice) -> float:
    """Dose after which an image of many particles is gone: its slowest wave has decayed to exp(-6)."""
    return lattice.mixing_dose() * SETTLED / (4 if isinstance(lattice, Hole) else 2)


def forward_counts(start: torch.Tensor, dose: torch.Tensor, lattice: Lattice, generator: torch.Generator) -> Crowd:
    """Exact forward draw of counts (B, C, *L) at any dose (B,), on a whole lattice or in a hole, and what to undo.

    Particle by particle where there are few, else axis by axis, where all of a site are split among the sites of
    its line: O(particles) or O(sites x side), whichever is less. Counts where nothing walks are dropped.
    """
    start = start * lattice.walkable(start.device)
    if isinstance(lattice, Hole):
        return _in_parts(start, dose, lattice, generator)
    if 4 * int(start.sum()) <= start.numel() * max(lattice.shape):  # as measured on CPUs
        return _one_by_one(start, dose, lattice, generator)
    return _axis_by_axis(start, dose, lattice, generator)


def _in_parts(start: torch.Tensor, dose: torch.Tensor, hole: Hole, generator: torch.Generator) -> Crowd:
    """The parts of a hole one by one: boxes as lattices of their own."""
    counts, floor = torch.zeros_like(start), torch.zeros(len(start), dtype=torch.float64, device=start.device)
    ratio = torch.zeros(*start.shape[:2], hole.directions, *hole.shape, device=start.device)
    for piece in hole.pieces:
        if piece.box is None:
            part = _on_graph(start * piece.walkable(start.device), dose, piece, generator)
            counts, ratio = counts + part.counts, ratio + part.ratio
        else:
            low, sides = piece.box
            box: tuple[Any, ...] = (..., *(slice(a, a + side) for a, side in zip(low, sides, strict=True)))
            part = forward_counts(start[box], dose, Lattice(sides), generator)
            counts[box], ratio[box] = part.counts, part.ratio
        floor += part.floor
    return Crowd(counts, ratio, floor)


def as_particles(counts: torch.Tensor, lattice: Lattice) -> Particles:
    """As many particles as are counted, (B, C, *L)."""
    index = torch.arange(counts.numel(), device=counts.device).repeat_interleave(counts.flatten())
    channel, species = index // lattice.sites, counts.shape[1]
    return Particles(channel // species, channel % species, lattice.unravel(index % lattice.sites))


def _one_by_one(start: torch.Tensor, dose: torch.Tensor, lattice: Lattice, generator: torch.Generator) -> Crowd:
    """As many particles as are counted, each on its own walk."""
    species = start.shape[1]
    now, undo = forward(as_particles(start, lattice), dose, lattice, generator)
    where = (now.image * species + now.phase) * lattice.sites + lattice.ravel(now.site)
    return _summed(start, now.image, where, undo / dose[now.image, None], lattice)


def _on_graph(start: torch.Tensor, dose: torch.Tensor, piece: Hole, generator: torch.Generator) -> Crowd:
    """Particles of a free-form part of a hole, whose probabilities are worked out once for all of a site."""
    species = start.shape[1]
    channel, site = start.flatten(2).flatten(0, 1).nonzero(as_tuple=True)  # (G,) sites that hold any
    number = start.flatten()[channel * piece.sites + site]
    image = channel // species
    row = hole_kernel(Particles(image, channel % species, piece.unravel(site)), dose, piece)  # (G, n)
    groups, n = row.shape
    group = torch.arange(groups, device=start.device).repeat_interleave(number)
    ladder = row.cumsum(1) / row.sum(1, keepdim=True) + torch.arange(groups, device=start.device)[:, None]
    u = torch.rand(len(group), generator=generator, device=start.device, dtype=torch.float64)
    at = (torch.searchsorted(ladder.flatten(), u + group, right=True) - group * n).clamp(0, n - 1)
    inside = piece.walkable(start.device).flatten().nonzero()[:, 0]  # (n,)
    now, here = inside[at], row[group, at].clamp_min(1e-300)
    bonds, place, ratios = piece.open_bonds(start.device).flatten(1), piece.unravel(now), []
    for axis, side in enumerate(piece.shape):
        for sign in (1, -1):
            beside = place.clone()
            beside[:, axis] = (beside[:, axis] + sign) % side
            there = torch.searchsorted(inside, piece.ravel(beside)).clamp_max(n - 1)
            ratios.append(row[group, there] / here)
    ratio = torch.stack(ratios, 1) * bonds[:, now].T
    return _summed(start, image[group], channel[group] * piece.sites + now, ratio, piece)


def _summed(
    start: torch.Tensor, image: torch.Tensor, where: torch.Tensor, ratio: torch.Tensor, lattice: Lattice
) -> Crowd:
    """Particles with their ratios (P, 2d), added up on the sites (P,) where they are."""
    images, species = start.shape[:2]
    counts = torch.bincount(where, minlength=start.numel()).view(start.shape)
    summed = torch.zeros(start.numel(), lattice.directions, device=start.device).index_add_(0, where, ratio.float())
    summed = summed.view(images, species, lattice.sites, -1).movedim(-1, 2).unflatten(3, lattice.shape)
    floor = torch.zeros(images, dtype=torch.float64, device=start.device)
    return Crowd(counts, summed, floor.index_add_(0, image, (torch.xlogy(ratio, ratio) - ratio).sum(1)))


def _axis_by_axis(start: torch.Tensor, dose: torch.Tensor, lattice: Lattice, generator: torch.Generator) -> Crowd:
    """All particles of a site at once, one axis after the other.

    The ratio of an axis is summed over the flows along it. Where particles then go along the next axis, each is one of
    its site, so that it takes the mean of that site along: the mean of what particles would carry, given the flows.
    """
    counts = start.double()
    floor = torch.zeros(len(start), dtype=torch.float64, device=start.device)
    carried: list[torch.Tensor] = []  # sums over the particles of a site, (B, C, *L) each
    for axis, side in enumerate(lattice.shape):
        kernel = axis_kernel(side, lattice.boundary, dose)
        lines = counts.movedim(axis + 2, -1)
        means = [each.movedim(axis + 2, -1) / lines.clamp_min(1) for each in carried]
        sums = [torch.zeros_like(lines) for _ in range(len(carried) + 3)]
        for target, source, flow, chance in _flows(lines, kernel, lattice, generator):
            for total, mean in zip(sums, [None, *means], strict=False):
                total.index_add_(-1, target, flow if mean is None else flow * mean[..., source])
            for number, sign in ((-2, 1), (-1, -1)):
                beside = target + sign
                inside = (beside >= 0) & (beside < side) if lattice.boundary == "noflux" else beside == beside
                ratio = torch.where(inside, kernel[:, beside % side, source], 0) / chance.clamp_min(1e-300)
                ratio = ratio.view(len(ratio), *(1,) * (flow.ndim - 2), -1)
                sums[number].index_add_(-1, target, flow * ratio)
                nats = flow * (torch.xlogy(ratio, ratio) - ratio)
                floor += nats.flatten(1).sum(1)
        counts, *carried = (total.movedim(-1, axis + 2) for total in sums)
    return Crowd(counts.round().long(), torch.stack(carried, 2).float(), floor)


def _flows(
    lines: torch.Tensor, kernel: torch.Tensor, lattice: Lattice, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Particles on lines (B, ..., N), split among the sites of their line: targets and sources (n,), how many go from
    each to each (B, ..., n), and the probability (B, n) of that; the nearest sites first, as long as any are left.
    """
    side, rest = lines.shape[-1], lines.clone()
    site = torch.arange(side, device=lines.device)
    left = torch.ones(len(lines), side, dtype=torch.float64, device=lines.device)
    reach = side // 2 if lattice.boundary == "periodic" else side - 1
    for offset in sorted(range(-reach, reach + 1), key=abs):
        if lattice.boundary == "periodic" and 2 * offset == -side:
            continue  # the same site as on the other side
        if not bool(rest.any()):
            return
        source = site if lattice.boundary == "periodic" else site[max(0, -offset) : side - max(0, offset)]
        target = (source + offset) % side
        chance = kernel[:, target, source]
        share = (chance / left[:, source].clamp_min(1e-300)).clamp(0, 1)
        share = share.view(len(share), *(1,) * (lines.ndim - 2), -1).expand_as(rest[..., source])
        flow = torch.binomial(rest[..., source], share.contiguous(), generator=generator)
        rest[..., source] -= flow
        left[:, source] -= chance
        yield target, source, flow, chance
    yield site, site, rest, kernel[:, site, site]  # what rounding has left, if anything


def spread(totals: torch.Tensor, weight: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Particles (B, C) placed independently with probabilities in proportion to ``weight``, non-negative (B, C, *L):
    counts (B, C, *L). A site's number is drawn by halves, so that the cost is that of the sites.

    Args:
        generators: one for each image.
    """
    flat = weight.double().flatten(2)
    sites = flat.shape[2]
    levels = [torch.nn.functional.pad(flat, (0, 2 ** (sites - 1).bit_length() - sites))]
    while levels[-1].shape[2] > 1:
        levels.append(levels[-1].unflatten(2, (-1, 2)).sum(3))
    counts = totals.double()[..., None]
    for halves in reversed(levels[:-1]):
        pair = halves.unflatten(2, (-1, 2))
        share = (pair[..., 0] / pair.sum(3).clamp_min(1e-300)).clamp(0, 1)
        first = torch.stack(
            [torch.binomial(n, p, generator=g) for n, p, g in zip(counts, share, generators, strict=True)]
        )
        counts = torch.stack([first, counts - first], 3).flatten(2)
    return counts[..., :sites].round().long().view(weight.shape)


def leap_counts(
    counts: torch.Tensor,
    drift: torch.Tensor,
    lattice: Lattice,
    generators: Sequence[torch.Generator],
    carried: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As `dsdcli.process.walk.leap`, of all particles of a site at once: each hops the whole number of times below or
    above its mean number, at random so that the mean is kept, in each direction; how many do which is binomial.

    Args:
        drift: mean number of hops of a particle of each site in each direction, non-negative (B, C, 2d, *L).
        generators: one for each image.
        carried: values of the particles of each site (B, C, V, *L).

    Returns:
        the counts, and the mean of ``carried`` over the particles that each site then has.
    """
    d, (images, species) = lattice.ndim, counts.shape[:2]
    drift = drift.double().flatten(3)  # (B, C, 2d, S)
    whole = drift.floor()
    part = drift - whole
    numbers = counts.double().flatten(2)[:, None]  # (B, G, C, S)
    for axis in range(d):
        up, down = part[:, :, 2 * axis], part[:, :, 2 * axis + 1]
        ahead, back = (up * (1 - down))[:, None], (down * (1 - up))[:, None]
        back = (back / (1 - ahead).clamp_min(1e-300)).clamp(0, 1)
        groups = []
        for image, generator in enumerate(generators):
            of = numbers[image]
            first = torch.binomial(of, ahead[image].expand_as(of).contiguous(), generator=generator)
            second = torch.binomial(of - first, back[image].expand_as(of).contiguous(), generator=generator)
            groups.append(torch.stack([first, second, of - first - second], 1).flatten(0, 1))
        numbers = torch.stack(groups)  # the last axis changes fastest
    b, g, c, s = numbers.nonzero(as_tuple=True)
    number = numbers[b, g, c, s]
    extra = torch.tensor([1, -1, 0], device=g.device)
    step = torch.stack(
        [
            (whole[b, c, 2 * a, s] - whole[b, c, 2 * a + 1, s]).long() + extra[g // 3 ** (d - 1 - a) % 3]
            for a in range(d)
        ],
        -1,
    )
    where = (b * species + c) * lattice.sites + lattice.ravel(lattice.move(lattice.unravel(s), step))
    moved = torch.zeros(counts.numel(), dtype=torch.float64, device=counts.device).index_add_(0, where, number)
    after = moved.round().long().view_as(counts)
    if carried is None:
        return after, None
    values = number[:, None] * carried.flatten(3)[b, c, :, s].double()
    sums = torch.zeros(counts.numel(), carried.shape[2], dtype=torch.float64, device=counts.device)
    means = sums.index_add_(0, where, values) / moved.clamp_min(1)[:, None]
    means = means.view(images, species, lattice.sites, -1).movedim(-1, 2)
    return after, means.reshape(carried.shape).to(carried.dtype)
