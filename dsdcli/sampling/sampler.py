"""Whole-image generation: seeds and counts in, segmented images out, batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dsdcli.network.model import UndoNet
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import slow_waves
from dsdcli.process.walk import scatter
from dsdcli.sampling.decode import Decoded, decode
from dsdcli.sampling.reverse import Fields, SamplerSettings, reverse

TIE_BREAK = 1e-9  # random preference between equally probable sites, far below what a network resolves


# Sites that the network takes at a time. Convolutions of another batch size may round differently, and one rounding
# changes a random walk for good; so the batch size of the network depends on the lattice and the device alone.
BLOCK_SITES = {"cpu": 2**15, "cuda": 2**20}
SMALLEST_LATTICE = 2**10  # what smaller ones count as, since the network pads them


@dataclass(frozen=True)
class Progress:
    """State of `generate` after a network evaluation; ``finished`` holds (index, image) pairs as they come.

    ``evaluations`` counts network evaluations of the whole job, each on a batch; ``total`` is what it will be.
    """

    evaluations: int
    total: int
    finished: tuple[tuple[int, Decoded], ...] = ()


def sample_seed(seed: int, index: int) -> int:
    """Seed of sample ``index`` of the job ``seed``: a function of the two alone."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def generate(
    model: UndoNet,
    totals: np.ndarray,
    lattice: Lattice,
    settings: SamplerSettings,
    seed: int,
    batch: int,
) -> Iterator[Progress]:
    """Draw one image for every row of ``totals``, with exactly these voxels of each phase.

    Image i depends on (seed, i) and on its totals, not on ``batch``.

    Args:
        model: on the device to compute on.
        totals: int64 (n, K), every row summing to the sites of the lattice.
    """
    config = model.config
    device = next(model.parameters()).device
    spectrum = torch.tensor(config.integral_range, dtype=torch.float64)
    undo, clean = in_blocks(model.undo), in_blocks(model.clean)
    batches = [range(i, min(i + batch, len(totals))) for i in range(0, len(totals), batch)]
    per_batch = settings.evaluations
    done, total = 0, per_batch * len(batches)
    for indices in batches:
        wanted = totals[indices.start : indices.stop]
        generators = [torch.Generator(device).manual_seed(sample_seed(seed, i)) for i in indices]
        counts = torch.from_numpy(wanted[:, config.carried]).to(device)
        waves = slow_waves(counts / lattice.sites, spectrum, config.dose_max, lattice, generators)
        walkers = scatter(counts, lattice, generators, waves)
        for state in reverse(walkers, model.phases, undo, lattice, config.dose_max, settings, generators):
            walkers = state
            done += 1
            yield Progress(done, total)
        occupied = walkers.occupancy(lattice, len(indices), model.phases)
        dose = torch.full((len(indices),), settings.dose_end, dtype=torch.float64, device=device)
        probability = clean(occupied, dose, lattice)  # (B, K, *L)
        ties = [torch.rand(p.shape, generator=g, device=device) for p, g in zip(probability, generators, strict=True)]
        probability = (probability + TIE_BREAK * torch.stack(ties)).cpu().numpy()
        occupied = occupied.cpu().numpy()
        images = tuple(
            (i, decode(probability[j], occupied[j], wanted[j], config.background, lattice))
            for j, i in enumerate(indices)
        )
        done += 1
        yield Progress(done, total, images)


def in_blocks(function: Fields) -> Fields:
    """``function`` (counts, dose, lattice), called on a fixed number of images at a time, filled up with empty ones."""

    @torch.inference_mode()
    def blockwise(counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        block = max(1, BLOCK_SITES[counts.device.type] // max(lattice.sites, SMALLEST_LATTICE))
        missing = -len(counts) % block
        filled = torch.cat([counts, counts.new_zeros(missing, *counts.shape[1:])])
        doses = torch.cat([dose, dose[:1].expand(missing)])
        parts = [function(c, d, lattice) for c, d in zip(filled.split(block), doses.split(block), strict=True)]
        return torch.cat(parts)[: len(counts)]

    return blockwise
