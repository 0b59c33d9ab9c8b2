"""Reading what is compared: samples from any source, and the real images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dsdcli.data.dataset import Dataset, is_dataset
from dsdcli.data.downsample import coarsen
from dsdcli.data.formats import image_files, is_slices
from dsdcli.data.ignored import doubt_corners, leave_out
from dsdcli.data.phases import Phase, choose_phases, doubt_polarity, in_words, relabel
from dsdcli.data.samples import Samples, read_samples
from dsdcli.data.sources import gather
from dsdcli.data.split import split
from dsdcli.data.voxel import SAME, VoxelSize, differ, length_ratio, sides
from dsdcli.errors import DataError, DsdError, UsageError

_NAMED = "`phases={'NAME': LABEL}`"


def open_real(
    path: Path,
    phases: tuple[Phase, ...] | None = None,
    ignore: Sequence[int] = (),
    ignore_masks: Sequence[str] = (),
) -> tuple[Dataset, list[str]]:
    """The real images: a dataset, or a segmented image file or folder of slices, cut into two halves.

    Of an image nothing is known about training: its second half is compared with the samples, its first half gives the
    noise floor.

    Args:
        path: dataset or image.
        phases: those of the samples, if their file names them; an image whose labels they explain gets them.
        ignore, ignore_masks: what is left out of an image; see `dsdcli.data.ignored`. A dataset knows that itself.

    Returns:
        the real images, and remarks that the user should see.

    Raises:
        UsageError: there is no such file, or it is a dataset and something is to be left out.
        DataError: it cannot be used.
    """
    if _is_dataset(path):
        if ignore or ignore_masks:
            raise UsageError(f"{path} is a dataset, and knows what it leaves out; run dsd ingest again to change that")
        return Dataset.open(path), []
    dataset, remarks, warnings = read_real(path, phases, ignore, ignore_masks)
    train, heldout = split(dataset.train, 0.5)
    remarks.append(f"{path} is an image, not a dataset: its first half stands for the training part")
    return replace(dataset, train=train, heldout=heldout), [*remarks, *warnings]


def read_real(
    path: Path,
    phases: tuple[Phase, ...] | None = None,
    ignore: Sequence[int] = (),
    ignore_masks: Sequence[str] = (),
    named: Sequence[tuple[str, int]] = (),
    pore: int | None = None,
    axes: str | None = None,
    voxel: VoxelSize | None = None,
) -> tuple[Dataset, list[str], list[str]]:
    """A segmented image file or folder of slices as a dataset whose training part is all of it.

    Args:
        path, phases, ignore, ignore_masks: as of `open_real`.
        named, pore: (name, label) pairs, or the label of the pore, where ``phases`` are not known.
        axes, voxel: override what the file says; see `dsdcli.data.sources.gather`.

    Returns:
        the dataset, remarks on the phases, and notes and warnings on the file.

    Raises:
        UsageError: ``named`` contradicts the labels.
        DataError: it cannot be used.
    """
    remarks: list[str] = []
    gathered = gather([str(path)], axes, voxel)
    labelled, doubts = leave_out(gathered.images, ignore, ignore_masks)
    voxels = labelled.counts()
    if phases and set(voxels) <= {phase.label for phase in phases}:
        index_of = {phase.label: index for index, phase in enumerate(phases)}
    else:
        phases, index_of, remarks = choose_phases(voxels, named, pore)
        if not named and pore is None:
            remarks += filter(None, [doubt_polarity(voxels, min(voxels))])
    remarks += doubts + doubt_corners(labelled)
    dataset = Dataset(
        path=path,
        phases=phases,
        voxel_size=gathered.voxel.value if gathered.voxel else None,
        voxel_unit=gathered.voxel.unit if gathered.voxel else None,
        slice_axes=gathered.slice_axes,
        downsample=1,
        provenance={},
        train=tuple(labelled.indices(index_of)),
        heldout=(),
    )
    return dataset, remarks, [*gathered.notes, *gathered.warnings]


def named_phases(path: Path) -> tuple[Phase, ...] | None:
    """The phases that a samples file names itself, None if it does not or cannot be read."""
    try:
        found = read_samples(path)
    except DsdError:
        return None
    return None if all(phase.name == f"phase{phase.label}" for phase in found.phases) else found.phases


def read_stack(
    path: Path, phases: tuple[Phase, ...], skip_bad: bool, named: Sequence[tuple[str, int]] = ()
) -> tuple[Samples, list[str]]:
    """Samples, from a file or a folder of images, one sample each.

    Phases are matched by name where the files name them all, else by label; where the labels are others, but as many as
    there are phases, by their order.

    Args:
        path: file or folder.
        phases: what the indices of the result mean.
        skip_bad: leave out the images of a folder that cannot be read or are of another size than most.
        named: (name, label) pairs: labels of phases in the samples.

    Returns:
        the samples, and warnings: what was left out, and what was assumed.

    Raises:
        UsageError: there is no such file, or ``named`` contradicts the phases.
        DataError: unreadable, of several sizes, or with labels of no phase; names the file.
    """
    if is_slices(path):
        parts, warnings = _read_folder(path, skip_bad)
    else:
        parts, warnings = [read_samples(path)], []
    indices, assumed = _translate(parts, phases, named, path)
    first = parts[0]
    stack = np.concatenate(indices) if len(indices) > 1 else indices[0]
    return Samples(stack, phases, first.voxel_size, first.voxel_unit, first.audit), warnings + assumed


def differences(samples: Samples, dataset: Dataset) -> tuple[list[str], list[str]]:
    """What makes a comparison less than fair: notes, and warnings."""
    notes, warnings = [], []
    trained_on = (samples.audit or {}).get("dataset_digest")
    if trained_on and trained_on != dataset.digest:
        notes.append(
            f"{dataset.path} is not the dataset that the model was trained on: its training part may hold what "
            "the model has not seen, and its held-out part what it has"
        )
    sizes = samples.voxel_size, samples.voxel_unit, dataset.voxel_size, dataset.voxel_unit
    ratio = length_ratio(*sizes)
    if ratio is not None and abs(ratio - 1) > SAME:
        text = (
            f"the voxels of the samples are {sizes[0]:g} {sizes[1]}, those of {dataset.path} {sizes[2]:g} {sizes[3]}: "
            "crops of as many voxels are compared, in the units of the latter"
        )
        if not differ(*sizes):
            notes.append(text)
        elif ratio > 1:
            warnings.append(f"{text}; `resample=True` gives the real images the voxels of the samples")
        else:
            warnings.append(f"{text}; coarsen the samples to the voxels of the real images")
    return notes, warnings


def with_voxels_of(samples: Samples, dataset: Dataset) -> tuple[Dataset, str]:
    """The real images as the coarser voxels of the samples would show them, and that it was done, in words.

    Raises:
        UsageError: a voxel size is unknown, or the samples are the finer ones.
    """
    ratio = length_ratio(samples.voxel_size, samples.voxel_unit, dataset.voxel_size, dataset.voxel_unit)
    if ratio is None or dataset.voxel_size is None:
        raise UsageError("`resample=True` needs the voxel sizes of both, and one is unknown; dsd info shows them")
    sizes = f"{dataset.voxel_size:g} {dataset.voxel_unit}", f"{samples.voxel_size:g} {samples.voxel_unit}"
    if ratio < 1 - SAME:
        raise UsageError(
            f"`resample=True` cannot make the real images ({sizes[0]}) as fine as the samples ({sizes[1]}); "
            "coarsen the samples instead"
        )
    train, heldout = (
        tuple(image.with_array(coarsen(image.array, ratio, image.own_axes)) for image in dataset.images(split))
        for split in ("train", "heldout")
    )
    text = f"the real images were resampled by majority, from voxels of {sizes[0]} to those of the samples, {sizes[1]}"
    coarse = replace(dataset, voxel_size=dataset.voxel_size * ratio, train=train, heldout=heldout, known_digest=None)
    return coarse, text


def _read_folder(path: Path, skip_bad: bool) -> tuple[list[Samples], list[str]]:
    """The images of a folder, and warnings of those left out."""
    good: list[tuple[Path, Samples]] = []
    bad: list[str] = []
    for file in image_files(path):
        try:
            good.append((file, read_samples(file)))
        except DsdError as error:
            bad.append(str(error) if str(file) in str(error) else f"{file}: {error}")
    shapes = [samples.stack.shape[1:] for _, samples in good]
    usual = max(shapes, key=shapes.count, default=())
    bad += [
        f"{file} is of size {sides(shape)}, most are of size {sides(usual)}"
        for (file, _), shape in zip(good, shapes, strict=True)
        if shape != usual
    ]
    good = [(file, samples) for file, samples in good if samples.stack.shape[1:] == usual]
    if not good:
        raise DataError(f"the folder {path} holds no image that can be read{': ' + bad[0] if bad else ''}")
    if bad and not skip_bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}; mend or remove it, or leave such images out with `skip_bad=True`")
    return [samples for _, samples in good], [f"left out: {line}" for line in bad]


def _translate(
    parts: Sequence[Samples], phases: tuple[Phase, ...], named: Sequence[tuple[str, int]], path: Path
) -> tuple[list[np.ndarray], list[str]]:
    """The stacks of ``parts``, whose indices are of their own phases, as indices of ``phases``; what was assumed."""
    index_of = {phase.name: index for index, phase in enumerate(phases)}
    if not named and all(phase.name in index_of for part in parts for phase in part.phases):
        tables = [[index_of[phase.name] for phase in part.phases] for part in parts]
        return [np.array(t, np.uint8)[part.stack] for t, part in zip(tables, parts, strict=True)], []
    expected = relabel(phases, named)
    index_by_label = {phase.label: index for index, phase in enumerate(expected)}
    found = sorted({part.phases[i].label for part in parts for i in np.unique(part.stack).tolist()})
    strange = [str(label) for label in found if label not in index_by_label]
    assumed = []
    if strange and len(found) == len(phases) and not named:
        index_by_label = {label: index for index, label in enumerate(found)}
        given = in_words([Phase(phase.name, label) for phase, label in zip(phases, found, strict=True)])
        assumed.append(
            f"the labels of {path} are not those of the real images ({in_words(phases)}), so they are taken in the "
            f"same order: {given}; if that is not so, say " + _NAMED
        )
    elif strange:
        raise DataError(
            f"{path} holds labels that belong to no phase: {', '.join(strange[:16])}; the phases are "
            f"{in_words(expected)}; name the labels of the samples by " + _NAMED
        )
    tables = [[index_by_label.get(phase.label, 0) for phase in part.phases] for part in parts]  # 0: does not occur
    return [np.array(t, np.uint8)[part.stack] for t, part in zip(tables, parts, strict=True)], assumed


def _is_dataset(path: Path) -> bool:
    if not path.exists():
        raise UsageError(f"there is no file {path} to compare with; make a dataset with: dsd ingest IMAGE")
    # A damaged file of that name is one as well: the reader of datasets says what is wrong with it.
    return path.is_file() and (is_dataset(path) or path.name.endswith(".dsd.h5"))
