"""Generation: from a request to samples with exact counts, as they come or all at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsdcli.data.dataset import Dataset
from dsdcli.data.scan import read_scan
from dsdcli.errors import UsageError
from dsdcli.pipeline.cluster import Cluster
from dsdcli.pipeline.fields import Map, Profile
from dsdcli.pipeline.intensity import generate_intensities
from dsdcli.pipeline.intensity_samples import IntensitySamples
from dsdcli.pipeline.job import Job, choose_sampler, merge_porosity
from dsdcli.pipeline.known import Core, Source, known_size, read_known
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.order import make_order
from dsdcli.pipeline.output import Samples
from dsdcli.pipeline.parts import part_indices
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.pipeline.steer import Wanted, make_steer
from dsdcli.pipeline.stream import Stream
from dsdcli.pipeline.target import make_targets
from dsdcli.ranks import Ranks
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.steering import steerable
from dsdcli.sampling.trapezoidal import Trapezoidal

MOST_SAMPLES = 10**15


def stream(
    model: LoadedModel,
    n: int = 16,
    *,
    porosity: float | None = None,
    fractions: Mapping[str, float] | None = None,
    counts: Mapping[str, int] | None = None,
    like: Dataset | Path | str | None = None,
    size: tuple[int, ...] | None = None,
    planes: Mapping[str, LoadedModel] | None = None,
    boundary: str | None = None,
    profile: Mapping[str, Profile] | None = None,
    field: Mapping[str, Map] | None = None,
    exact_in: int | None = None,
    known: Source | None = None,
    unknown: int | None = None,
    known_slices: Sequence[tuple[str, Source]] = (),
    known_cores: Sequence[Core] = (),
    extend: Mapping[str, tuple[int, int]] | None = None,
    phases: Mapping[str, int] | Sequence[tuple[str, int]] = (),
    steer: Mapping[str, Wanted] | None = None,
    walkers: int | None = None,
    target: Mapping[str, float] | None = None,
    class_name: str | None = None,
    guidance: float | None = None,
    sampler: str | Sampler | None = None,
    steps: int | None = None,
    eta: float | None = None,
    grid: str | None = None,
    tolerance: float | None = None,
    sweeps: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    indices: range | None = None,
    part: tuple[int, int] | None = None,
    ranks: Ranks | None = None,
    scheduler: str | None = None,
    device: str = "auto",
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
        like: draw every sample's counts from a random real crop of this dataset; with ``exact_in`` those of cells, also
            of samples that are larger than its images.
        size: sides in voxels; by default those of the training crops. Three sides for a 2D model: volumes of planes
            like its images in three orientations, which takes the material to be alike in all directions.
        planes: of such a volume, other 2D models for the planes across "z", "y" or "x".
        boundary: "noflux" or "periodic"; by default as trained.
        profile: by phase, an axis ("z", "y", "x") and volume fractions along it: of the first and the last voxel, of
            equal slabs, or a CSV file; see `dsdcli.pipeline.fields.read_profile`.
        field: by phase, a map of volume fractions, as fine as the voxels or coarser: a file or an array.
        exact_in: side of the cells in which the voxels of every phase are exactly those that the fields imply, or, with
            ``like``, such as real cells have; by default the cells of the map, where they are 8 voxels wide or more.
        known: a file or array of labels that every sample keeps, voxel by voxel, but where it has ``unknown``.
        known_slices: planes that are known, such as ("z:12", file).
        known_cores: discs or columns that are known: centre (y, x), radius and image.
        extend: voxels by which the samples reach beyond ``known``, before and behind it, by axis.
        phases: label of a phase of the model in what is known; by default those of the model.
        steer: numbers that the samples are to have, in the units of `evaluate`, by name (as
            `dsdcli.evaluation.quantity.Quantity.of` has it): ``{"interface": 0.05}``, or with a tolerance, which is
            2 % otherwise, ``{"diffusivity.pore.z": (0.1, 0.005)}``.
        walkers: of each sample, of which the best placed go on; 8 where there is something to steer to.
        target: numbers that the samples are to have, as of ``steer``, of a model that was trained with them
            (`condition` of `dsdcli.train`): ``{"interface": 0.05}``.
        class_name: material of the samples, of a model of several; by default any of them.
        guidance: how much class and target count: 1 as trained, more to exaggerate what sets them apart.
        sampler: name of a registered sampler, or a sampler; by default "trapezoidal", or "adaptive" with a tolerance.
        steps, eta, grid, tolerance: settings of the sampler, where it is given by name.
        sweeps: over the planes of a volume by 2D models; more of them smooth, fewer leave specks.
        batch: samples computed at a time, which changes memory and speed, not the samples.
        seed: by default a new one.
        indices: make only these samples of the job, one after another: ranges that cover ``range(n)`` make, with one
            seed, the samples of the whole job.
        part: (3, 10) makes the third of ten such ranges, which are as equal as can be.
        ranks: that make each sample together; what `dsdcli.pipeline.slabs.in_slabs` asks for.
        scheduler: address of a dask cluster that makes the samples when the stream is saved.
        device: where its workers compute: cpu, cuda or auto.
        note, progress: are told what was assumed, and how far the work is.

    Raises:
        UsageError: a request that cannot be met.
        DataError: ``like`` is unreadable or too small.
    """
    if model.config.species:
        raise UsageError(f"{model.path.name} makes intensities, which come all at once: use `generate`")
    wanted = merge_porosity(porosity, fractions)
    counts = dict(counts or {})
    config, named = model.config, list(phases.items()) if isinstance(phases, Mapping) else phases
    settings = {"steps": steps, "eta": eta, "grid": grid, "tolerance": tolerance}
    asked = sampler is not None or any(value is not None for value in settings.values())
    chosen = choose_sampler(sampler, Trapezoidal.usual(config.ndim).steps, **settings)
    ndim = len(size) if size else config.ndim
    if known is None and unknown is not None:
        raise UsageError("`unknown` is a label in an image; give it by `known`")
    scan = None if known is None else read_scan(known, config.phases, ndim, named, None, unknown)
    size = size or known_size(scan, extend or {})
    steer_to = make_steer(steer, walkers, config, ndim, str(model.device))
    if steer_to is not None:
        if ndim > config.ndim:
            raise UsageError("a 2D model makes volumes plane by plane, which `steer` cannot follow; take a 3D model")
        if scheduler is not None:
            raise UsageError("`scheduler` cannot steer: its workers measure nothing; make parts of the job by `part`")
        steerable(chosen)
    cluster = None if scheduler is None else Cluster.at(scheduler, device)
    workers = (cluster.device, cluster.free) if cluster else None
    job = Job.of(model, size, boundary, chosen if asked else None, seed, batch, planes, workers, steer_to)
    targets = make_targets(target, config, model.path.name, ndim, str(model.device), note)
    job = job.towards(class_name, targets, guidance)
    told = read_known(job.lattice.shape, config.phases, scan, known_slices, known_cores, extend, named)
    job = (job.knowing() if told else job).swept(sweeps)
    if ranks is not None:
        if told or profile or field or exact_in is not None:
            raise UsageError("slabs have exact counts in all; leave out `profile`, `field`, `exact_in` and `known`")
        job = job.in_slabs(ranks)
    for line in told.notes if told else ():
        note(f"note: {line}")
    if n > MOST_SAMPLES:
        raise UsageError(f"`n={n}`: a job has {MOST_SAMPLES} samples at most")
    if part is not None:
        if indices is not None:
            raise UsageError("`part` and `indices` say the same thing; give one")
        indices = part_indices(part, n)
    indices = range(n) if indices is None else indices
    if indices.step != 1 or indices.start < 0 or not len(indices):
        raise UsageError(f"`indices={indices}` must count one by one, from 0 on or later")
    whole = max(n, indices.stop)
    order = make_order(job, whole, indices, wanted, counts, like, told, profile, field, exact_in)
    for line in order.notes:
        note(f"note: {line}")
    if job.planes:
        note(f"WARNING: {job.assumed()}")
    if not (wanted or counts or like or profile or field):
        note("no phase requested: taking the volume fractions of the training images (see `porosity`, `fractions`)")
    return Stream(job, order, indices, whole, part, progress, note, cluster)


def generate(model: LoadedModel, n: int = 16, **request: Any) -> Samples | IntensitySamples:
    """As `stream`, with all samples at once; of a model of intensities as
    `dsdcli.pipeline.intensity.generate_intensities`."""
    if model.config.species:
        return generate_intensities(model, n, **request)
    for name in ("totals", "means"):
        if request.pop(name, None):
            raise UsageError(f"`{name}` is of intensities; {model.path.name} makes segmented images: use `counts`")
    return stream(model, n, **request).collect()
