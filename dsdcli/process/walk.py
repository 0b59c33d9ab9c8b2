"""Particles and the only functions that move them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch

from dsdcli.process.hole import Hole
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice

ALL = slice(None)
GONE = 45.0  # decay of a mode, in powers of e, from which nothing of it is left in float64


@dataclass(frozen=True)
class Particles:
    """All particles of a batch of B images, sorted by image, then by phase.

    Attributes:
        image: (P,) index of the image, 0..B-1.
        phase: (P,) index of the phase, 0..K-1.
        site: (P, d) position.
    """

    image: torch.Tensor
    phase: torch.Tensor
    site: torch.Tensor

    def __len__(self) -> int:
        return len(self.image)

    def occupancy(self, lattice: Lattice, images: int, phases: int) -> torch.Tensor:
        """Counts n(x, c) as int64 (B, C, *L)."""
        flat = (self.image * phases + self.phase) * lattice.sites + lattice.ravel(self.site)
        counts = torch.zeros(images * phases * lattice.sites, dtype=torch.int64, device=flat.device)
        return counts.scatter_add_(0, flat, torch.ones_like(flat)).view(images, phases, *lattice.shape)

    @classmethod
    def join(cls, groups: "Sequence[Particles]", phases: int) -> "Particles":
        """All particles of several groups on the same images, sorted as one."""
        image, phase, site = (torch.cat([getattr(g, f.name) for g in groups]) for f in fields(cls))
        order = torch.argsort(image * phases + phase, stable=True)
        return cls(image[order], phase[order], site[order])

    def rows(self, share: slice) -> slice:
        """Which particles are those of a range of the images."""
        if share == ALL:
            return ALL
        ends = torch.tensor([share.start, share.stop], device=self.image.device)
        return slice(*torch.searchsorted(self.image, ends).tolist())

    def of(self, share: slice) -> "Particles":
        """The particles of a range of the images, which are numbered anew."""
        rows = self.rows(share)
        return Particles(self.image[rows] - (share.start or 0), self.phase[rows], self.site[rows])

    def per_image(self, images: int) -> list[int]:
        """Number of particles of each image."""
        return torch.bincount(self.image, minlength=images).tolist()


def scatter(
    counts: torch.Tensor,
    lattice: Lattice,
    generators: Sequence[torch.Generator],
    intensity: torch.Tensor | None = None,
) -> Particles:
    """Place counts (B, C) particles independently: uniformly, or with probabilities in proportion to ``intensity``.

    Each image draws from its own generator, so it does not depend on the others in the batch.

    Args:
        intensity: non-negative (B, C, *L), positive somewhere.
    """
    if intensity is None:
        intensity = torch.ones(1, dtype=torch.float64, device=counts.device).expand(*counts.shape, *lattice.shape)
    cumulative = intensity.double().flatten(2).cumsum(2)  # (B, C, S)
    flat = []
    for image, generator in enumerate(generators):
        for phase, n in enumerate(counts[image].tolist()):
            u = torch.rand(n, generator=generator, device=generator.device, dtype=torch.float64)
            ladder = cumulative[image, phase]
            flat.append(torch.searchsorted(ladder, u * ladder[-1], right=True).clamp_max(lattice.sites - 1))
    index = torch.arange(counts.numel(), device=counts.device).repeat_interleave(counts.flatten())
    phases = counts.shape[1]
    return Particles(index // phases, index % phases, lattice.unravel(torch.cat(flat)))


def diffuse(
    start: Particles, dose: torch.Tensor, lattice: Lattice, generator: torch.Generator, share: slice = ALL
) -> Particles:
    """Exact forward draw at any dose (B,): a Skellam displacement along every axis, wrapped or folded.

    O(particles), no table (method.md, section 2).

    Args:
        share: of the images, whose particles are returned; as in `forward`.
    """
    mean = dose.to(torch.float64)[start.image][:, None, None].expand(-1, lattice.ndim, 2).contiguous()
    hops, start = torch.poisson(mean, generator=generator)[start.rows(share)], start.of(share)
    step = (hops[..., 0] - hops[..., 1]).to(torch.int64)
    return replace(start, site=lattice.fold(start.site + step))


def undo_counts(now: Particles, start: Particles, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Expected number of forward hops to undo in each direction, h_v = s p(x+v|x0) / p(x|x0) (method.md, section 5).

    The ratio needs the kernel of one axis only, since those of the others cancel.

    Args:
        now: the particles after a dose; ``start``: where they came from, in the same order.
        dose: (B,) dose of each image.

    Returns:
        (P, 2d) float64, 0 towards a wall.
    """
    rates = []
    for axis, side in enumerate(lattice.shape):
        kernel = axis_kernel(side, lattice.boundary, dose).flatten()
        x, x0 = now.site[:, axis], start.site[:, axis]
        row = now.image * side
        here = kernel[(row + x) * side + x0].clamp_min(1e-300)
        rates += [kernel[(row + (x + sign) % side) * side + x0] / here for sign in (1, -1)]
    bonds = lattice.open_bonds(now.site.device).flatten(1)[:, lattice.ravel(now.site)].T  # (P, 2d)
    return torch.stack(rates, dim=-1) * dose.to(torch.float64)[now.image, None] * bonds


