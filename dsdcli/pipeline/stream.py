"""The samples of a job as they are made: one by one, all in memory, or straight into a file."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from dsdcli.data.phases import Phase, label_dtype, to_labels
from dsdcli.data.samples import write_samples
from dsdcli.data.scan import AXES
from dsdcli.data.voxel import sides
from dsdcli.data.writers.sink import appends, open_sink
from dsdcli.device import free_ram, require
from dsdcli.errors import UsageError
from dsdcli.pipeline.audit import audit_record, decoding_record, model_record
from dsdcli.pipeline.job import Job
from dsdcli.pipeline.order import Order
from dsdcli.pipeline.output import (
    SHEET,
    SHEET_FILLINGS,
    SHEET_SAMPLES,
    Honouring,
    Samples,
    Written,
    check_output,
    known_sheet,
    write_all,
)
from dsdcli.pipeline.progress import Progress, unseen
from dsdcli.pipeline.steer import Steer
from dsdcli.sampling.generate import generate, sample_seed
from dsdcli.sampling.sweeps import PlaneSweeps, sweep
from dsdcli.view.sheet import sheet_image


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a job; ``numpy.asarray`` gives its labels (*L).

    Attributes:
        index: its number in the job, which with the job's seed decides it.
        image: phase indices uint8 (*L).
        record: its entry in the audit record: seed, counts requested and achieved, how far the decoding went.
    """

    index: int
    image: np.ndarray
    phases: tuple[Phase, ...]
    record: dict[str, Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        labels = to_labels(self.image, self.phases)
        return labels if dtype is None else labels.astype(dtype)


@dataclass(eq=False)
class Stream:
    """Samples as they are made: iterate over it once, or `collect` or `save` it.

    Attributes:
        order: what every sample has to hold.
        indices: their numbers in the job.
        steer: what they are to have besides; None for nothing.
        shown: phase indices of the first of them, as they are made.
        often: how many of them have each phase at each voxel, int32 (K, *L); None where nobody asks.
    """

    job: Job
    order: Order
    indices: range
    progress: Progress = unseen
    steer: Steer | None = None
    shown: list[np.ndarray] = field(default_factory=list, init=False)
    often: np.ndarray | None = field(default=None, init=False)
    _records: list[dict[str, Any]] = field(default_factory=list, init=False)
    _seconds: float = field(default=0.0, init=False)
    _evaluations: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.order.known is not None:
            self.count()

    def __len__(self) -> int:
        return len(self.indices)

    def count(self) -> None:
        """Keep, from now on, how often each phase takes each voxel."""
        self.often = np.zeros((len(self.job.loaded.phases), *self.job.lattice.shape), np.int32)

    @property
    def frequencies(self) -> np.ndarray:
        """As of `dsdcli.data.samples.Samples`, of the samples made so far.

        Raises:
            UsageError: nobody asked for them before the first.
        """
        if self.often is None:
            raise UsageError("frequencies are counted where voxels are known, or after `count`")
        return (self.often / max(1, len(self._records))).astype(np.float32)

    def __iter__(self) -> Iterator[Sample]:
        """Every sample is checked before it is handed out: its counts are those requested."""
        if self._records:
            raise UsageError("a stream of samples can be read once; ask for a new one")
        job, phases = self.job, self.job.loaded.phases
        names = [phase.name for phase in phases]
        each, batches = None if self.steer else job.settings.evaluations, 0
        self.progress(0, each and each * -(-len(self) // job.batch), "")
        began = time.monotonic()
        order = self.order
        about = {"around": order.known.image, "known": order.known.mask} if order.known else {}
        if isinstance(job.settings, PlaneSweeps):
            models = [model.network for model in job.planes]
            states = sweep(models, order.totals[:, 0], job.lattice, job.settings, job.seed, self.indices, **about)
        else:
            states = generate(
                job.model,
                order.totals,
                job.lattice,
                job.settings,
                job.seed,
                job.batch,
                indices=self.indices,
                cells=order.cells,
                steering=self.steer.steering if self.steer else None,
                kind=job.kind,
                guidance=job.guidance,
                **about,
            )
        for state in states:
            batches += bool(state.finished)
            for index, decoded in state.finished:
                wanted = order.totals[index - self.indices.start]
                achieved = order.check(decoded.image)
                if not np.array_equal(achieved, wanted):
                    raise AssertionError("the decoding missed the requested counts")
                record = {
                    "seed": sample_seed(job.seed, index),
                    "requested": dict(zip(names, wanted.sum(0).tolist(), strict=True)),
                    "achieved": dict(zip(names, achieved.sum(0).tolist(), strict=True)),
                    "decoding": decoding_record(decoded),
                }
                if order.cells is not None:
                    record["cells"] = {name: achieved[:, k].tolist() for k, name in enumerate(names)}
                if job.material is not None:
                    record["class"] = job.material
                if self.steer is not None:
                    record["steered"] = self.steer.achieved(decoded.image)
                self._records.append(record)
                if self.often is not None:
                    for phase, often in enumerate(self.often):
                        often += decoded.image == phase
                if len(self.shown) < SHEET_SAMPLES:
                    self.shown.append(decoded.image)
                yield Sample(index, decoded.image, phases, record)
            self.progress(state.evaluations, state.total, "")
        self._seconds = time.monotonic() - began
        self._evaluations = round(state.evaluations / batches) * job.evaluated  # a mean where only the rates decide

    def audit(self) -> dict[str, Any]:
        """The audit record, once every sample has been made.

        Raises:
            UsageError: too early.
        """
        if self._evaluations is None:
            raise UsageError("the audit record is complete only when the stream has been read to its end")
        job, config = self.job, self.job.loaded.config
        part: dict[str, Any] = {"indices": [self.indices.start, self.indices.stop]} if self.indices.start else {}
        if job.material is not None:
            part |= {"class": job.material, "guidance": job.guidance}
        if self.steer is not None:
            part |= self.steer.record()
        if job.planes:
            part["assumes"] = job.assumed()
            part["planes"] = {axis: model_record(model) for axis, model in zip(AXES, job.planes, strict=True)}
        return audit_record(
            job.loaded,
            job.lattice,
            job.settings,
            job.seed,
            self._seconds,
            config.phases,
            config.voxel_size,
            config.voxel_unit,
            self._records,
            **{"evaluations_per_sample": self._evaluations, **self.order.record(), **part},
        )

    def collect(self) -> Samples:
        """All samples in memory."""
        config, sites = self.job.loaded.config, self.job.lattice.sites
        require(len(self) * sites, free_ram(), f"{len(self)} samples of {sides(self.job.lattice.shape)}", "fewer")
        stack = np.empty((len(self), *self.job.lattice.shape), np.uint8)
        for sample in self:
            stack[sample.index - self.indices.start] = sample.image
        of = stack, config.phases, config.voxel_size, config.voxel_unit, self.audit()
        known = self.order.known
        return Samples(*of) if known is None else Honouring(*of, known.image, known.mask)

    def picture(self) -> Pictures.Image:
        """The sheet of the samples made so far."""
        shown, known, phases = np.stack(self.shown), self.order.known, self.job.loaded.phases
        if known is None:
            return sheet_image(shown, phases)
        return known_sheet(known.image, known.mask, self.frequencies, shown[:SHEET_FILLINGS], phases)

    def save(self, path: Path | str) -> Written:
        """As `Samples.save`; formats that can grow (.h5, .npy, .zarr) take each sample as it comes."""
        out, config = check_output(path), self.job.loaded.config
        voxels = len(self) * self.job.lattice.sites
        if out.suffix.lower() == ".npy":  # the one that is not compressed
            free = shutil.disk_usage(out.absolute().parent).free
            needed = voxels * label_dtype(config.phases).itemsize
            require(needed, free, f"{len(self)} samples in {out}", "fewer, or .h5", "disk")
        elif not appends(out):  # then there are labels beside the stack
            require(
                2 * voxels, free_ram(), f"{len(self)} samples in {out}", "fewer, or .h5, which takes them one by one"
            )

        def write(file: Path, extra: dict[str, Any]) -> None:
            size, unit = config.voxel_size, config.voxel_unit
            if not appends(file):
                write_samples(file, self.collect().stack, config.phases, size, unit, extra)
                return
            about = {"voxel_size": size, "voxel_unit": unit, "extra": extra}
            with open_sink(file, (len(self), *self.job.lattice.shape), config.phases, about) as put:
                for sample in self:
                    put(sample.index - self.indices.start, sample.image)

        if out.suffix.lower() == SHEET:
            self.collect()
        return write_all(out, write, self.picture, self.audit)
