"""Whole-image generation: seeds and counts in, segmented images out, batch by batch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch

from dsdcli.network.model import Given, UndoNet
from dsdcli.process.cells import Cells
from dsdcli.process.image import Decoded, count_parts, one_hot
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import slow_waves, white_waves
from dsdcli.process.walk import Particles, scatter
from dsdcli.sampling.blocks import InBlocks
from dsdcli.sampling.guidance import Guided
from dsdcli.sampling.keeping import Keeper, go_on
from dsdcli.sampling.rates import Freezing
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.settle import TRIPS, settle
from dsdcli.sampling.start import GUESSES, far_from_known, foresee
from dsdcli.sampling.steering import Flock, Steering, steerable
from dsdcli.sampling.trapezoidal import Trapezoidal

# Where the walk back of whole images starts, relative to the largest dose of the training: waves of a crop's length are
# drawn from the material's integral range, so that the network need not tell them from noise (method.md, section 6).
START = 0.45


T = TypeVar("T")


@dataclass(frozen=True)
class Progress(Generic[T]):
    """State of `generate` after a network evaluation; ``finished`` holds (index, image) pairs as they come.

    ``evaluations`` counts network evaluations of the whole job, each on a batch; ``total`` is what it will be,
    None where only the rates decide that.
    """

    evaluations: int
    total: int | None
    finished: tuple[tuple[int, T], ...] = ()


def sample_seed(seed: int, index: int, walker: int = 0) -> int:
    """Seed of sample ``index`` of the job ``seed``, or of another of its walkers: a function of these alone."""
    key = [seed, index, walker] if walker else [seed, index]
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def generate(
    model: UndoNet,
    totals: np.ndarray,
    lattice: Lattice,
    sampler: Sampler,
    seed: int,
    batch: int,
    around: np.ndarray | None = None,
    indices: range | None = None,
    known: np.ndarray | None = None,
    cells: Cells | None = None,
    steering: Steering | None = None,
    kind: int | None = None,
    guidance: float = 1.0,
    keeper: Keeper | None = None,
    told: Sequence[float] | None = None,
) -> Iterator[Progress[Decoded]]:
    """Draw one image for every row of ``totals``, with exactly these voxels of each phase.

    Image i depends on (seed, i) and on its totals, not on ``batch`` nor on the range it is drawn in, so that parts of a
    job make up the whole. In a hole everything else is frozen. Known voxels walk as all others do, but the network is
    told what they are, and they come out as they are.

    Args:
        model: on the device to compute on.
        totals: int64 (n, K), or (n, R, K) for each of the R parts of a hole or cells; every row sums to the sites of
            its part.
        lattice: all of it, or the `Hole` to fill.
        around: phase indices (*L) of the image that has the hole, or the known voxels.
        indices: of the images in the job, one after another, one for each row of ``totals``; by default from 0 on.
        known: voxels of ``around`` that are known, bool (*L), on a whole lattice.
        cells: of a whole lattice, each with totals of its own.
        steering: what is wanted besides. Every image is then one of several walkers, all of which take memory; a single
            walker is the image as it would be without.
        kind: number of the class of all images; None for a model without, or for any class.
        guidance: with a class or properties, as of `dsdcli.sampling.guidance.Guided`; at 1 it costs nothing.
        keeper: of the walk of every batch, by the trapezoidal sampler without steering; images go on from what it has
            and come out as if they had never been cut.
        told: standardised properties of all images, those of the config in their order; NaN for any value.

    Raises:
        UsageError: a sampler that cannot be steered.
    """
    config, model = model.config, model.of_class(kind)
    indices = range(len(totals)) if indices is None else indices
    if len(indices) != len(totals) or indices.step != 1:
        raise ValueError(f"{indices} does not number the {len(totals)} rows of the totals one by one")
    device = next(model.parameters()).device
    law = config.long_waves(lattice, kind).to(device)
    heads = model if (kind is None and told is None) or guidance == 1 else Guided(model, guidance)
    properties = None if told is None else torch.tensor([list(told)], dtype=torch.float32, device=device)
    totals = totals.reshape(len(totals), -1, len(config.phases))
    parts = lattice.parts if cells is None else cells.labels
    frozen = torch.zeros(model.phases, *lattice.shape, dtype=torch.int64, device=device)
    start = START * config.dose_max
    if around is not None:  # what it says must not be lost in a start that does not know it
        start = min(config.dose_max, lattice.mixing_dose())
    if around is not None and known is None:
        frozen += one_hot(torch.from_numpy(around)[None], model.phases)[0].to(device) & ~lattice.walkable(device)
    start = max(start, sampler.dose_end)
    seen, held, free = tell(around, known, parts, totals.shape[1], len(config.phases), device)
    walking = torch.from_numpy(lattice.parts).to(device)
    batches = [indices[i : i + batch] for i in range(0, len(indices), batch)]
    group, each = 1, sampler.evaluations
    trips, guesses = 0 if cells is None else TRIPS, 0 if seen is None else GUESSES
    if steering is not None:
        group, steered = steering.walkers, steerable(sampler)
        doses = steered.doses(start)
        each = steered.evaluations + steering.evaluations(doses)
        trips *= 1 + len(steering.looks(doses))
    each = each and each + trips + guesses
    done, total = 0, each and each * len(batches)
    for members in batches:
        wanted = totals[members.start - indices.start : members.stop - indices.start].repeat(group, 0)
        given = Given(
            None if seen is None else seen.expand(len(wanted), *seen.shape),
            cells,
            None if cells is None else torch.from_numpy(wanted.copy()).to(device),
            properties=None if properties is None else properties.expand(len(wanted), -1),
        )
        undo, clean = (
            Freezing(InBlocks(head, members.start * group, given), frozen) for head in (heads.undo, heads.clean)
        )
        seeds = [sample_seed(seed, i, walker) for i in members for walker in range(group)]
        generators = [torch.Generator(device).manual_seed(own) for own in seeds]
        counts = torch.from_numpy(wanted.copy()).to(device)  # (B, R, K)
        if seen is not None:
            far, rest = far_from_known(seen), counts - torch.from_numpy(held).to(device)
            share = _share(rest, free)
            waves = torch.zeros_like(share)
            if cells is None:
                mean = rest.sum(1) / max(1, int((free > 0).sum()))
                waves = white_waves(mean, law, lattice, generators, where=far)
            for found in foresee(share, seen, far, waves, start, lattice, clean, generators, counts.sum(1)):
                expected, done = found, done + 1
                yield Progress(done, total)
        elif cells is None:
            expected = slow_waves(counts.sum(1) / (walking > 0).sum(), law, start, lattice, generators)
        else:
            expected = smooth(_share(counts, parts), torch.tensor([start], device=device), lattice)
        if cells is not None:
            counts = counts.sum(1, keepdim=True)
        walkers = Particles.join(
            [scatter(counts[:, r], lattice, generators, expected * (walking == r + 1)) for r in range(counts.shape[1])],
            model.phases,
        )
        finish = partial(
            settle,
            totals=wanted - held,
            clean=clean,
            dose=sampler.dose_end,
            lattice=lattice,
            generators=generators,
            open_parts=[(around, free)] * len(wanted),
            cells=cells is not None,
        )
        walk = walkers, model.phases, undo, lattice, start, generators
        if steering is not None:
            flock = Flock(steering, [sample_seed(seed, i, group) for i in members])
            states = flock.walk(steered, *walk, finish)
        elif keeper is not None and isinstance(sampler, Trapezoidal):
            states = go_on(keeper, members, sampler, *walk)
        else:
            states = sampler.walk(*walk)
        for state in states:
            walkers = state
            done += 1
            yield Progress(done, total)
        images = finish(walkers)
        if steering is not None:
            images = flock.choose(images)
        done += 1 + trips
        yield Progress(done, total, tuple(zip(members, images, strict=True)))


def tell(
    image: np.ndarray | None,
    known: np.ndarray | None,
    parts: np.ndarray,
    number: int,
    phases: int,
    device: torch.device,
) -> tuple[torch.Tensor | None, np.ndarray, np.ndarray]:
    """What known voxels of an image change.

    Args:
        image: phase indices (*L).
        known: bool (*L).
        parts: numbers 1 to ``number`` of the part of every voxel, int64 (*L).

    Returns:
        what the network is told, bool (K, *L) or None; how many known voxels of each phase lie in every part, int64
        (R, K); and the parts without them.
    """
    if image is None or known is None:
        return None, np.zeros((number, phases), np.int64), parts
    told = one_hot(torch.from_numpy(image)[None], phases)[0] & torch.from_numpy(known)
    held = count_parts(image[known], parts[known], number, phases)
    return told.to(device), held, np.where(known, 0, parts)


def _share(counts: torch.Tensor, cells: np.ndarray) -> torch.Tensor:
    """Share of the sites of its cell, 1 to R, that each phase takes, at every site: (B, R, C) -> (B, C, *L)."""
    sites = torch.from_numpy(np.bincount(cells.ravel(), minlength=counts.shape[1] + 1)[1:]).to(counts.device)
    share = counts.movedim(1, -1) / sites.clamp_min(1)
    return share[..., torch.from_numpy(cells - 1).to(counts.device)]


def stack_of(states: Iterable[Progress[Decoded]]) -> np.ndarray:
    """The images of a whole job in order: phase indices uint8 (n, *L)."""
    return np.stack([decoded.image for state in states for _, decoded in state.finished])