def forward(
    start: Particles, dose: torch.Tensor, lattice: Lattice, generator: torch.Generator, share: slice = ALL
) -> tuple[Particles, torch.Tensor]:
    """Exact forward draw at any dose (B,) and its undo counts (P, 2d), on a whole lattice or in a hole.

    The parts of a hole walk one by one: a box as a lattice of its own, any other in the eigenbasis of its graph
    Laplacian (method.md, section 8), whose cost grows with the square of its sites.

    Args:
        share: of the images, whose particles are returned, numbered from its first image on. Random numbers are drawn
            for all images, so that each walks in the same way whatever else is asked for; the work that follows is done
            for the share alone.
    """
    if not isinstance(lattice, Hole):
        now = diffuse(start, dose, lattice, generator, share)
        return now, undo_counts(now, start.of(share), dose[share], lattice)
    if len(lattice.pieces) > 1:
        part = torch.from_numpy(lattice.parts).to(start.site.device).flatten()[lattice.ravel(start.site)]
        mine, wanted = part[start.rows(share)], start.of(share)
        site, undo = wanted.site.clone(), wanted.site.new_zeros(len(wanted), lattice.directions, dtype=torch.float64)
        for number, piece in enumerate(lattice.pieces, 1):
            members = (part == number).nonzero()[:, 0]
            own = Particles(*(getattr(start, f.name)[members] for f in fields(start)))
            walked, undo[mine == number] = forward(own, dose, piece, generator, share)
            site[mine == number] = walked.site
        return replace(wanted, site=site), undo
    if lattice.box is not None:
        low, sides = lattice.box
        corner = torch.tensor(low, device=start.site.device)
        inner = replace(start, site=start.site - corner)
        now, undo = forward(inner, dose, Lattice(sides), generator, share)
        return replace(now, site=now.site + corner), undo
    u = torch.rand(len(start), 1, generator=generator, device=start.site.device, dtype=torch.float64)
    u, start, dose = u[start.rows(share)], start.of(share), dose[share]
    row = hole_kernel(start, dose, lattice)
    ladder = row.cumsum(1)
    at = torch.searchsorted(ladder, u * ladder[:, -1:], right=True).clamp_max(row.shape[1] - 1)  # (P, 1)
    inside = lattice.walkable(row.device).flatten().nonzero()[:, 0]  # (n,)
    now = replace(start, site=lattice.unravel(inside[at[:, 0]]))
    here = row.gather(1, at).clamp_min(1e-300)
    rates = []
    for axis, side in enumerate(lattice.shape):
        for sign in (1, -1):
            beside = now.site.clone()
            beside[:, axis] = (beside[:, axis] + sign) % side
            there = torch.searchsorted(inside, lattice.ravel(beside)).clamp_max(len(inside) - 1)
            rates.append(row.gather(1, there[:, None]) / here)
    bonds = lattice.open_bonds(row.device).flatten(1)[:, lattice.ravel(now.site)].T
    return now, torch.cat(rates, dim=1) * dose.to(torch.float64)[now.image, None] * bonds


