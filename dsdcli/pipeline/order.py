"""What is ordered of every sample: whole numbers of voxels, in all or cell by cell, and voxels that are known."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.phases import Phase, find_phase
from dsdcli.data.voxel import sides
from dsdcli.device import free_ram, require
from dsdcli.errors import UsageError
from dsdcli.pipeline.fields import Map, Profile, by_phase, cells_of, read_map, read_profile, table_of
from dsdcli.pipeline.job import Job
from dsdcli.pipeline.known import Known
from dsdcli.process.cells import Cells
from dsdcli.process.image import count_parts
from dsdcli.sampling.cell_counts import BlockField
from dsdcli.sampling.counts import resolve_counts
from dsdcli.sampling.generate import sample_seed
from dsdcli.sampling.sweeps import PlaneSweeps

COUNTS = 1  # what sets the random numbers of a sample's counts apart from those of its walk
CLIPPED = 0.01  # of a spectrum, from which a user is told of it


@dataclass(frozen=True, eq=False)
class Order:
    """An order that can be met.

    Attributes:
        totals: voxels of every phase in every cell of each sample, int64 (n, R, K).
        cells: None where only the whole counts (R = 1).
        known: None where nothing is known.
        like: digest of the dataset that gave the counts; None where all samples have the same.
        way: how it gave them.
        notes: what a user should know of it.
    """

    totals: np.ndarray
    cells: Cells | None = None
    known: Known | None = None
    like: str | None = None
    way: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def part(self, first: int, stop: int | None = None) -> "Order":
        """Of the samples from ``first`` on, before ``stop``."""
        return replace(self, totals=self.totals[first:stop])

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what is asked of every sample: equal for all parts of a job."""
        cells, known = self.cells and self.cells.edges, self.known
        found = hashlib.sha256(json.dumps([self.like, cells]).encode())
        for array in ([] if self.like else [self.totals[0]]) + ([known.image, known.mask] if known else []):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

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
        if self.way is not None:
            about["like"] = {"dataset_digest": self.like, **self.way}
        return about


def make_order(
    job: Job,
    number: int,
    indices: range,
    fractions: Mapping[str, float],
    counts: Mapping[str, int],
    like: Dataset | Path | str | None,
    known: Known | None = None,
    profiles: Mapping[str, Profile] | None = None,
    fields: Mapping[str, Map] | None = None,
    exact_in: int | None = None,
) -> Order:
    """The order of the samples ``indices`` among ``number``; without a request the voxels that are not known take their
    volume fractions in the training images.

    Raises:
        UsageError: a request that cannot be met.
        DataError: a file is unreadable, or ``like`` too small.
    """
    if number < 1:
        raise UsageError(f"`n={number}`: at least 1 is needed")
    job.check_memory(len(indices))
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
    cells, crops_of, way = None, None, None
    notes: tuple[str, ...] = ()
    if maps or exact_in is not None:
        if isinstance(job.settings, PlaneSweeps):
            raise UsageError("a 2D model makes volumes plane by plane, which keeps no counts of cells; take a 3D model")
        cells = cells_of(list(maps.values()), lattice.shape, exact_in, lattice.boundary)
    if like is not None:
        dataset = (like if isinstance(like, Dataset) else Dataset.open(like)).segmented()
        if job.material in dataset.classes:
            dataset = dataset.of_class(job.material)
        crops_of = dataset.digest
        if cells is None or any(part.holds("train", lattice.shape) for part in dataset.materials):
            totals, way = _totals_like(job, number, indices, dataset, cells), {"counts": "of random real crops"}
        else:
            totals, way, notes = _totals_drawn(job, indices, dataset, cells)
    elif cells is not None:
        if counts:
            raise UsageError("`counts` are those of a whole sample; with cells of their own give `fractions` instead")
        table = table_of(by_phase(maps, fractions, config.phases), cells, job.typical)
        totals = np.broadcast_to(table, (len(indices), *table.shape))
    else:
        whole = _whole(job, fractions, counts, known)
        totals = np.broadcast_to(whole, (len(indices), 1, len(whole)))
    if known is not None:
        _agree(known, totals, cells, [phase.name for phase in config.phases])
    return Order(totals, cells, known, crops_of, way, notes)


