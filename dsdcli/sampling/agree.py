"""What planes of all orientations say of a volume together: its decoding in three dimensions."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dsdcli.network.model import NOTHING, Given, UndoNet
from dsdcli.process.image import Decoded, decode, one_hot, place
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, diffuse
from dsdcli.sampling.blocks import InBlocks
from dsdcli.sampling.settle import RARE


def scattered(
    planes: np.ndarray, known: np.ndarray, phases: int, doses: torch.Tensor, plane: Lattice, generator: torch.Generator
) -> tuple[Particles, Given]:
    """Where the voxels of planes (n, *L) are after doses (n,), and what the network is told of them: those that are
    known, bool (n, *L)."""
    images = torch.from_numpy(planes.copy()).to(doses.device)
    voxels, given = one_hot(images, phases), NOTHING
    if known.any():
        given = Given(voxels & torch.from_numpy(known.copy()).to(doses.device)[:, None])
    return diffuse(place(voxels), doses, plane, generator), given


def agreed(
    models: Sequence[UndoNet],
    volume: np.ndarray,
    known: np.ndarray,
    totals: np.ndarray,
    lattice: Lattice,
    dose: float,
    seeds: Sequence[int],
) -> Iterator[Decoded | None]:
    """The volume that is most probable to its planes across all axes, with exactly the totals (method.md, section 12).

    The planes of an orientation walk to a dose, and the network guesses each of them: a speck that one of them takes
    for a pore of its own is none unless the planes across it see it too. The geometric mean of the probabilities is
    what is decoded.

    Args:
        models: for the planes across each axis.
        volume: phase indices, uint8 (*L); ``known``: voxels that stay, bool (*L).
        totals: of the free voxels, int64 (K,).
        seeds: of the walks, one an axis.

    Yields:
        None after every evaluation of the network on the planes across an axis but the last, then the volume.
    """
    device, phases = next(models[0].parameters()).device, models[0].phases
    log_p = np.zeros((phases, *lattice.shape))
    for axis, (model, seed) in enumerate(zip(models, seeds, strict=True)):
        planes, told = (np.moveaxis(array, axis, 0) for array in (volume, known))
        plane, generator = Lattice(planes.shape[1:], lattice.boundary), torch.Generator(device).manual_seed(seed)
        doses = torch.full((len(planes),), dose, dtype=torch.float64, device=device)
        walkers, given = scattered(planes, told, phases, doses, plane, generator)
        counts = walkers.occupancy(plane, len(planes), phases)
        guess = InBlocks(model.clean, 0, given)(counts, doses, plane)
        log_p += np.moveaxis(guess.clamp_min(RARE).log().cpu().numpy(), (1, 0), (0, axis + 1))
        if axis < lattice.ndim - 1:
            yield None
    occupied = np.moveaxis(counts.cpu().numpy(), (1, 0), (0, lattice.ndim))
    mean = torch.from_numpy(log_p / lattice.ndim).softmax(0).numpy()
    yield decode(mean, occupied, totals[None], lattice, volume, (~known).astype(np.int64))
