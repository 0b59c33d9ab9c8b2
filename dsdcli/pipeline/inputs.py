"""Reading what is compared: samples from any source, and the real images."""

from pathlib import Path

import numpy as np

from dsdcli.data.dataset import Dataset, LabelledImage, is_dataset
from dsdcli.data.formats import image_files, is_slices
from dsdcli.data.phases import Phase, choose_phases, count_labels, to_indices
from dsdcli.data.samples import Samples, read_samples
from dsdcli.data.sources import gather
from dsdcli.data.split import split
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, DsdError, UsageError


def open_real(path: Path, phases: tuple[Phase, ...] | None = None) -> tuple[Dataset, list[str]]:
    """The real images: a dataset, or a segmented image file or folder of slices, cut into two halves.

    Of an image nothing is known about training: its second half is compared with the samples, its first half gives the
    noise floor.

    Args:
        path: dataset or image.
        phases: those of the samples, if their file names them; an image whose labels they explain gets them.

    Returns:
        the real images, and remarks that the user should see.

    Raises:
        UsageError: there is no such file.
        DataError: it cannot be used.
    """
    if _is_dataset(path):
        return Dataset.open(path), []
    remarks: list[str] = []
    gathered = gather([str(path)])
    labels = sorted({label for image in gathered.images for label in count_labels(image.array)})
    if phases and set(labels) <= {phase.label for phase in phases}:
        index_of = {phase.label: index for index, phase in enumerate(phases)}
    else:
        phases, index_of, remarks = choose_phases(labels)
    train, heldout = split(
        [LabelledImage(to_indices(image.array, index_of), image.axes) for image in gathered.images], 0.5
    )
    dataset = Dataset(
        path=path,
        phases=phases,
        voxel_size=gathered.voxel.value if gathered.voxel else None,
        voxel_unit=gathered.voxel.unit if gathered.voxel else None,
        slice_axes=gathered.slice_axes,
        downsample=1,
        provenance={},
        train=train,
        heldout=heldout,
    )
    remarks.append(f"{path} is an image, not a dataset: its first half stands for the training part")
    return dataset, [*remarks, *gathered.notes, *gathered.warnings]


def named_phases(path: Path) -> tuple[Phase, ...] | None:
    """The phases that a samples file names itself, None if it does not or cannot be read."""
    try:
        found = read_samples(path)
    except DsdError:
        return None
    return None if all(phase.name == f"phase{phase.label}" for phase in found.phases) else found.phases


def read_stack(path: Path, phases: tuple[Phase, ...], skip_bad: bool) -> tuple[Samples, list[str]]:
    """Samples, from a file or a folder of images, one sample each.

    Args:
        path: file or folder.
        phases: what the indices of the result mean.
        skip_bad: leave out the images of a folder that cannot be read or are of another size than most.

    Returns:
        the samples, and one line for each image left out.

    Raises:
        UsageError: there is no such file.
        DataError: unreadable, of several sizes, or with labels of no phase; names the file.
    """
    if not is_slices(path):
        return read_samples(path, phases), []
    good: list[tuple[Path, Samples]] = []
    bad: list[str] = []
    for file in image_files(path):
        try:
            good.append((file, read_samples(file, phases)))
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
    first = good[0][1]
    stack = np.concatenate([samples.stack for _, samples in good])
    return Samples(stack, first.phases, first.voxel_size, first.voxel_unit, first.audit), bad


def _is_dataset(path: Path) -> bool:
    if not path.exists():
        raise UsageError(f"there is no file {path} to compare with; make a dataset with: dsd ingest IMAGE")
    # A damaged file of that name is one as well: the reader of datasets says what is wrong with it.
    return path.is_file() and (is_dataset(path) or path.name.endswith(".dsd.h5"))
