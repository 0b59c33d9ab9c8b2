"""Generation of intensities: counts of every species walk back together, and are rounded to exact totals."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from dsdcli.network.intensity import IntensityNet
from dsdcli.network.levels import levelled
from dsdcli.network.model import Given
from dsdcli.process.counts import as_particles, leap_counts, settling_dose, spread
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import slow_waves
from dsdcli.process.rounding import Rounded, round_counts
from dsdcli.sampling.blocks import InBlocks
from dsdcli.sampling.generate import Progress, sample_seed
from dsdcli.sampling.guidance import LEAST, Guided, untold
from dsdcli.sampling.rates import Freezing, Rates
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.settle import TIE_BREAK
from dsdcli.sampling.trapezoidal import Trapezoidal

# Particles of intensities share a site, so that no leap ends in a collision: the walk goes further down than that of
# segmented images, and the rounding has less to decide.
DOSE_END = 0.01


class GuidedCounts(Guided):
    """As `Guided`, of intensities: of the clean counts the logarithms are guided, up to the cap."""

    def clean(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given) -> torch.Tensor:
        told, other = (self.model.clean(counts, dose, lattice, g) for g in (given, untold(given)))
        one, none = (e.clamp_min(LEAST).log() for e in (told, other))
        caps = self.model.caps
        assert isinstance(caps, torch.Tensor)  # of a model of intensities
        return torch.minimum(torch.lerp(none, one, self.weight).exp(), caps.double())


def walk_back(
    counts: torch.Tensor,
    rates: Rates,
    lattice: Lattice,
    sampler: Sampler,
    dose: float,
    generators: Sequence[torch.Generator],
) -> Iterator[torch.Tensor]:
    """Counts (B, C, *L) on their way from a dose to the sampler's end, after every evaluation of the network.

    The leaps of `Trapezoidal.walk` that are directed alone move all particles of a site at once; those that meet
    half-way correct their first stage by the mean of what it was for them. Other samplers, and balanced hops, move
    particles one by one.
    """
    if not isinstance(sampler, Trapezoidal) or sampler.eta:
        images, species = counts.shape[:2]
        for particles in sampler.walk(as_particles(counts, lattice), species, rates, lattice, dose, generators):
            yield particles.occupancy(lattice, images, species)
        return
    for now, then in pairwise(sampler.doses(dose)):
        half, between = math.log(now / then) / 2, math.sqrt(now * then)
        directed, _ = sampler.means(_undo(counts, rates, lattice, now), now, half)
        counts, first = leap_counts(counts, directed, lattice, generators, directed)
        yield counts
        directed, _ = sampler.means(_undo(counts, rates, lattice, between), between, half)
        assert first is not None  # the mean of what was followed
        counts, _ = leap_counts(counts, torch.relu(2 * directed - first), lattice, generators)
        yield counts


def _undo(counts: torch.Tensor, rates: Rates, lattice: Lattice, dose: float) -> torch.Tensor:
    return rates(counts, torch.full((len(counts),), dose, dtype=torch.float64, device=counts.device), lattice)


def generate_counts(
    model: IntensityNet,
    totals: np.ndarray,
    lattice: Lattice,
    sampler: Sampler,
    seed: int,
    batch: int,
    around: np.ndarray | None = None,
    indices: range | None = None,
    kind: int | None = None,
    guidance: float = 1.0,
) -> Iterator[Progress[Rounded]]:
    """Draw one image of counts for every row of ``totals``, with exactly these particles of each species.

    Image i depends on (seed, i) and on its totals, as in `dsdcli.sampling.generate.generate`. In a hole everything else
    is frozen. The start is where nothing is left of an image of the training's size; larger ones begin with the longer
    waves that are left.

    Args:
        model: on the device to compute on.
        totals: int64 (n, C), or (n, R, C) for each of the R parts of a hole; at most the cap times the sites.
        lattice: all of it, or the `Hole` to fill.
        around: counts (C, *L) of the image that has the hole.
        indices, kind, guidance: as of `dsdcli.sampling.generate.generate`.
    """
    config, device, model = model.config, model.caps.device, model.of_class(kind)
    indices = range(len(totals)) if indices is None else indices
    totals = totals.reshape(len(totals), -1, model.phases)
    caps = np.array([each.cap for each in config.species])
    walking = torch.from_numpy(lattice.parts).to(device)
    frozen = torch.zeros(model.phases, *lattice.shape, dtype=torch.int64, device=device)
    if around is not None:
        frozen += torch.from_numpy(around.astype(np.int64)).to(device) * ~lattice.walkable(device)
    heads = model if kind is None or guidance == 1 else GuidedCounts(model, guidance)
    start = max(min(config.dose_max, settling_dose(lattice)), 2 * sampler.dose_end)
    law = config.long_waves(lattice, kind).to(device)
    sites = torch.from_numpy(np.bincount(lattice.parts.ravel())[1:]).to(device)  # (R,)
    batches = [indices[i : i + batch] for i in range(0, len(indices), batch)]
    done, total = 0, sampler.evaluations and sampler.evaluations * len(batches)
    for members in batches:
        wanted = totals[members.start - indices.start : members.stop - indices.start]
        undo, clean = (Freezing(InBlocks(head, members.start), frozen) for head in (heads.undo, heads.clean))
        generators = [torch.Generator(device).manual_seed(sample_seed(seed, i)) for i in members]
        numbers = torch.from_numpy(wanted.copy()).to(device)  # (B, R, C)
        means = (numbers.double() / sites[:, None]).movedim(1, 2)  # (B, C, R)
        mean = means.sum(2) if len(sites) == 1 else (means * sites).sum(2) / sites.sum()
        waves = slow_waves(mean, law, start, lattice, generators, strength=mean)
        counts = torch.zeros(*waves.shape, dtype=torch.int64, device=device)
        for part in range(numbers.shape[1]):
            counts += spread(numbers[:, part], waves * (walking == part + 1) + 1e-9 * (walking == part + 1), generators)
        for state in walk_back(counts, undo, lattice, sampler, start, generators):
            counts = state
            done += 1
            yield Progress(done, total)
        doses = torch.full((len(wanted),), sampler.dose_end, dtype=torch.float64, device=device)
        expected = clean(counts, doses, lattice)
        ties = [torch.rand(e.shape, generator=g, device=device) for e, g in zip(expected, generators, strict=True)]
        wished = (expected + TIE_BREAK * torch.stack(ties)).cpu().numpy()
        if model.levels is not None:
            wished = levelled(wished, model.levels, caps)
        rounded = [
            round_counts(e, n, own, caps, lattice.parts, around)
            for e, n, own in zip(wished, counts.cpu().numpy(), wanted, strict=True)
        ]
        done += 1
        yield Progress(done, total, tuple(zip(members, rounded, strict=True)))


def counts_like(
    model: IntensityNet, crops: np.ndarray, kinds: np.ndarray, lattice: Lattice, steps: int, seed: int = 0
) -> np.ndarray:
    """Images with the totals, and of the classes (n,), -1 for any, of real crops (n, C, *L): as many, int64."""
    totals, made = crops.reshape(*crops.shape[:2], -1).sum(2, dtype=np.int64), np.empty(crops.shape, np.int64)
    for kind in np.unique(kinds).tolist():
        own = np.flatnonzero(kinds == kind)
        states = generate_counts(
            model,
            totals[own],
            lattice,
            Trapezoidal(steps, dose_end=DOSE_END),
            seed,
            len(own),
            kind=None if kind < 0 else kind,
        )
        for state in states:
            for index, rounded in state.finished:
                made[own[index]] = rounded.image
    return made