def _whole(job: Job, fractions: Mapping[str, float], counts: Mapping[str, int], known: Known | None) -> np.ndarray:
    """Voxels of every phase in a sample, (K,). Those not asked for share what is neither known nor asked for."""
    phases, sites, typical = job.loaded.phases, job.lattice.sites, job.typical
    if known is None or len({*fractions, *counts}) == len(phases):
        return resolve_counts(phases, sites, fractions, counts, typical)
    wanted = resolve_counts(phases, sites, fractions, counts, typical)  # checks what is asked for
    held = np.bincount(known.image[known.mask], minlength=len(phases))
    open_ = {}
    for name in (*fractions, *counts):
        index = find_phase(phases, name)
        if held[index] > wanted[index]:
            raise _too_many("a sample", name, int(wanted[index]), int(held[index]))
        open_[name] = int(wanted[index] - held[index])
    return held + resolve_counts(phases, int((~known.mask).sum()), {}, open_, typical)


def _too_many(where: str, name: str, wanted: int, held: int) -> UsageError:
    return UsageError(
        f"{where} is to have {wanted} voxels of '{name}', but {held} are known, {held - wanted} too many; "
        "ask for more of it there"
    )


def _agree(known: Known, totals: np.ndarray, cells: Cells | None, names: Sequence[str]) -> None:
    """Raises UsageError where more voxels of a phase are known than the order has."""
    labels = np.ones(known.mask.shape, np.int64) if cells is None else cells.labels
    held = count_parts(known.image[known.mask], labels[known.mask], totals.shape[1], len(names))
    lacking = held - totals.min(0)
    if (lacking > 0).any():
        cell, phase = map(int, np.unravel_index(lacking.argmax(), lacking.shape))
        where = "a sample" if cells is None else f"the cell that begins at {cells.corner(cell)}"
        known_here = int(held[cell, phase])
        raise _too_many(where, names[phase], known_here - int(lacking[cell, phase]), known_here)


def _totals_like(job: Job, number: int, indices: range, dataset: Dataset, cells: Cells | None) -> np.ndarray:
    """Voxels of every phase in random real crops, those of ``indices`` among ``number``: int64 (n, R, K)."""
    config = job.model.config
    table, phases = _translation(dataset, config.phases), len(config.phases)
    crops = dataset.each_crop("train", number, job.lattice.shape, np.random.default_rng(job.seed), indices)
    if cells is not None:
        return np.stack([cells.counts(table[crop], phases) for crop in crops])
    return np.stack([np.bincount(table[crop].ravel(), minlength=phases) for crop in crops])[:, None]


def _totals_drawn(
    job: Job, indices: range, dataset: Dataset, cells: Cells
) -> tuple[np.ndarray, dict[str, Any], tuple[str, ...]]:
    """Voxels of every phase in cells that vary as the blocks of the dataset do, int64 (n, R, K); how, and notes."""
    if len(dataset.materials) > 1:
        raise UsageError(
            f"no crop of {dataset.path} is as large as the samples, and it has several materials; give `class_name`, "
            "or a dataset of one"
        )
    ndim, table = len(cells.shape), _translation(dataset, job.model.config.phases)
    views = [view for image in dataset.train for view in dataset.views(image, ndim)]
    field = BlockField.of(views, cells, len(table))
    require(field.memory, free_ram(), f"a field of {sides(field.torus)} cells", "a larger `exact_in`")
    rngs = (np.random.default_rng([sample_seed(job.seed, index), COUNTS]) for index in indices)
    totals = np.stack([field.draw(rng)[:, np.argsort(table)] for rng in rngs])
    note = (
        f"the samples are larger than the images of {dataset.path}: the counts of cells are drawn from a Gaussian "
        "field with the covariance of their blocks"
    )
    if field.clipped > CLIPPED:
        note += f", of whose spectrum {100 * field.clipped:.1f} % were negative and are left out"
    way = {"counts": "by a Gaussian field with the covariance of blocks", "clipped": round(field.clipped, 6)}
    return totals, way, (note,)


def _translation(dataset: Dataset, phases: Sequence[Phase]) -> np.ndarray:
    """Index in the model of every phase of the dataset."""
    names, own = [phase.name for phase in dataset.phases], [phase.name for phase in phases]
    if sorted(names) != sorted(own):
        raise UsageError(f"`like`: {dataset.path} has the phases {', '.join(names)}, the model {', '.join(own)}")
    return np.array([own.index(name) for name in names], np.uint8)
