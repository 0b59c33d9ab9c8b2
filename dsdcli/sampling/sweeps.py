"""Volumes from a 2D model: planes of three orientations in turn, each renewed as an image of its own."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from dsdcli.errors import UsageError
from dsdcli.network.model import UndoNet
from dsdcli.process.image import Decoded, assign
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import crop_lengths, level_cut
from dsdcli.sampling.agree import agreed, scattered
from dsdcli.sampling.blocks import InBlocks
from dsdcli.sampling.generate import Progress, sample_seed
from dsdcli.sampling.keeping import Keeper, Kept
from dsdcli.sampling.settle import settle
from dsdcli.sampling.trapezoidal import Trapezoidal

FEW = 2**18  # sites that levels are found on
TURNS = 40


@dataclass(frozen=True)
class PlaneSweeps:
    """Annealed sweeps over the planes of a volume (method.md, section 12).

    Attributes:
        sweeps: how many, over planes across z, y and x in turn.
        dose_start, dose_last: the particles of every plane diffuse by the first in the first sweep, by the last in the
            last, and by a geometric sequence between: a sweep renews what is shorter than sqrt(2 s) and keeps the rest.
        dose_end: where every walk back stops and the decoding takes over. Low, since its smoothing accumulates.
        leaps: of a walk back at most.
        dose_agreed: of the walk after which planes of all orientations decide together (`dsdcli.sampling.agree`).
    """

    sweeps: int = 11
    dose_start: float = 30.0
    dose_last: float = 0.06
    dose_end: float = 0.02
    leaps: int = 4
    dose_agreed: float = 0.2

    name: ClassVar[str] = "sweeps"

    def __post_init__(self) -> None:
        if self.sweeps < 1 or self.leaps < 1:
            raise UsageError("sweeps and leaps must be at least 1")
        if not self.dose_agreed > 0:
            raise UsageError(f"the dose of the last guess must be positive, not {self.dose_agreed}")
        if not self.dose_start >= self.dose_last > self.dose_end > 0:
            raise UsageError("the doses of the sweeps must fall, and end above that of the decoding, above 0")

    def schedule(self) -> list[tuple[float, int]]:
        """Dose and number of leaps of every sweep: a leap for a factor of 3.3 in the dose."""
        doses = np.geomspace(self.dose_start, self.dose_last, self.sweeps).tolist()
        return [(s, min(self.leaps, math.ceil(math.log(s / self.dose_end) / 1.2))) for s in doses]

    @property
    def evaluations(self) -> int:
        """Network evaluations of a volume, each on all planes of one orientation."""
        return sum(2 * leaps + 1 for _, leaps in self.schedule()) + 3


FROM_FAR = PlaneSweeps(17, 150.0, dose_agreed=0.1)  # where voxels are known: the beginning does not know of them


def sweep(
    models: Sequence[UndoNet],
    totals: np.ndarray,
    lattice: Lattice,
    sweeps: PlaneSweeps,
    seed: int,
    indices: range | None = None,
    around: np.ndarray | None = None,
    known: np.ndarray | None = None,
    keeper: Keeper | None = None,
) -> Iterator[Progress]:
    """Draw one volume for every row of ``totals``, with exactly these voxels of each phase, by 2D models.

    Particles that move within planes stay in the volume, so that its counts are exact whatever the planes; planes of
    the other two orientations exchange them.

    Args:
        models: for the planes across each axis, of the same phases, on the device to compute on. One for all takes the
            directions to be alike.
        totals: int64 (n, K).
        lattice: the volume.
        indices, around, known: as in `dsdcli.sampling.generate.generate`; the planes are told what is known of them.
        keeper: of the volume between two sweeps; it goes on from there, and comes out as if it had never been cut.
    """
    device = next(models[0].parameters()).device
    indices = range(len(totals)) if indices is None else indices
    done, total, phases = 0, len(totals) * sweeps.evaluations, len(models[0].config.phases)
    known = np.zeros(lattice.shape, bool) if known is None else known
    for index, wanted in zip(indices, totals, strict=True):
        own = sample_seed(seed, index)
        volume = np.zeros(lattice.shape, np.uint8) if around is None else around.copy()
        free = wanted - np.bincount(volume[known], minlength=phases)
        alone, schedule, begun = range(index, index + 1), sweeps.schedule(), 0
        kept = None if keeper is None else keeper.find(alone)
        if kept is None:
            volume[~known] = begin(models, wanted / lattice.sites, free, lattice, ~known, own)
        else:
            volume, begun = kept.tensors["volume"].numpy().copy(), kept.done
            done += sum(2 * leaps + 1 for _, leaps in schedule[:begun])
            yield Progress(done, total)
        for number, (dose, leaps) in enumerate(schedule[begun:], begun):
            axis = number % lattice.ndim
            planes, told = (np.moveaxis(array, axis, 0) for array in (volume, known))
            plane = Lattice(planes.shape[1:], lattice.boundary)
            seeds = np.random.SeedSequence([own, number]).generate_state(len(planes) + 1, np.uint64) >> np.uint64(1)
            generators = [torch.Generator(device).manual_seed(int(s)) for s in seeds]
            walk = Trapezoidal(leaps, dose_end=sweeps.dose_end)
            renewed: list[Decoded] = []
            for state in renew(models[axis], planes, told, plane, dose, walk, generators):
                renewed, done = state, done + 1
                yield Progress(done, total)
            planes[:] = [one.image for one in renewed]
            if keeper is not None and keeper.due():
                keeper.keep(Kept(alone, number + 1, {"volume": torch.from_numpy(volume)}))
        last = np.random.SeedSequence([own, len(schedule)]).generate_state(lattice.ndim, np.uint64) >> np.uint64(1)
        for made in agreed(models, volume, known, free, lattice, sweeps.dose_agreed, last.tolist()):
            done += 1
            yield Progress(done, total, () if made is None else ((index, made),))


def begin(
    models: Sequence[UndoNet], fractions: np.ndarray, totals: np.ndarray, lattice: Lattice, free: np.ndarray, seed: int
) -> np.ndarray:
    """Phases of the free voxels, with exactly the totals and the two-point correlation of the material: planes cannot
    give each other long waves, since each walks as an image of its own (method.md, section 12).

    Args:
        models: for the planes across each axis; their integral ranges say how far structure reaches.
        fractions: of the volume, (K,).
        totals: of the free voxels, int64 (K,).
        free: bool (*L).
    """
    generator = torch.Generator().manual_seed(seed)
    ranges = torch.tensor([m.config.integral_range for m in models], dtype=torch.float64)
    configs = [model.config for model in models]
    planes = [crop_lengths(r.diagonal(), c.size, c.boundary) for r, c in zip(ranges, configs, strict=True)]
    cut = level_cut(torch.from_numpy(fractions), ranges, torch.stack(planes), lattice, generator)
    fields = cut.numpy()[:, free]
    return assign(fields + _levels(fields, totals)[:, None], totals).astype(np.uint8)


def _levels(fields: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """What is added to fields (K, S) so that each is the largest at about as many sites as it should: (K,). The exact
    assignment has little left to do."""
    some = fields[:, :: max(1, fields.shape[1] // FEW)]
    offset, wanted = np.zeros(len(totals)), totals / max(1, totals.sum())
    for _ in range(TURNS):
        shares = np.bincount((some + offset[:, None]).argmax(0), minlength=len(totals)) / max(1, some.shape[1])
        offset += 2 * (wanted - shares)
    return offset


def renew(
    model: UndoNet,
    planes: np.ndarray,
    known: np.ndarray,
    plane: Lattice,
    dose: float,
    walk: Trapezoidal,
    generators: Sequence[torch.Generator],
) -> Iterator[list[Decoded]]:
    """Let images (n, *L) walk to a dose and back, each with its own counts; yields after every evaluation of the
    network, the images after the last.

    Args:
        known: voxels that stay, bool (n, *L).
        generators: one for the walk there, and one for the way back of every image.
    """
    device, number, phases = next(model.parameters()).device, len(planes), model.phases
    doses = torch.full((number,), dose, dtype=torch.float64, device=device)
    walkers, given = scattered(planes, known, phases, doses, plane, generators[0])
    undo, clean = (InBlocks(head, 0, given) for head in (model.undo, model.clean))
    for state in walk.walk(walkers, phases, undo, plane, dose, generators[1:]):
        walkers = state
        yield []
    counts = np.stack([np.bincount(i[~k], minlength=phases) for i, k in zip(planes, known, strict=True)])[:, None]
    kept = [(image, (~told).astype(np.int64)) for image, told in zip(planes, known, strict=True)]
    yield settle(walkers, counts, clean, walk.dose_end, plane, generators[1:], kept)
