"""Between images and particles: one particle on every voxel, and back to one phase on every site with exactly
the wanted totals."""

import heapq
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles


def one_hot(images: torch.Tensor, phases: int) -> torch.Tensor:
    """Phase indices (B, *L) -> bool (B, K, *L), one channel for each phase."""
    return torch.stack([images == phase for phase in range(phases)], dim=1)


def beside(voxels: torch.Tensor, periodic: bool) -> torch.Tensor:
    """How many neighbours of each phase every site has, (B, K, *L), from where these are, bool; from probabilities, how
    many are expected."""
    total = torch.zeros(voxels.shape, dtype=voxels.dtype if voxels.is_floating_point() else None, device=voxels.device)
    for axis in range(2, voxels.ndim):
        for shift in (1, -1):
            moved = voxels.roll(shift, axis)
            if not periodic:
                moved.select(axis, 0 if shift == 1 else -1).fill_(False)
            total += moved
    return total


def within(somewhere: torch.Tensor, reach: int, periodic: bool) -> torch.Tensor:
    """Sites (B, 1, *L) that have one of these, bool, within so many voxels along every axis."""
    near = somewhere.float()
    for axis in range(2, near.ndim):
        line = near.movedim(axis, -1)
        wide = line.reshape(-1, 1, line.shape[-1])
        if periodic:
            side = line.shape[-1]
            wide = wide[..., torch.arange(-reach, side + reach, device=near.device) % side]
        most = F.max_pool1d(wide, 2 * reach + 1, 1, 0 if periodic else reach)
        near = most.view(line.shape).movedim(-1, axis)
    return near > 0


def place(voxels: torch.Tensor) -> Particles:
    """One particle on every True site of a one-hot image (B, K, *L)."""
    where = voxels.nonzero()
    return Particles(where[:, 0], where[:, 1], where[:, 2:])


def count_parts(image: np.ndarray, parts: np.ndarray, number: int, phases: int) -> np.ndarray:
    """Voxels of every phase in every part of an image, or of some of its voxels: int64 (R, K).

    Args:
        image: phase indices; ``parts``: the part of each, 1 to ``number``, of the same shape.
    """
    flat = (parts.ravel() - 1) * phases + image.ravel()
    return np.bincount(flat, minlength=number * phases).reshape(number, phases)


@dataclass(frozen=True)
class Decoded:
    """Result of `decode` for one image: the image, and how far it is from the particles it was decoded from.

    Attributes:
        image: phase index of every site, uint8 (*L).
        forced: share of the sites (of a hole: those in it) that did not get their most probable phase, because the
            totals had to be met.
        overlap: share of the particles that shared their site with another.
        far: share of the voxels that lie where neither the site nor a neighbour held a particle of theirs.
    """

    image: np.ndarray
    forced: float
    overlap: float
    far: float


def decode(
    clean: np.ndarray,
    occupied: np.ndarray,
    totals: np.ndarray,
    lattice: Lattice,
    around: np.ndarray | None = None,
    parts: np.ndarray | None = None,
) -> Decoded:
    """The most probable segmented image with exactly the wanted totals in every part.

    Chooses one phase per site so that the summed probability, the expected number of right voxels, is the largest
    possible. For two phases these are the N sites that are the most probable.

    Args:
        clean: probability of every phase and site, float64 (K, *L).
        occupied: walking particles n(x, k) of the phases (K, *L).
        totals: voxels of every phase in every part (R, K).
        around: phase indices (*L) of which all that lies in no part is kept.
        parts: number 1 to R of the part of every site, 0 in none, int64 (*L); by default those of the lattice.
    """
    parts = lattice.parts if parts is None else parts
    image = np.zeros(lattice.shape, np.uint8) if around is None else around.astype(np.uint8)
    forced = 0
    for part, wanted in enumerate(totals, 1):
        inside = parts == part
        score = clean[:, inside]  # (K, S)
        image[inside] = chosen = assign(score, wanted)
        forced += int((chosen != score.argmax(0)).sum())
    inside = parts > 0
    overlap = int(np.maximum(occupied.sum(0) - 1, 0).sum()) / max(1, int(occupied.sum()))
    return Decoded(image, forced / max(1, int(inside.sum())), overlap, share_far(image, occupied, lattice, inside))


