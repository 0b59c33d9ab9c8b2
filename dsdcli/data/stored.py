"""The file of a dataset: its versions, writing and reading what it holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.large import in_file, slabs
from dsdcli.data.phases import IGNORED, from_json
from dsdcli.data.species import Species, channels, records, species_from_json
from dsdcli.errors import DataError
from dsdcli.files import parse_json

FORMAT = "dsd-dataset"
VERSION = 2
PLAIN = 1  # version of a dataset without left-out voxels, which earlier releases read as well
COUNTS = 3  # of a dataset of intensities
SPLITS = ("train", "heldout")


def store(group: h5py.Group, name: str, image: LabelledImage, large: bool) -> None:
    """Write an image to a dataset's file.

    Args:
        large: as it is, so that crops can be read out of the file, with the count of its voxels; or else compressed,
            an image or a slice in each chunk.
    """
    array = image.array
    if large:
        stored = group.create_dataset(name, array.shape, np.uint8)
        for rows in slabs(array):
            stored[rows] = array[rows]
        stored.attrs["counts"] = image.counts
    else:
        data = array if array.dtype.names is None else channels(array)
        stored = group.create_dataset(
            name,
            data=data,
            chunks=(1,) * (array.ndim - 2) + array.shape[-2:] + data.shape[array.ndim :],
            compression="gzip",
            compression_opts=4,
            shuffle=True,
        )
    stored.attrs["axes"] = image.axes
    if image.material is not None:
        stored.attrs["class"] = image.material


def contents(path: Path, file: h5py.File) -> dict[str, Any]:
    """The fields of the `dsdcli.data.dataset.Dataset` in an open file.

    Raises:
        DataError: it holds another thing, or what no dataset holds; damaged files raise whatever the library does.
    """
    attrs = file.attrs
    if attrs.get("format") != FORMAT:
        raise DataError(f"{path} is an HDF5 file but not a dataset; make one of it with: dsd ingest {path}")
    version = attrs["format_version"]
    if version not in (PLAIN, VERSION, COUNTS):
        raise DataError(f"{path} has format version {version}, this dsd reads {PLAIN} to {COUNTS}; ingest again")
    phases = from_json(attrs["phases"]) if version < COUNTS else ()
    species = species_from_json(attrs["species"]) if version == COUNTS else ()
    indices = np.arange(IGNORED + 1) < len(phases)
    indices[IGNORED] |= version == VERSION

    def image(stored: h5py.Dataset) -> LabelledImage:
        return _counts(path, stored, species) if species else _load(path, stored, indices)

    splits = {split: tuple(image(stored) for _, stored in sorted(file[split].items())) for split in SPLITS}
    return dict(
        path=path,
        phases=phases,
        voxel_size=float(attrs["voxel_size"]) if "voxel_size" in attrs else None,
        voxel_unit=str(attrs["voxel_unit"]) if "voxel_unit" in attrs else None,
        slice_axes=str(attrs["slice_axes"]),
        downsample=int(attrs["downsample"]),
        provenance=parse_json(attrs["provenance"]),
        species=species,
        known_digest=str(attrs["digest"]) if "digest" in attrs else None,
        **splits,
    )


def _load(path: Path, stored: h5py.Dataset, indices: np.ndarray) -> LabelledImage:
    """Read an image from a dataset's file, or leave it there.

    Args:
        indices: of the phases, and of left-out voxels where there may be some: bool (256,).

    Raises:
        DataError: voxels of another type or with other indices, or more than the memory holds.
    """
    apart = "counts" in stored.attrs and stored.chunks is None and stored.id.get_offset() is not None
    name = f"{path}:{stored.name}"
    check_claim(stored.shape, stored.dtype.itemsize, name, stored.id.get_storage_size(), spills=apart)
    material = stored.attrs.get("class")
    if apart:
        array = in_file(path, stored.shape, stored.dtype, stored.id.get_offset())
        tally = np.asarray(stored.attrs["counts"], np.int64)
        fits = tally.shape == (IGNORED + 1,) and (tally >= 0).all() and tally.sum() == array.size
        fits = fits and not tally[~indices].any()
    else:
        array, tally = stored[...], None
        fits = array.dtype == np.uint8 and bool(indices[array].all())
    if not fits or array.dtype != np.uint8:
        raise DataError(f"{path} is damaged: it holds voxels of no known phase; run dsd ingest again")
    return LabelledImage(array, str(stored.attrs["axes"]), None if material is None else str(material), tally)


def _counts(path: Path, stored: h5py.Dataset, species: Sequence[Species]) -> LabelledImage:
    """As `_load`, of intensities."""
    check_claim(stored.shape, stored.dtype.itemsize, f"{path}:{stored.name}", stored.id.get_storage_size())
    material, array = stored.attrs.get("class"), records(stored[...])
    if not _sound(array, species):
        raise DataError(f"{path} is damaged: it holds counts beyond those of its species; run dsd ingest again")
    return LabelledImage(array, str(stored.attrs["axes"]), None if material is None else str(material))


def _sound(array: np.ndarray, species: Sequence[Species]) -> bool:
    """Whether these are counts of the species, none above its cap."""
    counts = channels(array)
    if counts.dtype.kind != "u" or counts.shape[-1] != len(species):
        return False
    return bool((counts.reshape(-1, len(species)).max(0) <= [each.cap for each in species]).all())
