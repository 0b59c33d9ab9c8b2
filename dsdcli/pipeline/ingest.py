"""From the user's segmented images to a dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dsdcli.data.classes import gather_classes
from dsdcli.data.dataset import Dataset
from dsdcli.data.downsample import majority
from dsdcli.data.fit import SIDES, fitting_sides, largest_side
from dsdcli.data.ignored import doubt_corners, leave_out
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import choose_phases, doubt_polarity
from dsdcli.data.sources import check_axes, digest_of, gather
from dsdcli.data.split import independent_images
from dsdcli.data.voxel import VoxelSize, parse_voxel_size, sides
from dsdcli.errors import DataError, UsageError
from dsdcli.evaluation.representative import doubt_fractions
from dsdcli.moves import claim
from dsdcli.pipeline.ingest_intensity import ingest_intensity
from dsdcli.pipeline.ingested import Ingested, LabelCount, choose_output, split_by_class
from dsdcli.record import provenance

_RARE = 0.001  # an unnamed label with less than this share is suspected to be no phase at all


def ingest(
    sources: str | Path | Sequence[str | Path],
    out: Path | str | None = None,
    *,
    phases: Mapping[str, int | Sequence[int]] | Sequence[tuple[str, int]] = (),
    pore: int | None = None,
    voxel_size: str | VoxelSize | None = None,
    axes: str | None = None,
    downsample: int = 1,
    holdout: float | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
    offset: int = 0,
    endian: str = "little",
    ignore: Sequence[int] = (),
    ignore_masks: Sequence[str | Path] = (),
    classes: Sequence[str] = (),
    intensity: bool = False,
    channels: Sequence[str] = (),
    levels: int | None = None,
    largest: int | None = None,
) -> Ingested:
    """Read segmented images, name their phases, coarsen, split, and write a dataset; or read intensities.

    Args:
        sources: image files, folders of slices, ``file.h5:/path``.
        out: the file to write (.h5), replaced if it is a dataset. None: ``<stem of the first source>.dsd.h5`` in the
            current folder, replaced only if it is a dataset made from the same sources.
        phases: label or labels of each phase, as a mapping or as (name, label) pairs; see
            `dsdcli.data.phases.choose_phases`.
        pore: label of the pore.
        voxel_size: of the sources, like "5.3um", overriding their metadata.
        axes: slice axes; see `dsdcli.data.sources.gather`.
        downsample: side of the blocks that become one voxel (2D images: pixel) by majority vote.
        holdout: share to hold out; see `dsdcli.data.split`. None: as much as crops need.
        shape: (Z, Y, X) or (Y, X) of raw files.
        dtype: type of raw files.
        offset: bytes before the voxels of raw files.
        endian: their byte order, "little" or "big".
        ignore: labels of voxels to leave out.
        ignore_masks: images of the shape of the sources, or of a slice; what is not 0 in them is left out.
        classes: of every source, where they are of several materials; each is split by itself.
        intensity: the images are grey or of several channels, and their values counts of particles: see
            `dsdcli.pipeline.ingest_intensity`. Blocks of ``downsample`` voxels then hold the particles of all of them.
        channels: names of their channels, in order.
        levels: make values from 0 to levels - 1 of those from 0 to ``largest``.
        largest: the most that a voxel can hold; by default the largest value of each channel.

    Raises:
        UsageError: options that are wrong or contradict the data, or an output that may not be written.
        DataError: sources that cannot be used.
        DsdError: the system could not write.
    """
    files = [str(source) for source in ([sources] if isinstance(sources, str | Path) else sources)]
    named = _pairs(phases)
    voxel = parse_voxel_size(voxel_size) if isinstance(voxel_size, str) else voxel_size
    if axes is not None:
        axes = check_axes(axes)
    if downsample < 1:
        raise UsageError(f"`downsample={downsample}` must be at least 1")
    masks = [str(mask) for mask in ignore_masks]
    wanted = None if out is None else Path(out)
    reading = (axes, voxel, shape, dtype, offset, endian)
    if intensity:
        if named or pore is not None or ignore or masks:
            raise UsageError("intensities have no labels; leave out `phases`, `pore`, `ignore` and `ignore_masks`")
        return ingest_intensity(files, wanted, reading, channels, levels, largest, downsample, holdout, classes)
    if channels or levels is not None or largest is not None:
        raise UsageError("`channels`, `levels` and `largest` are of intensities; say `intensity=True`")
    path, notes = choose_output(files, masks, wanted)
    gathered, materials = gather_classes(files, classes, *reading) if classes else (gather(files, *reading), [])
    labelled, doubts = leave_out(gathered.images, ignore, masks)
    voxels = labelled.counts()
    try:
        chosen, index_of, warnings = choose_phases(voxels, named, pore)
    except DataError as error:
        text = "; ".join([str(error), *doubts])
        raise DataError(f"{', '.join(files[:3])}{', ...' if len(files) > 3 else ''}: {text}") from error
    total = sum(voxels.values())
    labels = tuple(
        LabelCount(label, chosen[index_of[label]].name, count, count / total) for label, count in sorted(voxels.items())
    )
    if not named and pore is None:
        warnings += filter(None, [doubt_polarity(voxels, labels[0].label)])
    warnings += doubts + doubt_corners(labelled)
    if not named and len(labels) > 2:
        warnings += [
            f"label {found.label} fills only {found.fraction:.2g} of the image: if it is a stray value left by "
            "compression or interpolation, merge it with `phases={'NAME': LABEL}`"
            for found in labels
            if found.fraction < _RARE
        ]
    coarse = [_coarsen(image, downsample) for image in labelled.indices(index_of)]
    train, heldout, what = split_by_class(coarse, materials, holdout)
    if holdout is None:
        notes.append(f"held out to judge by: {what} (`holdout` chooses another share)")
    size = gathered.voxel
    dataset = Dataset(
        path=path,
        phases=chosen,
        voxel_size=size.value * downsample if size else None,
        voxel_unit=size.unit if size else None,
        slice_axes=gathered.slice_axes,
        downsample=downsample,
        provenance={
            "sources": [{"name": source, "sha256": digest_of(source)} for source in files],
            "ignored": {"labels": list(ignore), "masks": [{"name": m, "sha256": digest_of(m)} for m in masks]},
            "labels": {phase.name: [found.label for found in labels if found.name == phase.name] for phase in chosen},
            "voxel_size_source": size.source if size else None,
            "holdout": holdout,
            **provenance(),
        },
        train=train,
        heldout=heldout,
    )
    warnings += [*gathered.warnings, *_check_split(dataset)]
    if not fitting_sides(dataset, 2):
        warnings.append(_too_small(dataset))
    elif dataset.train[0].axes == "ZYX" and not fitting_sides(dataset, 3):
        notes.append(
            f"enough for 2D crops; sub-volumes of {SIDES[0]} voxels a side, for a 3D model, do not fit, "
            f"only up to {largest_side(dataset, 3)}: hold out more for these, such as `holdout=0.5`"
        )
    for material in dataset.materials:
        doubts = doubt_fractions(independent_images(material), [phase.name for phase in dataset.phases])
        notes += [f"{material.train[0].material}: {line}" if classes else line for line in doubts]
    with claim(path, wait=True):
        choose_output(files, masks, wanted)  # again: it may have been written meanwhile
        dataset.write(path)
    return Ingested(dataset, labels, tuple(notes) + gathered.notes, tuple(warnings))


def _pairs(phases: Mapping[str, int | Sequence[int]] | Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """(name, label) pairs."""
    if not isinstance(phases, Mapping):
        return list(phases)
    return [(name, n) for name, labels in phases.items() for n in ([labels] if isinstance(labels, int) else labels)]


def _coarsen(image: LabelledImage, factor: int) -> LabelledImage:
    indices, axes = image.array, image.own_axes
    if min(indices.shape[axis] for axis in axes) < factor:
        size = sides(indices.shape)
        raise UsageError(f"`downsample={factor}` leaves nothing of an image of {size}; use a smaller factor")
    return image.with_array(majority(indices, factor, axes))


def _too_small(dataset: Dataset) -> str:
    parts = ", ".join(sides(image.array.shape) for image in (dataset.train + dataset.heldout)[:4])
    side, least = largest_side(dataset, 2), SIDES[0]
    fix = (
        f"dsd train fits with `size={(side, side)}`, but shows little of a structure" if side else "no crop fits at all"
    )
    return (
        f"too small for the usual training: crops of {least}x{least} do not fit into both the training and the "
        f"held-out part ({parts}); {fix}: better take a larger image, from {3 * least}x{3 * least} on"
    )


def _check_split(dataset: Dataset) -> list[str]:
    """Warnings about phases that a split lacks.

    Raises:
        DataError: the training part has one phase only.
    """
    train = dataset.counts("train")
    if (train > 0).sum() < 2:
        raise DataError(
            "the training part holds one phase only, so there is nothing to learn; use another `holdout` or a smaller "
            "`downsample`"
        )
    if not dataset.heldout:
        return ["nothing is held out, so samples can only be judged by what the network has seen"]
    return [
        f"phase '{phase.name}' does not occur in the {split_name} part"
        for split_name in ("train", "heldout")
        for phase, count in zip(dataset.phases, dataset.counts(split_name), strict=True)
        if not count
    ]
