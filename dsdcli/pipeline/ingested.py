"""What ingesting segmented images and intensities have in common: where to write, what to hold out, what to say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsdcli.data.dataset import Dataset, is_dataset
from dsdcli.data.formats import split_inner
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.split import split, split_to_fit
from dsdcli.errors import DataError, UsageError
from dsdcli.files import check_outputs


@dataclass(frozen=True)
class LabelCount:
    """One label of the sources: the phase it belongs to, and how many voxels have it."""

    label: int
    name: str
    voxels: int
    fraction: float


@dataclass(frozen=True)
class Ingested:
    """The dataset made, the labels found, and what the user should be told."""

    dataset: Dataset
    labels: tuple[LabelCount, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def choose_output(sources: Sequence[str], masks: Sequence[str], out: Path | None) -> tuple[Path, list[str]]:
    """Where to write, and notes; refuses what should not be overwritten."""
    files = [split_inner(source)[0].resolve() for source in sources]
    notes: list[str] = []
    if out is None:
        stem = files[0].name if files[0].is_dir() else files[0].stem.removesuffix(".ome")
        out = Path(f"{stem}.dsd.h5")
        if out.exists() and not _same_sources(out, files):
            raise UsageError(f"{out} exists and was not made from the same source; choose another name with `out`")
    elif not out.name.endswith((".h5", ".hdf5")):
        raise UsageError(f"`out={out}`: a dataset is an HDF5 file; let its name end in .dsd.h5")
    elif not out.name.endswith(".dsd.h5"):
        notes.append(f"{out} does not end in .dsd.h5, so the other commands will not find it by themselves")
    check_outputs([(out, _is_dataset)], [*files, *(split_inner(mask)[0] for mask in masks)])
    return out, notes


def _is_dataset(path: Path) -> bool:
    return path.is_file() and is_dataset(path)


def _same_sources(path: Path, files: list[Path]) -> bool:
    try:
        made_from = Dataset.open(path).provenance["sources"]
        return [split_inner(source["name"])[0].resolve() for source in made_from] == files
    except (DataError, KeyError, TypeError):
        return False


def split_by_class(
    images: Sequence[LabelledImage], materials: Sequence[str], holdout: float | None
) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...], str]:
    """The training and the held-out images of every class, which ``materials`` names, and what was held out."""
    if not materials:
        return split_to_fit(images) if holdout is None else (*split(images, holdout), "")
    train: list[LabelledImage] = []
    heldout: list[LabelledImage] = []
    what = {}
    for name in dict.fromkeys(materials):
        own = [image for image, theirs in zip(images, materials, strict=True) if theirs == name]
        *parts, what[name] = split_by_class(own, (), holdout)
        for kept, part in zip((train, heldout), parts, strict=True):
            kept += [replace(image, material=name) for image in part]
    return tuple(train), tuple(heldout), "; ".join(f"{name}: {words}" for name, words in what.items())
