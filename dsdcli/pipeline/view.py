"""View: from a file of any kind to the page that shows its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsdcli.data.dataset import Dataset, is_dataset
from dsdcli.data.formats import split_inner
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import Phase, choose_phases, count_labels, to_indices
from dsdcli.data.samples import is_samples, read_samples, record_of_intensities
from dsdcli.data.sources import gather
from dsdcli.errors import UsageError
from dsdcli.files import check_outputs
from dsdcli.moves import settle
from dsdcli.view.page import MOST_VOXELS, is_page, viewer, write_page

PAGE_VOXELS = 2**26  # that a page may hold: a few MB for most materials, at worst some 30


@dataclass(frozen=True)
class Viewed:
    """The page written, and what the user should be told."""

    path: Path
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Shown:
    """Images by name, phase indices uint8 (*L) each, and what they mean."""

    images: list[tuple[str, np.ndarray]]
    phases: tuple[Phase, ...]
    voxel_size: float | None
    voxel_unit: str | None
    notes: tuple[str, ...] = ()


def view(source: str, out: Path | None = None, samples: Sequence[int] = ()) -> Viewed:
    """Write a page that shows the images of a file.

    Args:
        source: samples file, dataset, or any image that `dsdcli.data.sources.gather` reads.
        out: the page (.html). None: ``<stem of the source>.html`` beside it.
        samples: which images, counted from 0; by default the first ones, as many as a page holds.

    Raises:
        UsageError: no such file or sample, more samples than a page holds, or an output that may not be written.
        DataError: the source cannot be used.
        DsdError: the system could not write.
    """
    path = _output(source, out)
    shown = _read(source)
    chosen, notes = _choose(shown.images, samples)
    piece = viewer({"": chosen}, shown.phases, shown.voxel_size, shown.voxel_unit)
    write_page(path, split_inner(source)[0].name, notes, piece)
    return Viewed(path, (*shown.notes, *notes))


def _output(source: str, out: Path | None) -> Path:
    file = split_inner(source)[0]
    settle(file.parent)
    if out is None:
        stem = file.name if file.is_dir() else file.stem.removesuffix(".dsd").removesuffix(".ome")
        out = file.with_name(f"{stem}.html")
    elif out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"`out={out}`: the page is an HTML file; let its name end in .html")
    check_outputs([(out, is_page)], [file])
    return out


def _read(source: str) -> _Shown:
    path = Path(source)
    if path.is_file() and is_dataset(path):
        dataset = Dataset.open(path).segmented()
        images = [
            named
            for split, name in (("train", "train"), ("heldout", "held out"))
            for named in _named(name, dataset.images(split))
        ]
        return _Shown(images, dataset.phases, dataset.voxel_size, dataset.voxel_unit)
    if record_of_intensities(path):
        raise UsageError(f"{path} holds intensities, and a page shows segmented images; look at the sheet beside it")
    if is_samples(path):
        found = read_samples(path)
        images = [(f"sample {number}", image) for number, image in enumerate(found.stack)]
        return _Shown(images, found.phases, found.voxel_size, found.voxel_unit)
    gathered = gather([source])
    labels = {label for image in gathered.images for label in count_labels(image.array)}
    phases, index_of, _ = choose_phases(labels)
    images = _named(
        "image", [LabelledImage(to_indices(image.array, index_of), image.axes) for image in gathered.images]
    )
    size = gathered.voxel
    kind = "a volume" if gathered.images[0].axes == "ZYX" else "2D images"
    taken = ", ".join(f"{phase.label} = {phase.name}" for phase in phases)
    note = f"{source} is taken as {kind}, its labels as {taken}; dsd ingest can be told otherwise, and makes a dataset"
    return _Shown(images, phases, size.value if size else None, size.unit if size else None, (note, *gathered.warnings))


def _named(name: str, images: Sequence[LabelledImage]) -> list[tuple[str, np.ndarray]]:
    """Volumes and 2D images, those of a stack one by one, numbered if there are several."""
    arrays = [array for image in images for array in (image.array if image.axes == "TYX" else [image.array])]
    return [(f"{name} {number}" if len(arrays) > 1 else name, array) for number, array in enumerate(arrays)]


def _choose(
    images: list[tuple[str, np.ndarray]], samples: Sequence[int]
) -> tuple[list[tuple[str, np.ndarray]], list[str]]:
    """The images that the page holds, and what it says about the others."""
    for number in samples:
        if not 0 <= number < len(images):
            raise UsageError(f"`samples={number}`: there are the images 0 to {len(images) - 1}")
    wanted = [images[number] for number in dict.fromkeys(samples)] or images
    fitting = int(
        np.searchsorted(np.cumsum([min(image.size, MOST_VOXELS) for _, image in wanted]), PAGE_VOXELS, "right")
    )
    if samples and fitting < len(wanted):
        raise UsageError(f"a page holds {PAGE_VOXELS} voxels, {fitting} of these images; choose fewer by `samples`")
    if fitting == len(wanted):
        return wanted, []
    return wanted[:fitting], [f"the first {fitting} of {len(wanted)} images; choose others by `samples`"]
