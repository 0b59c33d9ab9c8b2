"""Generation: from a request to samples with exact counts, as they come or all at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsdcli.data.dataset import Dataset
from dsdcli.errors import UsageError
from dsdcli.pipeline.job import Job, choose_sampler, make_totals, merge_porosity
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.output import Samples
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.pipeline.stream import Stream
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.sweeps import PlaneSweeps


def stream(
    model: LoadedModel,
    n: int = 16,
    *,
    porosity: float | None = None,
    fractions: Mapping[str, float] | None = None,
    counts: Mapping[str, int] | None = None,
    like: Dataset | Path | str | None = None,
    size: tuple[int, ...] | None = None,
    boundary: str | None = None,
    sampler: str | Sampler = "trapezoidal",
    steps: int | None = None,
    eta: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    indices: range | None = None,
    note: Note = silent,
    progress: Progress = unseen,
) -> Stream:
    """Ask for images with exactly these voxels of each phase; they are made when the stream is read.

    Without a request the phases take their volume fractions in the training images.

    Args:
        n: how many.
        porosity: volume fraction of the phase 'pore'.
        fractions: volume fractions by phase; those not named share the rest as in the training images.
        counts: voxels by phase, in every sample.
        like: draw every sample's counts from a random real crop of this dataset.
        size: sides in voxels; by default those of the training crops. Three sides for a 2D model: volumes of planes
            like its images in three orientations, which takes the material to be alike in all directions.
        boundary: "noflux" or "periodic"; by default as trained.
        sampler: name of a registered sampler, or a sampler.
        steps, eta: settings of the sampler, where it is given by name.
        batch: samples computed at a time, which changes memory and speed, not the samples.
        seed: by default a new one.
        indices: make only these samples of the job, one after another: ranges that cover ``range(n)`` make, with one
            seed, the samples of the whole job.
        note, progress: are told what was assumed, and how far the work is.

    Raises:
        UsageError: a request that cannot be met.
        DataError: ``like`` is unreadable or smaller than the samples.
    """
    wanted = merge_porosity(porosity, fractions)
    counts = dict(counts or {})
    if like and (wanted or counts):
        raise UsageError("`like` draws the counts from real crops; leave out `porosity`, `fractions` and `counts`")
    job = Job.of(model, size, boundary, choose_sampler(sampler, steps=steps, eta=eta), seed, batch)
    indices = range(n) if indices is None else indices
    if indices.step != 1 or indices.start < 0 or not len(indices):
        raise UsageError(f"`indices={indices}` must count one by one, from 0 on or later")
    totals = make_totals(job, indices.stop, wanted, counts, like)[indices.start :]
    if isinstance(job.settings, PlaneSweeps):
        note(
            f"WARNING: {model.path.name} has seen 2D images only. The volume is made of planes like them in three "
            "orientations: this assumes that the material is alike in all directions"
        )
    if not (wanted or counts or like):
        note("no phase requested: taking the volume fractions of the training images (see `porosity`, `fractions`)")
    return Stream(job, totals, indices, progress)


def generate(model: LoadedModel, n: int = 16, **request: Any) -> Samples:
    """As `stream`, with all samples at once."""
    return stream(model, n, **request).collect()
