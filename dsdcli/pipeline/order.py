"""What is ordered of every sample: whole numbers of voxels, in all or cell by cell, and voxels that are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.phases import Phase
from dsdcli.errors import UsageError
from dsdcli.pipeline.fields import Map, Profile, by_phase, cells_of, read_map, read_profile, table_of
from dsdcli.pipeline.job import Job
from dsdcli.pipeline.known import Known
from dsdcli.process.cells import Cells
from dsdcli.sampling.counts import resolve_counts
from dsdcli.sampling.sweeps import PlaneSweeps


@dataclass(frozen=True, eq=False)
class Order:
    """An order that can be met.

    Attributes:
        totals: voxels of every phase in every cell of each sample, int64 (n, R, K).
        cells: None where only the whole counts (R = 1).
        known: None where nothing is known.
    """

    totals: np.ndarray
    cells: Cells | None = None
    known: Known | None = None

    def part(self, first: int) -> "Order":
        """Of the samples from ``first`` on."""
        return Order(self.totals[first:], self.cells, self.known)

    def check(self, image: np.ndarray) -> np.ndarray:
        """Voxels of each phase in an image (*L), and in its cells: int64 (R, K).

        Raises:
            AssertionError: a known voxel was changed.
        """
        if self.known is not None and not np.array_equal(image[self.known.mask], self.known.image[self.known.mask]):
            raise AssertionError("a known voxel was changed")
        phases = self.totals.shape[2]
        if self.cells is not None:
            return self.cells.counts(image, phases)
        return np.bincount(image.ravel(), minlength=phases)[None]

    def record(self) -> dict[str, Any]:
        """What the audit record says of it."""
        about: dict[str, Any] = {}
        if self.cells is not None:
            about["cells"] = {"grid": list(self.cells.grid), "edges": [list(edges) for edges in self.cells.edges]}
        if self.known is not None:
            about["known_voxels"] = int(self.known.mask.sum())
        return about


def make_order(
    job: Job,
    number: int,
    fractions: Mapping[str, float],
    counts: Mapping[str, int],
    like: Dataset | Path | str | None,
    known: Known | None = None,
    profiles: Mapping[str, Profile] | None = None,
    fields: Mapping[str, Map] | None = None,
    exact_in: int | None = None,
) -> Order:
    """The order of ``number`` samples; without a request the voxels that are not known take their volume fractions in
    the training images.

    Raises:
        UsageError: a request that cannot be met.
        DataError: a file is unreadable, or ``like`` smaller than the samples.
    """
    config, lattice = job.model.config, job.lattice
    if like is not None and (fractions or counts or profiles or fields):
        raise UsageError(
            "`like` draws the counts from real crops; leave out `porosity`, `fractions`, `counts`, `profile`, `field`"
        )
    maps = {name: read_profile(profile, lattice.shape) for name, profile in (profiles or {}).items()}
    for name, source in (fields or {}).items():
        if name in maps:
            raise UsageError(f"'{name}' has a profile and a field; give one of them")
        maps[name] = read_map(source, lattice.shape)
    cells = None
    if maps or exact_in is not None:
        if isinstance(job.settings, PlaneSweeps):
            raise UsageError("a 2D model makes volumes plane by plane, which keeps no counts of cells; take a 3D model")
        cells = cells_of(list(maps.values()), lattice.shape, exact_in, lattice.boundary)
    if like is not None:
        totals = _totals_like(job, number, like, cells)
    elif cells is not None:
        if counts:
            raise UsageError("`counts` are those of a whole sample; with cells of their own give `fractions` instead")
        table = table_of(by_phase(maps, fractions, config.phases), cells, config.fractions)
        totals = np.tile(table, (number, 1, 1))
    elif known is not None and not (fractions or counts):
        rest = resolve_counts(config.phases, int((~known.mask).sum()), {}, {}, config.fractions)
        whole = rest + np.bincount(known.image[known.mask], minlength=len(config.phases))
        totals = np.tile(whole, (number, 1, 1))
    else:
        whole = resolve_counts(config.phases, lattice.sites, fractions, counts, config.fractions)
        totals = np.tile(whole, (number, 1, 1))
    if known is not None:
        _agree(known, totals, cells, [phase.name for phase in config.phases])
    return Order(totals, cells, known)


def _agree(known: Known, totals: np.ndarray, cells: Cells | None, names: Sequence[str]) -> None:
    """Raises UsageError where more voxels of a phase are known than the order has."""
    labels = np.ones(known.mask.shape, np.int64) if cells is None else cells.labels
    flat = (labels[known.mask] - 1) * len(names) + known.image[known.mask]
    held = np.bincount(flat, minlength=totals.shape[1] * len(names)).reshape(-1, len(names))
    lacking = held - totals.reshape(len(totals), *held.shape).min(0)
    if (lacking > 0).any():
        cell, phase = map(int, np.unravel_index(lacking.argmax(), lacking.shape))
        where = "a sample" if cells is None else f"the cell that begins at {cells.corner(cell)}"
        raise UsageError(
            f"{where} is to have {int(held[cell, phase] - lacking[cell, phase])} voxels of '{names[phase]}', but "
            f"{int(held[cell, phase])} are known, {int(lacking[cell, phase])} too many; ask for more of it there"
        )


def _totals_like(job: Job, number: int, like: Dataset | Path | str, cells: Cells | None) -> np.ndarray:
    """Voxels of every phase in random real crops: int64 (n, R, K)."""
    config = job.model.config
    dataset = like if isinstance(like, Dataset) else Dataset.open(like)
    table = _translation(dataset, config.phases)
    crops = dataset.crops("train", number, job.lattice.shape, np.random.default_rng(job.seed))
    phases = len(config.phases)
    if cells is not None:
        return np.stack([cells.counts(table[crop], phases) for crop in crops])
    return np.stack([np.bincount(table[crop].ravel(), minlength=phases) for crop in crops])[:, None]


def _translation(dataset: Dataset, phases: Sequence[Phase]) -> np.ndarray:
    """Index in the model of every phase of the dataset."""
    names, own = [phase.name for phase in dataset.phases], [phase.name for phase in phases]
    if sorted(names) != sorted(own):
        raise UsageError(f"`like`: {dataset.path} has the phases {', '.join(names)}, the model {', '.join(own)}")
    return np.array([own.index(name) for name in names], np.uint8)
