"""Volumes too large for one device: all ranks make each sample together, a slab each, and write it together."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from PIL import Image as Pictures

from dsdcli.data.downsample import majority
from dsdcli.data.writers.ome_zarr import ZarrSamples
from dsdcli.device import pick_device, require
from dsdcli.errors import DsdError, UsageError
from dsdcli.pipeline.audit import decoding_record
from dsdcli.pipeline.generate import stream
from dsdcli.pipeline.job import pick_seed
from dsdcli.pipeline.load import load
from dsdcli.pipeline.output import SHEET_SAMPLES, Written, output, write_all
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.pipeline.stream import Stream
from dsdcli.process.slab import Slab
from dsdcli.ranks import connected, own_device, ranks_here
from dsdcli.sampling.generate import sample_seed
from dsdcli.sampling.slabs import Part, generate_slab
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.view.sheet import sheet_image

SHOWN_SIDE = 256  # of the level of a sample that its sheet shows, at most
DISK = 8  # voxels to a byte, as segmented images are compressed; at least


def in_slabs(
    model: Path | str | None = None,
    out: Path | str | None = None,
    n: int = 1,
    *,
    seed: int | None = None,
    device: str = "auto",
    note: Note = silent,
    progress: Progress = unseen,
    **request: Any,
) -> Written:
    """Make samples one after another, each by all ranks that `torchrun` has started, or by this process alone, and
    write them as OME-Zarr, each rank its own chunks. No rank ever holds a whole sample.

    The samples do not depend on the number of ranks, but they are others than those of `dsdcli.pipeline.generate`.

    Args:
        model: as of `dsdcli.pipeline.load.load`.
        out: a name that ends in .zarr; by default samples.zarr, or the next that is free.
        request: as of `dsdcli.pipeline.generate.stream`: counts of whole samples, size, boundary, class, steps, eta,
            indices and part.

    Raises:
        UsageError: a request that cannot be met, or not in slabs.
        DsdError: a file could not be written, or a rank has ended; then nothing was changed.
    """
    ranks = ranks_here()
    target = own_device(pick_device(device), ranks)
    if not ranks.first:
        note, progress = silent, unseen
    with connected(ranks, target), ExitStack() as held:
        with ranks.together():
            seed = pick_seed(seed)
        seed = int(ranks.text_of_first(str(seed)))
        with ranks.together():
            if out is not None and Path(out).suffix.lower() != ".zarr":
                raise UsageError(f"slabs are written by all ranks, as OME-Zarr; let {out} end in .zarr")
            asked = stream(load(model, device, note), n, seed=seed, ranks=ranks, note=note, **request)
            path = None if out is None else Path(out)
            path = held.enter_context(output(path, "samples.zarr")) if ranks.first else Path("samples.zarr")
            if ranks.first:
                free = shutil.disk_usage(path.absolute().parent).free
                require(len(asked) * asked.job.lattice.sites // DISK, free, f"the samples in {path}", "fewer", "disk")
        assert asked.job.slab is not None  # since ranks were given
        return _Slabs(asked, asked.job.slab, note, progress).write(path)


@dataclass(eq=False)
class _Slabs:
    """The samples of a stream, made and written by all ranks."""

    asked: Stream
    slab: Slab
    note: Note
    progress: Progress
    shown: list[np.ndarray] = field(default_factory=list)  # on the first rank
    records: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def write(self, out: Path) -> Written:
        """The file, its sheet and its record, which the first rank moves to their places when all are there."""
        ranks = self.slab.ranks
        self.note(f"slabs of {self.slab.units} units of {self.slab.unit} rows, on {ranks.count} ranks")
        with ranks.together():
            if ranks.first:
                return write_all(out, self._samples, self._picture, self._audit)
            self._samples(out, {})
        return Written(out, out, out, self._audit())

    def _samples(self, file: Path, extra: dict[str, Any]) -> None:
        ranks, config = self.slab.ranks, self.asked.job.loaded.config
        with ranks.together():
            if ranks.first:
                shape = (len(self.asked), *self.slab.lattice.shape)
                about: dict[str, Any] = {"phases": [asdict(phase) for phase in config.phases], "shape": shape}
                about |= {"voxel_size": config.voxel_size, "voxel_unit": config.voxel_unit, "extra": extra}
                ZarrSamples(file, shape, config.phases, about)
        file = Path(ranks.text_of_first(str(file)))
        with ranks.together():
            try:
                store = ZarrSamples.there(file, config.phases)
            except FileNotFoundError as error:
                raise DsdError(f"rank {ranks.number} cannot see {file}; write to a folder that all share") from error
        evaluations = self.asked.job.settings.evaluations
        total = (evaluations or 0) * len(self.asked)
        self.progress(0, total, "")
        for place, index in enumerate(self.asked.indices):
            began = monotonic()
            for done, part in enumerate(self._walk(place, index), place * (evaluations or 0) + 1):
                self.progress(done, total, "")
                if part is not None:
                    self._keep(place, index, part)
                    self._write(store, place, part.image)
            self.seconds += monotonic() - began

    def _walk(self, place: int, index: int) -> Iterator[Part | None]:
        job = self.asked.job
        assert isinstance(job.settings, Trapezoidal)  # see `Job.in_slabs`
        totals, seed = self.asked.order.totals[place].sum(0), sample_seed(job.seed, index)
        return generate_slab(job.model, totals, self.slab, job.settings, seed, job.kind)

    def _keep(self, place: int, index: int, part: Part) -> None:
        """The entry of a sample in the audit record.

        Raises:
            AssertionError: its counts are not those requested.
        """
        job = self.asked.job
        wanted, names = self.asked.order.totals[place].sum(0), [phase.name for phase in job.loaded.phases]
        achieved = torch.from_numpy(np.bincount(part.image.ravel(), minlength=len(names)))
        self.slab.ranks.add([achieved])
        if achieved.tolist() != wanted.tolist():
            raise AssertionError("the decoding missed the requested counts")
        record = {
            "seed": sample_seed(job.seed, index),
            "requested": dict(zip(names, wanted.tolist(), strict=True)),
            "achieved": dict(zip(names, achieved.tolist(), strict=True)),
            "decoding": decoding_record(part),
        }
        self.records.append(record if job.material is None else {**record, "class": job.material})

    def _write(self, store: ZarrSamples, place: int, image: np.ndarray) -> None:
        """Write a sample, every rank the chunks that begin in its share of each level."""
        slab, rows, cuts, seen = self.slab, image, self.slab.cuts, False
        for level, array in enumerate(store.levels):
            if level:
                rows, cuts = majority(rows, 2, tuple(range(rows.ndim))), [cut // 2 for cut in cuts]
            side, chunk = array.shape[1], array.chunks[1]
            chunks = -(-side // chunk)
            ends = (range(chunks)[each.share(chunks)].stop * chunk for each in slab.others)
            then = [0, *(min(end, side) for end in ends)]
            rows, cuts = self._regrouped(rows, cuts, then), then
            with slab.ranks.together():
                try:
                    store.write_rows(place, level, cuts[slab.ranks.number], rows)
                except OSError as error:
                    raise DsdError(f"cannot write the samples: {error.strerror or error}") from error
            small = max(array.shape[1:]) <= SHOWN_SIDE or level == len(store.levels) - 1
            if small and not seen and place < SHEET_SAMPLES:
                whole = self._regrouped(rows, cuts, [0] + [side] * slab.ranks.count)
                seen = True
                if slab.ranks.first:
                    self.shown.append(whole)

    def _regrouped(self, rows: np.ndarray, now: list[int], then: list[int]) -> np.ndarray:
        return self.slab.regrouped(torch.from_numpy(np.ascontiguousarray(rows)), now, then).numpy()

    def _picture(self) -> Pictures.Image:
        return sheet_image(np.stack(self.shown), self.asked.job.loaded.phases)

    def _audit(self) -> dict[str, Any]:
        slabs = {"ranks": self.slab.ranks.count, "unit": self.slab.unit}
        about = {**self.asked.about(), "seconds": round(self.seconds, 3), "slabs": slabs}
        return {**about, "samples": self.records}
