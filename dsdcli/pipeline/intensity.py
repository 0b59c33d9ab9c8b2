"""Intensities for a user: samples and fillings with exactly the requested total of every channel."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.intensity import read_counts
from dsdcli.data.scan import box_mask, disk_mask, read_mask
from dsdcli.data.species import Species, channels, find_species
from dsdcli.data.voxel import sides
from dsdcli.device import free_memory
from dsdcli.errors import DataError, UsageError
from dsdcli.network.intensity import IntensityNet
from dsdcli.pipeline.audit import audit_record
from dsdcli.pipeline.intensity_samples import IntensitySamples
from dsdcli.pipeline.job import Job, choose_sampler, pick_seed
from dsdcli.pipeline.model import LoadedModel
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice, as_boundary
from dsdcli.process.rounding import Rounded
from dsdcli.sampling.adaptive import Adaptive
from dsdcli.sampling.blocks import fitting_batch
from dsdcli.sampling.corrector import Corrector
from dsdcli.sampling.counts import largest_remainder
from dsdcli.sampling.intensity import DOSE_END, generate_counts
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.sweeps import PlaneSweeps
from dsdcli.sampling.trapezoidal import Trapezoidal


def resolve_totals(
    species: Sequence[Species],
    sites: int,
    totals: Mapping[str, int],
    means: Mapping[str, float],
    typical: Sequence[float],
) -> np.ndarray:
    """Particles of every species that meet the request, int64 (C,); those not named have their ``typical`` mean count.

    Raises:
        UsageError: an unknown channel, one named twice, or more particles than the sites hold.
    """
    wanted = np.floor(np.array(typical) * sites + 0.5).astype(np.int64)
    if twice := totals.keys() & means.keys():
        raise UsageError(f"channel '{min(twice)}' is given both a total and a mean; give one")
    for name, value in [*totals.items(), *((name, mean * sites) for name, mean in means.items())]:
        channel = find_species(species, name)
        most = species[channel].cap * sites
        if not 0 <= value <= most:
            raise UsageError(
                f"channel '{name}': a total of {value:.15g} on {sites} sites of at most {species[channel].cap} each; "
                f"it must lie between 0 and {most}"
            )
        wanted[channel] = int(np.floor(value + 0.5))
    return np.minimum(wanted, [each.cap * sites for each in species])


def generate_intensities(
    model: LoadedModel,
    n: int = 16,
    *,
    totals: Mapping[str, int] | None = None,
    means: Mapping[str, float] | None = None,
    like: Dataset | Path | str | None = None,
    size: tuple[int, ...] | None = None,
    boundary: str | None = None,
    class_name: str | None = None,
    guidance: float | None = None,
    sampler: str | Sampler | None = None,
    steps: int | None = None,
    eta: float | None = None,
    grid: str | None = None,
    tolerance: float | None = None,
    batch: int | None = None,
    seed: int | None = None,
    indices: range | None = None,
    note: Note = silent,
    progress: Progress = unseen,
    **others: Any,
) -> IntensitySamples:
    """Intensities with exactly these totals; without a request the mean counts of the training images.

    Args:
        totals, means: particles by channel, in all or for each voxel.
        like: draw every sample's totals from a random real crop of this dataset.
        size, boundary, class_name, guidance, batch, seed, indices, note, progress: as of
            `dsdcli.pipeline.generate.stream`.
        sampler, steps, eta, grid, tolerance: as of the same.

    Raises:
        UsageError: a request that cannot be met, or one of phases.
    """
    if strange := [name for name, value in others.items() if value]:
        raise UsageError(f"`{strange[0]}` is of segmented images; {model.path.name} makes intensities")
    if n < 1:
        raise UsageError(f"`n={n}`: at least 1 is needed")
    totals, means = dict(totals or {}), dict(means or {})
    if like is not None and (totals or means):
        raise UsageError("`like` draws the totals from real crops; leave out `totals` and `means`")
    if size is not None and len(size) != model.config.ndim:
        raise UsageError(f"{model.path.name} makes {model.config.ndim}D images; `size={size}` has another dimension")
    settings = _sampler(sampler, steps=steps, eta=eta, grid=grid, tolerance=tolerance)
    job = Job.of(model, size, boundary, settings, seed, batch).towards(class_name, None, guidance)
    indices = range(n) if indices is None else indices
    config, lattice = model.config, job.lattice
    if like is not None:
        wanted = _totals_like(like, job, max(n, indices.stop), indices)
    else:
        whole = resolve_totals(config.species, lattice.sites, totals, means, job.typical)
        wanted = np.tile(whole, (len(indices), 1))
        if not (totals or means):
            note("no total requested: taking the mean counts of the training images (see `totals`, `means`)")
    stack, more, seconds = _draw(model, wanted[:, None], lattice, job, progress, indices=indices)
    names = [each.name for each in config.species]
    samples = []
    for index, image, own, how in zip(indices, stack, wanted, more, strict=True):
        achieved = image.reshape(len(names), -1).sum(1)
        if not np.array_equal(achieved, own):
            raise AssertionError("a sample missed its totals")
        about = {"index": index} | ({} if job.material is None else {"class": job.material})
        samples.append(about | _record(names, own, achieved) | {"decoding": how})
    audit = _audit(model, lattice, job, seconds, samples)
    return IntensitySamples(stack, config.species, config.voxel_size, config.voxel_unit, audit)


def inpaint_intensities(
    model: LoadedModel,
    image: np.ndarray | str | Path,
    n: int = 16,
    *,
    masks: Sequence[np.ndarray | str | Path] = (),
    boxes: Sequence[Sequence[tuple[int, int]]] = (),
    disks: Sequence[Sequence[float]] = (),
    keep: bool = False,
    totals: Mapping[str, int] | None = None,
    means: Mapping[str, float] | None = None,
    boundary: str = "noflux",
    class_name: str | None = None,
    guidance: float | None = None,
    sampler: str | Sampler = "trapezoidal",
    steps: int | None = None,
    eta: float | None = None,
    seed: int | None = None,
    note: Note = silent,
    progress: Progress = unseen,
    **others: Any,
) -> IntensitySamples:
    """Fill holes in an image of intensities, with the totals that it has there or with those declared for all holes
    together, which are shared by size; nothing outside is changed.

    Args:
        image: a file, or counts (*L) or (C, *L).
        masks, boxes, disks, keep, boundary, sampler, steps, eta, seed, note, progress: as of
            `dsdcli.pipeline.inpaint.inpaint`.
        totals, means, class_name, guidance: as of `generate_intensities`.

    Raises:
        UsageError: a request that cannot be met, or one of phases.
        DataError: an image that cannot be used.
    """
    if strange := [name for name, value in others.items() if value]:
        raise UsageError(f"`{strange[0]}` is of segmented images; {model.path.name} fills intensities")
    if not (len(masks) or len(boxes) or len(disks)):
        raise UsageError("nothing says what to fill; give `masks`, `boxes` or `disks`")
    totals, means = dict(totals or {}), dict(means or {})
    if keep and (totals or means):
        raise UsageError("`keep=True` takes the totals from the image; leave out `totals` and `means`")
    config = model.config
    around = _read_image(image, config.species, config.ndim)
    shape = around.shape[1:]
    found = [read_mask(mask, shape, None)[0] for mask in masks]
    found += [box_mask(box, shape) for box in boxes] + [disk_mask(disk, shape) for disk in disks]
    mask = np.logical_or.reduce(found)
    if not mask.any() or mask.all():
        raise UsageError("the mask is empty, or covers the whole image; mark the voxels to fill, and leave some")
    hole = Hole(shape, as_boundary(boundary), mask=mask)
    job = Job.of(model, shape, boundary, _sampler(sampler, steps=steps, eta=eta), pick_seed(seed), None)
    job = job.towards(class_name, None, guidance)
    sizes = np.bincount(hole.parts.ravel())[1:]
    held = np.stack([around[:, hole.parts == part].sum(1) for part in range(1, len(sizes) + 1)])  # (R, C)
    if totals or means:
        typical = held.sum(0) / sizes.sum()
        whole = resolve_totals(config.species, int(sizes.sum()), totals, means, typical)
        held = np.stack([largest_remainder(sizes / sizes.sum(), int(total)) for total in whole], 1)
    wanted = np.tile(held, (n, 1, 1))
    stack, more, seconds = _draw(model, wanted, hole, job, progress, around=around)
    names, samples = [each.name for each in config.species], []
    for filled, how in zip(stack, more, strict=True):
        achieved = np.stack([filled[:, hole.parts == part].sum(1) for part in range(1, len(sizes) + 1)])
        if not np.array_equal(achieved, held) or not np.array_equal(filled[:, ~mask], around[:, ~mask]):
            raise AssertionError("a filling missed its totals or changed a voxel outside the hole")
        samples.append(_record(names, held.sum(0), achieved.sum(0)) | {"decoding": how})
    more_about = {"filled_voxels": int(mask.sum()), "holes": len(sizes)}
    audit = _audit(model, hole, job, seconds, samples, **more_about)
    return IntensitySamples(stack, config.species, config.voxel_size, config.voxel_unit, audit)


def _sampler(sampler: str | Sampler | None, **settings: float | str | None) -> Sampler:
    """The sampler; those of long leaps go down to the dose at which intensities are rounded."""
    long = (None, Trapezoidal.name, Adaptive.name, Corrector.name)
    return choose_sampler(sampler, Trapezoidal.steps, dose_end=DOSE_END if sampler in long else None, **settings)


def _read_image(image: np.ndarray | str | Path, species: Sequence[Species], ndim: int) -> np.ndarray:
    """Counts (C, *L)."""
    if isinstance(image, np.ndarray):
        array = image if image.ndim > ndim else image[None]
    else:
        array = np.moveaxis(channels(read_counts(str(image), names=[s.name for s in species]).array), -1, 0)
    if array.ndim == ndim + 2 and array.shape[1] == 1:
        array = array[:, 0]
    caps = np.array([each.cap for each in species])
    if array.ndim != ndim + 1 or len(array) != len(species) or array.dtype.kind not in "iu":
        raise DataError(f"the image is {sides(array.shape)} {array.dtype}; {ndim}D counts of {len(species)} channels")
    if array.min() < 0 or (array.reshape(len(caps), -1).max(1) > caps).any():
        raise DataError(f"the image holds counts below 0 or above the caps of the model, {', '.join(map(str, caps))}")
    return array.astype(np.int64)


def _draw(
    model: LoadedModel, wanted: np.ndarray, lattice: Lattice, job: Job, progress: Progress, **more: Any
) -> tuple[np.ndarray, list[dict[str, float]], float]:
    """Images (n, C, *L) with these totals (n, R, C), how far each was rounded, and the seconds that it took."""
    network = model.network
    assert isinstance(network, IntensityNet) and not isinstance(job.settings, PlaneSweeps)
    batch = min(job.batch, fitting_batch(model.config, lattice, model.device, free_memory(model.device)))
    began, done = time.monotonic(), []
    states = generate_counts(
        network, wanted, lattice, job.settings, job.seed, batch, kind=job.kind, guidance=job.guidance, **more
    )
    for state in states:
        progress(state.evaluations, state.total, "")
        done += [rounded for _, rounded in state.finished]
    records = [_rounding_record(rounded) for rounded in done]
    return np.stack([rounded.image for rounded in done]), records, time.monotonic() - began


def _rounding_record(rounded: Rounded) -> dict[str, float]:
    return {"forced": round(rounded.forced, 6), "moved": round(rounded.moved, 6)}


def _record(names: Sequence[str], wanted: np.ndarray, achieved: np.ndarray) -> dict[str, Any]:
    return {
        "requested": dict(zip(names, wanted.tolist(), strict=True)),
        "achieved": dict(zip(names, achieved.tolist(), strict=True)),
    }


def _audit(
    model: LoadedModel, lattice: Lattice, job: Job, seconds: float, samples: list[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    config = model.config
    species = [{"name": each.name, "cap": each.cap, "dtype": each.dtype} for each in config.species]
    kind = {} if job.material is None else {"class": job.material, "guidance": job.guidance}
    of = (), config.voxel_size, config.voxel_unit
    each = job.settings.evaluations
    if job.material is not None and each:
        kind["evaluations_per_sample"] = each * job.evaluated
    about = {"job": {"samples": len(samples)}, "species": species, **kind, **more, "samples": samples}
    return audit_record(model, lattice, job.settings, job.seed, seconds, *of, **about)


def _totals_like(like: Dataset | Path | str, job: Job, number: int, indices: range) -> np.ndarray:
    """Totals of random real crops, int64 (n, C)."""
    dataset = like if isinstance(like, Dataset) else Dataset.open(like)
    if dataset.species != job.loaded.config.species:
        raise UsageError(f"`like`: {dataset.path} does not hold the species of {job.path.name}")
    if job.material in dataset.classes:
        dataset = dataset.of_class(job.material)
    rng = np.random.default_rng(job.seed)
    crops = dataset.each_crop("train", number, job.lattice.shape, rng, indices)
    return np.stack([crop.reshape(len(crop), -1).sum(1, dtype=np.int64) for crop in crops])
