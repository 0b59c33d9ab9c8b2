"""The file of a dataset: its versions, and reading what it holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import IGNORED, from_json
from dsdcli.data.species import Species, channels, records, species_from_json
from dsdcli.errors import DataError
from dsdcli.files import parse_json

FORMAT = "dsd-dataset"
VERSION = 2
PLAIN = 1  # version of a dataset without left-out voxels, which earlier releases read as well
COUNTS = 3  # of a dataset of intensities
SPLITS = ("train", "heldout")


def _stored_image(stored: h5py.Dataset, counts: bool) -> LabelledImage:
    material, array = stored.attrs.get("class"), stored[...]
    array = records(array) if counts else array
    return LabelledImage(array, str(stored.attrs["axes"]), None if material is None else str(material))


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
    for split in SPLITS:
        for stored in file[split].values():
            check_claim(stored.shape, stored.dtype.itemsize, f"{path}:{stored.name}", stored.id.get_storage_size())
    splits = {
        split: tuple(_stored_image(s, version == COUNTS) for _, s in sorted(file[split].items())) for split in SPLITS
    }
    for image in splits["train"] + splits["heldout"]:
        if species:
            if not _sound(image.array, species):
                raise DataError(f"{path} is damaged: it holds counts beyond those of its species; run dsd ingest again")
            continue
        known = image.array < len(phases)
        if version == VERSION:
            known |= image.array == IGNORED
        if image.array.dtype != np.uint8 or not known.all():
            raise DataError(f"{path} is damaged: it holds voxels of no known phase; run dsd ingest again")
    return dict(
        path=path,
        phases=phases,
        voxel_size=float(attrs["voxel_size"]) if "voxel_size" in attrs else None,
        voxel_unit=str(attrs["voxel_unit"]) if "voxel_unit" in attrs else None,
        slice_axes=str(attrs["slice_axes"]),
        downsample=int(attrs["downsample"]),
        provenance=parse_json(attrs["provenance"]),
        species=species,
        **splits,
    )


def _sound(array: np.ndarray, species: Sequence[Species]) -> bool:
    """Whether these are counts of the species, none above its cap."""
    counts = channels(array)
    if counts.dtype.kind != "u" or counts.shape[-1] != len(species):
        return False
    return bool((counts.reshape(-1, len(species)).max(0) <= [each.cap for each in species]).all())
