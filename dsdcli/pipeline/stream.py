"""The samples of a job as they are made: one by one, all in memory, or straight into a file."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from dsdcli.data.journal import Entry, Journal
from dsdcli.data.phases import label_dtype
from dsdcli.data.samples import read_samples
from dsdcli.data.scan import AXES
from dsdcli.data.voxel import sides
from dsdcli.data.writers.sink import appends
from dsdcli.device import free_ram, require
from dsdcli.errors import UsageError
from dsdcli.pipeline.audit import audit_record, model_record
from dsdcli.pipeline.cluster import Cluster, draw_on_cluster
from dsdcli.pipeline.draw import Sample, draw
from dsdcli.pipeline.growing import write_images
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
    unfinished,
    write_all,
)
from dsdcli.pipeline.parts import Part
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.pipeline.unfinished import begin, complete, identity
from dsdcli.pipeline.walks import LONG, WalkFile
from dsdcli.view.sheet import sheet_image

UNPACKED = (".npy", ".mhd", ".vti")  # formats that are not compressed
PACKING = 20  # by how much labels of a rock are compressed at best: Berea sandstone 17, a cathode 8 times

Audit = Callable[[], dict[str, Any]]


@dataclass(eq=False)
class Stream:
    """Samples as they are made: iterate over it once, or `collect` or `save` it.

    Attributes:
        order: what every sample has to hold.
        indices: their numbers in the job.
        whole: samples of the whole job.
        part: which part of it these are, where that has been said.
        shown: phase indices of the first of them, as they are made.
        often: how many of them have each phase at each voxel, int32 (K, *L); None where nobody asks.
        cluster: to make them on, where not here.
    """

    job: Job
    order: Order
    indices: range
    whole: int
    part: Part | None = None
    progress: Progress = unseen
    note: Note = silent
    cluster: Cluster | None = None
    shown: list[np.ndarray] = field(default_factory=list, init=False)
    often: np.ndarray | None = field(default=None, init=False)
    _records: list[dict[str, Any]] = field(default_factory=list, init=False)
    _taken: int = field(default=0, init=False)
    _seconds: float = field(default=0.0, init=False)
    _evaluations: int = field(default=0, init=False)

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
        return (self.often / max(1, self._taken)).astype(np.float32)

    def __iter__(self) -> Iterator[Sample]:
        """Every sample is checked before it is handed out: its counts are those requested."""
        if self._taken:
            raise UsageError("a stream of samples can be read once; ask for a new one")
        if self.cluster:
            raise UsageError("samples come from a cluster in any order; `save` them in a file")
        for batch in self._draw([self.indices]):
            for sample in batch:
                self._take(sample)
                self._records.append(sample.record)
                yield sample

    def _draw(self, ranges: list[range], walk: WalkFile | None = None) -> Iterator[tuple[Sample, ...]]:
        of = self.job, self.order, self.indices.start, ranges, self.progress
        return draw_on_cluster(self.cluster, *of) if self.cluster else draw(*of, walk)

    def _long(self) -> bool:
        """Whether a batch takes so long that the state of its walk is worth keeping."""
        job = self.job
        batch = min(len(self), job.batch) * job.lattice.sites
        return self.cluster is None and (job.settings.evaluations or 0) * job.evaluated * batch >= LONG

    def _take(self, sample: Sample) -> None:
        self._taken += 1
        self._evaluations += sample.evaluations
        self._seconds += sample.seconds
        if self.often is not None:
            for phase, often in enumerate(self.often):
                often += sample.image == phase
        if len(self.shown) < SHEET_SAMPLES:
            self.shown.append(sample.image)

    def about(self) -> dict[str, Any]:
        """The audit record without the entries of the samples."""
        job, config = self.job, self.job.loaded.config
        part: dict[str, Any] = {"job": {"samples": self.whole, "order": self.order.digest}}
        if len(self) < self.whole:
            part["indices"] = [self.indices.start, self.indices.stop]
        if self.part:
            part["part"] = list(self.part)
        if self.cluster:
            part["device"] = self.cluster.device
        if job.material is not None:
            part |= {"class": job.material, "guidance": job.guidance}
        if job.targets is not None:
            part |= {**job.targets.record(), "guidance": job.guidance}
        if job.steer is not None:
            part |= job.steer.record()
        if job.planes:
            part["assumes"] = job.assumed()
            part["planes"] = {axis: model_record(model) for axis, model in zip(AXES, job.planes, strict=True)}
        if self._taken:  # where the rates decide, a mean
            part["evaluations_per_sample"] = round(self._evaluations / self._taken) * job.evaluated
        return audit_record(
            job.loaded,
            job.lattice,
            job.settings,
            job.seed,
            self._seconds,
            config.phases,
            config.voxel_size,
            config.voxel_unit,
            **{**self.order.record(), **part},
        )

    def audit(self) -> dict[str, Any]:
        """The audit record, once every sample has been made.

        Raises:
            UsageError: too early.
        """
        if self._taken < len(self):
            raise UsageError("the audit record is complete only when the stream has been read to its end")
        return {**self.about(), "samples": self._records}

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

    def save(self, path: Path | str, resume: bool = False) -> Written:
        """As `Samples.save`; formats that can grow (.h5, .npy, .zarr) take each sample as it comes.

        A long job keeps what it has made in ``<path>.unfinished`` until all is complete: the samples of every batch,
        and beside it every few minutes the state of the walk that is under way.

        Args:
            resume: go on with what is there, of this same job; begin it where there is nothing.

        Raises:
            UsageError: as `check_output`, or an unfinished job is in the way, or is another one.
            DsdError: the system could not write; what was made of a long job is kept.
        """
        out = check_output(path)
        if out.suffix.lower() == SHEET:
            if resume:
                raise UsageError(f"`resume=True` needs a file of samples; {out} is a sheet alone")
            self.collect()
            return write_all(out, lambda file, extra: None, self.picture, self.audit)
        if resume and (done := complete(out, identity(self.about()))):
            self.note(f"{out} is complete already")
            if self.often is not None:
                self._recount(out)
            return done
        self._check_room(out)
        short = len(self) <= self.job.batch and not self.cluster and not self._long()
        if short and not resume and not unfinished(out).exists():
            return self._write(out, lambda: self, self.audit)
        with begin(out, identity(self.about()), resume, self.note) as (journal, walk):
            for batch in self._draw(journal.missing, walk if self._long() else None):
                journal.add(_entry(sample) for sample in batch)
            records = (record["sample"] for record in journal.records())
            return self._write(out, lambda: self._kept(journal), lambda: {**self.about(), "samples": records})

    def _write(
        self, out: Path, samples: Callable[[], Iterable[Sample]], audit: Callable[[], dict[str, Any]]
    ) -> Written:
        """Write these samples, and what is known once they are written."""
        config, shape = self.job.loaded.config, (len(self), *self.job.lattice.shape)

        def write(file: Path, extra: dict[str, Any]) -> None:
            images = ((sample.index - self.indices.start, sample.image) for sample in samples())
            write_images(file, images, shape, config.phases, config.voxel_size, config.voxel_unit, extra)

        return write_all(out, write, self.picture, audit)

    def _kept(self, journal: Journal) -> Iterator[Sample]:
        for entry in journal:
            about = entry.record
            of = entry.index, entry.image, self.job.loaded.phases, about["sample"]
            sample = Sample(*of, about["evaluations"], about["seconds"])
            self._take(sample)
            yield sample

    def _recount(self, out: Path) -> None:
        """Count what is in a file that is complete."""
        stack = read_samples(out, self.job.loaded.phases).stack
        self._taken = len(stack)
        self.often = np.stack([(stack == phase).sum(0, dtype=np.int32) for phase in range(len(self.job.loaded.phases))])

    def _check_room(self, out: Path) -> None:
        """See that there is room for the samples before they are made."""
        voxels, what = len(self) * self.job.lattice.sites, f"{len(self)} samples in {out}"
        free = shutil.disk_usage(out.absolute().parent).free
        if out.suffix.lower() in UNPACKED:
            needed = voxels * label_dtype(self.job.loaded.phases).itemsize
            require(needed, free, what, "fewer, or .h5", "disk")
        else:
            require(voxels // PACKING, free, what, "fewer", "disk")
        if not appends(out):  # then there are labels beside the stack
            require(2 * voxels, free_ram(), what, "fewer, or .h5, which takes them one by one")


def _entry(sample: Sample) -> Entry:
    about = {"evaluations": sample.evaluations, "seconds": round(sample.seconds, 6), "sample": sample.record}
    return Entry(sample.index, sample.image, about)
