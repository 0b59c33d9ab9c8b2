"""One image on several ranks, each of which holds a slab: the same walk whatever their number.

Random numbers belong to (seed, stage of the walk, unit of the slab) and to the particles there in order of their
numbers, so that they do not depend on the ranks; they are others than those of `dsdcli.sampling.generate`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from dsdcli.network.config import ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.network.slabs import SlabNet
from dsdcli.process.image import assign, with_neighbours
from dsdcli.process.lattice import Lattice
from dsdcli.process.long_waves import LongWaves
from dsdcli.process.prior import expected_counts, symmetric_root
from dsdcli.process.slab import Slab, Walkers
from dsdcli.process.walk import Particles
from dsdcli.sampling.blocks import RESERVE
from dsdcli.sampling.generate import START
from dsdcli.sampling.settle import TIE_BREAK
from dsdcli.sampling.trapezoidal import Trapezoidal

PRIOR, SHARES, PLACES, TIES, LEAPS = range(5)  # stages of the walk, with random numbers of their own


# Memory as measured, rounded up: bytes of a site for its fields and its particles beside the features of the network,
# arrays of the features at once, and, for a unit, arrays of what a block makes of them.
SITE, PARTICLE, FEATURES, HIDDEN = 64, 130, 3, 6


def slab_bytes(config: ModelConfig, slab: Slab) -> int:
    """Memory that a rank takes at most for an image, beside the weights: an estimate, on the safe side."""
    architecture, ndim = config.architecture, slab.lattice.ndim
    outputs = len(config.phases) * (slab.lattice.directions + 1)
    coarse = architecture.channels[0] / architecture.patch**ndim
    features = FEATURES * coarse + architecture.fine + outputs
    unit = 4 * HIDDEN * architecture.expansion * max(architecture.fine, coarse)
    rows = max(len(range(*span)) for span in pairwise(slab.cuts))
    return int(RESERVE + slab.plane * (rows * (4 * features + SITE + PARTICLE) + slab.unit * unit))


@dataclass(frozen=True, eq=False)
class Part:
    """The slab of a finished image, and how far the whole is from the particles it was decoded from.

    Attributes:
        image: phase indices uint8 (rows, ...).
        forced, overlap, far: as of `dsdcli.process.image.Decoded`, of the whole.
    """

    image: np.ndarray
    forced: float
    overlap: float
    far: float


def generate_slab(
    model: UndoNet, totals: np.ndarray, slab: Slab, sampler: Trapezoidal, seed: int, kind: int | None = None
) -> Iterator[Part | None]:
    """Draw one image with exactly these voxels of each phase, (K,), all ranks together: None after every network
    evaluation but the last, then the slab of this rank.

    Args:
        model: on the device to compute on.
        seed: of this image.
        kind: number of its class; None for a model without, or for any.
    """
    config, lattice = model.config, slab.lattice
    device = next(model.parameters()).device
    law = config.long_waves(lattice, kind).to(device)
    fractions = torch.tensor(totals / lattice.sites, dtype=torch.float64, device=device)
    net = SlabNet(model.of_class(kind), slab, fractions.float())
    dose = max(START * config.dose_max, sampler.dose_end)
    walkers = scattered(totals, _slow_waves(fractions, law, dose, slab, seed), slab, seed)
    for step, (now, then) in enumerate(pairwise(sampler.doses(dose))):
        half, first = math.log(now / then) / 2, None
        for stage, at in enumerate((now, math.sqrt(now * then))):
            h = net.undo(walkers, at)
            generators = slab.generators(seed, LEAPS, step, stage, device=device)
            moved, means = [], []
            for (a, b), unit, generator in zip(walkers.ends, h, generators, strict=True):
                directed, shuffle = sampler.means(unit, at, half)
                drift = directed if first is None else torch.relu(2 * directed - first[a:b])
                here = _unpacked(walkers.place[a:b], lattice)
                moved.append(_packed(sampler.move(here, drift, shuffle, half, lattice, [generator]), lattice))
                means.append(directed)
            del h
            walkers = Walkers(torch.cat(moved), walkers.number, walkers.sizes)
            if first is None:
                walkers, (first,) = walkers.handed_over(slab, torch.cat(means))
            else:
                walkers, _ = walkers.handed_over(slab)
            yield None
    occupied = walkers.counts(slab, model.phases)
    yield _settled(net.clean(occupied, sampler.dose_end), occupied, totals, slab, seed)


def _slow_waves(fractions: torch.Tensor, law: LongWaves, dose: float, slab: Slab, seed: int) -> torch.Tensor:
    """As `dsdcli.process.prior.slow_waves`: float64 (C, rows, ...)."""
    root = law.strength(fractions)[:, None] * symmetric_root(law.correlation)
    device, shape = fractions.device, slab.lattice.shape[1:]
    waves = torch.cat(
        [
            (root @ torch.randn(len(root), (b - a) * slab.plane, generator=g, dtype=torch.float64, device=device)).view(
                -1, b - a, *shape
            )
            for (a, b), g in zip(slab.spans, slab.generators(seed, PRIOR, device=device), strict=True)
        ],
        1,
    )

    def walked(waves: torch.Tensor, dose: float) -> torch.Tensor:
        return slab.smoother(torch.tensor([dose], dtype=torch.float64, device=device))(waves)

    def balanced(waves: torch.Tensor) -> torch.Tensor:
        return waves.sub_(slab.means(waves))

    return expected_counts(balanced(waves), fractions, law, dose, walked, balanced)


def scattered(counts: np.ndarray, expected: torch.Tensor, slab: Slab, seed: int) -> Walkers:
    """Counts (C,) of particles, placed independently with probabilities in proportion to ``expected`` (C, rows, ...):
    how many come into each unit is drawn first, on all ranks alike."""
    mass = slab.sums(expected).cpu().numpy()  # (units, C)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SHARES])))
    numbers = np.stack(
        [random.multinomial(n, share / share.sum()) for n, share in zip(counts, mass.T, strict=True)], 1
    )  # (units, C)
    begin = (numbers.cumsum() - numbers.ravel()).reshape(numbers.shape)
    places, labels, device = [], [], expected.device
    generators = slab.generators(seed, PLACES, device=device)
    for unit, (a, b), generator in zip(slab.own, slab.spans, generators, strict=True):
        first = (slab.rows.start + a) * slab.plane
        for phase, n in enumerate(numbers[unit].tolist()):
            ladder = expected[phase, a:b].flatten().cumsum(0)
            u = torch.rand(n, generator=generator, dtype=torch.float64, device=device)
            at = torch.searchsorted(ladder, u * ladder[-1], right=True).clamp_max(len(ladder) - 1)
            places.append(at + first + phase * slab.lattice.sites)
            labels.append(torch.arange(n, device=device) + int(begin[unit, phase]))
    return Walkers.sorted(torch.cat(places), torch.cat(labels), slab)[0]


def _unpacked(place: torch.Tensor, lattice: Lattice) -> Particles:
    return Particles(torch.zeros_like(place), place // lattice.sites, lattice.unravel(place % lattice.sites))


def _packed(particles: Particles, lattice: Lattice) -> torch.Tensor:
    return particles.phase * lattice.sites + lattice.ravel(particles.site)


def _settled(clean: torch.Tensor, occupied: torch.Tensor, totals: np.ndarray, slab: Slab, seed: int) -> Part:
    """As `dsdcli.sampling.generate.settle`."""
    device = clean.device
    noise = torch.cat(
        [
            torch.rand(len(clean), b - a, *slab.shape[1:], generator=g, device=device)
            for (a, b), g in zip(slab.spans, slab.generators(seed, TIES, device=device), strict=True)
        ],
        1,
    )
    score = (clean.double() + TIE_BREAK * noise).flatten(1).cpu().numpy()
    del noise
    chosen, best = assigned(score, totals, slab)
    held = occupied.cpu().numpy() > 0
    image = chosen.astype(np.uint8).reshape(slab.shape)
    far = 0
    for phase, channel in enumerate(held):
        before, after = slab.beyond(torch.from_numpy(channel.astype(np.uint8))[None], 1)
        wide = np.concatenate([before[0].numpy(), channel, after[0].numpy()]) > 0
        near = with_neighbours(wide, Lattice(wide.shape, slab.lattice.boundary))[1:-1]
        far += int(((image == phase) & ~near).sum())
    doubled = float((occupied.sum(0) - 1).clamp_min(0).sum(dtype=torch.float64))
    forced = slab.ranks.sum(int((chosen != best).sum())) / slab.lattice.sites
    particles = max(1, int(totals.sum()))
    return Part(image, forced, slab.ranks.sum(doubled) / particles, slab.ranks.sum(far) / particles)


def assigned(score: np.ndarray, totals: np.ndarray, slab: Slab) -> tuple[np.ndarray, np.ndarray]:
    """The phase of every site here, int64 (S,), such that the whole has the totals (K,) and the largest summed score,
    as `dsdcli.process.image.assign` has it; and the best phase of each without totals.

    As many sites change their phase for another as there are too many of it, and those that lose the least by it: the
    ranks send each other these candidates, and each assigns all of them.

    Args:
        score: float64 (K, S).
    """
    phases, ranks = len(score), slab.ranks
    best = score.argmax(0)
    held = _gathered(np.bincount(best, minlength=phases), slab).reshape(-1, phases).sum(0)
    surplus = int(np.maximum(held - totals, 0).sum())
    if not surplus:
        return best, best
    may_change = np.zeros(len(best), bool)
    for old in range(phases):
        where = np.flatnonzero(best == old)
        for new in range(phases):
            if new != old:
                loss = score[old, where] - score[new, where]
                limit = np.partition(loss, surplus - 1)[surplus - 1] if len(loss) > surplus else np.inf
                may_change[where[loss <= limit]] = True  # with all that are equal
    mine = np.flatnonzero(may_change)
    numbers = _gathered(np.array([len(mine)]), slab)
    table = _gathered(score[:, mine].T, slab).reshape(-1, phases).T
    known = _gathered(best[mine], slab)
    left = totals - (held - np.bincount(known, minlength=phases))
    now = assign(np.ascontiguousarray(table), left)
    result = best.copy()
    start = int(numbers[: ranks.number].sum())
    result[mine] = now[start : start + len(mine)]
    return result, best


def _gathered(values: np.ndarray, slab: Slab) -> np.ndarray:
    """The values of all ranks, one after another: (n,)."""
    flat = torch.from_numpy(np.ascontiguousarray(values).ravel())
    return torch.cat(slab.ranks.exchange([flat] * slab.ranks.count)).numpy()