def hole_kernel(start: Particles, dose: torch.Tensor, hole: Hole) -> torch.Tensor:
    """Probability of every site of a hole, in row-major order, for particles after doses (B,): float64 (P, n)."""
    value, vector = (t.to(start.site.device) for t in hole.modes)
    number = hole.walkable(start.site.device).flatten().cumsum(0) - 1
    sites, row, done = number[hole.ravel(start.site)], vector.new_empty(len(start), len(vector)), 0
    for particles, s in zip(start.per_image(len(dose)), dose.tolist(), strict=True):
        own = slice(done, done + particles)
        left = int((s * value <= GONE).sum())  # slow modes come first; the others have decayed
        torch.mm(vector[sites[own], :left] * torch.exp(-s * value[:left]), vector[:, :left].T, out=row[own])
        done += particles
    return row.clamp_min_(0)  # rounding leaves -1e-17 where it is nil


def leap(
    now: Particles,
    drift: torch.Tensor,
    shuffle: torch.Tensor | None,
    lattice: Lattice,
    generators: Sequence[torch.Generator],
) -> Particles:
    """Every particle hops many times in each direction at once; walls reflect or wrap, closed bonds reflect.

    Directed hops are rounded at random to a neighbouring whole number, which keeps their mean and has the least
    variance; undirected ones are Poisson, as in the process itself. Both become the exact process as leaps grow short.
    Particles are moved, never made or lost, so counts stay exact whatever the rates (method.md, section 6).

    Args:
        drift: (P, 2d) mean number of directed hops, non-negative.
        shuffle: (P, 2d) mean number of undirected hops; None for none at all.
        generators: one for each image of the batch, on the device of ``drift``.
    """
    sizes = now.per_image(len(generators))
    hops = torch.empty(drift.shape, device=drift.device)
    for noise, generator in zip(hops.split(sizes), generators, strict=True):
        torch.rand(noise.shape, generator=generator, out=noise)
    hops = hops.add_(drift).floor_()
    if shuffle is not None:
        parts = zip(shuffle.split(sizes), generators, strict=True)
        hops += torch.cat([torch.poisson(mean, generator=g) for mean, g in parts])
    hops = hops.view(-1, lattice.ndim, 2)
    return replace(now, site=lattice.move(now.site, (hops[..., 0] - hops[..., 1]).to(torch.int64)))


def move_some(now: Particles, going: torch.Tensor, move: Callable[[Particles, torch.Tensor], Particles]) -> Particles:
    """Let the particles of some of the images move, and leave those of the others where they are.

    Args:
        going: which images, bool (B,).
        move: takes these particles, their images numbered anew, and which of all they are, bool (P,).
    """
    moving = going[now.image]
    some = Particles((going.cumsum(0) - 1)[now.image[moving]], now.phase[moving], now.site[moving])
    return replace(now, site=now.site.masked_scatter(moving[:, None], move(some, moving).site))


def follow(now: Particles, parents: torch.Tensor) -> Particles:
    """The particles of every image where those of another are, ``parents`` (B,), which has as many of each phase."""
    sizes = torch.bincount(now.image, minlength=len(parents))
    first = sizes.cumsum(0) - sizes
    place = torch.arange(len(now), device=parents.device) - first[now.image]
    return replace(now, site=now.site[first[parents[now.image]] + place])


def hop(
    now: Particles, probability: torch.Tensor, lattice: Lattice, generators: Sequence[torch.Generator]
) -> Particles:
    """Every particle hops once at most, with ``probability`` (P, 2d) of each direction.

    Args:
        probability: non-negative, summing to at most 1 for each particle, 0 across closed bonds.
        generators: one for each image of the batch, on the device of ``probability``.
    """
    sizes = now.per_image(len(generators))
    noise = [
        torch.rand(n, 1, generator=g, device=g.device, dtype=torch.float64)
        for n, g in zip(sizes, generators, strict=True)
    ]
    chosen = torch.searchsorted(probability.double().cumsum(1), torch.cat(noise), right=True)  # (P, 1), 2d: none
    hops = torch.nn.functional.one_hot(chosen[:, 0], lattice.directions + 1)[:, :-1].view(-1, lattice.ndim, 2)
    return replace(now, site=lattice.fold(now.site + hops[..., 0] - hops[..., 1]))