def share_far(image: np.ndarray, occupied: np.ndarray, lattice: Lattice, inside: np.ndarray) -> float:
    """Share of the voxels inside, of an image (*L), that lie where neither the site nor a neighbour held a particle of
    theirs, (K, *L)."""
    far = 0
    for phase, channel in enumerate(occupied):
        far += int((inside & (image == phase) & ~with_neighbours(channel > 0, lattice)).sum())
    return far / max(1, int(occupied.sum()))


def with_neighbours(held: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Sites that are True or have a True neighbour across an open bond."""
    result = held.copy()
    for axis in range(held.ndim):
        for sign in (1, -1):
            moved = np.roll(held, sign, axis)
            if lattice.boundary == "noflux":
                moved[(slice(None),) * axis + (0 if sign == 1 else -1,)] = False
            result |= moved
    return result


def assign(score: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """One phase per site with fixed totals and the largest summed score: an exact transportation problem.

    Starts from the best phase of every site and moves the surplus along cheapest chains of reassignments between
    phases (successive shortest paths, so the result is optimal); its work grows with the surplus alone.

    Args:
        score: (K, S); ``totals``: (K,) integers that sum to S.

    Returns:
        phase of every site, int64 (S,).
    """
    phases, sites = score.shape
    if int(np.sum(totals)) != sites:
        raise ValueError(f"the totals {list(totals)} do not add up to {sites} sites")
    if phases == 2:  # the N sites of largest advantage
        order = np.argsort(score[0] - score[1], kind="stable")
        result = np.ones(sites, np.int64)
        result[order[sites - int(totals[0]) :]] = 0
        return result
    result = score.argmax(0)
    surplus = np.bincount(result, minlength=phases) - totals
    moved = int(np.maximum(surplus, 0).sum())  # from one phase to another at most
    if not moved:
        return result
    queues = {(a, b): _queue(score, result, a, b, moved) for a in range(phases) for b in range(phases) if a != b}
    while surplus.any():
        # Bellman-Ford on the graph of phases: loss of moving the cheapest site from a to b.
        edge = {pair: _cheapest(queue, result, pair[0]) for pair, queue in queues.items()}
        loss = np.where(surplus > 0, 0.0, np.inf)
        before = np.full(phases, -1)
        for _ in range(phases - 1):
            for (a, b), cost in edge.items():
                if loss[a] + cost < loss[b] - 1e-15:
                    loss[b], before[b] = loss[a] + cost, a
        last = int(min(np.flatnonzero(surplus < 0), key=lambda p: loss[p]))
        surplus[last] += 1
        moves = []
        while before[last] >= 0:
            moves.append((before[last], last))
            last = int(before[last])
        surplus[last] -= 1
        for a, b in moves:
            site = heapq.heappop(queues[a, b])[1]
            result[site] = b
            for c in range(phases):
                if c != b:
                    heapq.heappush(queues[b, c], (score[b, site] - score[c, site], site))
    return result


def _queue(score: np.ndarray, result: np.ndarray, a: int, b: int, most: int) -> list[tuple[float, int]]:
    """The sites of a phase that lose the least by another, and how much; ``most`` of them, and all that are equal."""
    site = np.flatnonzero(result == a)
    loss = score[a, site] - score[b, site]
    if len(loss) > most:
        cheap = loss <= np.partition(loss, most - 1)[most - 1]
        site, loss = site[cheap], loss[cheap]
    queue = list(zip(loss.tolist(), site.tolist(), strict=True))
    heapq.heapify(queue)
    return queue


def _cheapest(queue: list[tuple[float, int]], result: np.ndarray, phase: int) -> float:
    """Loss at the head of the queue, after dropping sites that have left the phase."""
    while queue and result[queue[0][1]] != phase:
        heapq.heappop(queue)
    return queue[0][0] if queue else np.inf
