"""Intensities: images whose voxels hold counts of particles, of one species a channel.

In memory an image is an array (*L) of records with one field a species, so that places, crops, turns and slices are
those of segmented images; `channels` and `records` go to plain arrays and back.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from dsdcli.errors import DataError, UsageError

LARGEST_CAP = 2**32 - 1
MAX_SPECIES = 16


@dataclass(frozen=True)
class Species:
    """One channel of intensities.

    Attributes:
        cap: the most particles that a voxel holds: the white of the channel.
        dtype: of the numbers in the user's files: uint8, uint16 or uint32.
    """

    name: str
    cap: int
    dtype: str = "uint8"


def species_to_json(species: Sequence[Species]) -> str:
    """The species as a JSON list of objects."""
    return json.dumps([asdict(each) for each in species])


def species_from_json(text: str | bytes) -> tuple[Species, ...]:
    """Inverse of `species_to_json`.

    Raises:
        DataError: the text is not such a list.
    """
    try:
        found = tuple(Species(str(e["name"]), int(e["cap"]), np.dtype(e["dtype"]).name) for e in json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DataError(f"the list of species is damaged ({error})") from error
    if not 0 < len(found) <= MAX_SPECIES or not all(0 < each.cap <= LARGEST_CAP for each in found):
        raise DataError("the list of species is damaged")
    return found


def find_species(species: Sequence[Species], name: str) -> int:
    """Index of the species called ``name``.

    Raises:
        UsageError: there is none; lists those that exist.
    """
    names = [each.name for each in species]
    if name not in names:
        raise UsageError(f"there is no channel '{name}'; the channels are {', '.join(names)}")
    return names.index(name)


def wide_dtype(species: Sequence[Species]) -> np.dtype:
    """The type that holds the counts of every species."""
    return max((np.dtype(each.dtype) for each in species), key=lambda dtype: dtype.itemsize)


def records(array: np.ndarray) -> np.ndarray:
    """Counts (*L, C) as records (*L), one field a species."""
    array = np.ascontiguousarray(array)
    fields = [(f"f{channel}", array.dtype) for channel in range(array.shape[-1])]
    return array.view(np.dtype(fields))[..., 0]


def channels(array: np.ndarray) -> np.ndarray:
    """Inverse of `records`: counts (*L, C)."""
    names = array.dtype.names
    if names is None:
        return array[..., None]
    array = np.ascontiguousarray(array)
    return array.view(array.dtype[0]).reshape(*array.shape, len(names))


def channels_first(stack: np.ndarray) -> np.ndarray:
    """Records (n, *L) as counts (n, C, *L)."""
    return np.ascontiguousarray(np.moveaxis(channels(stack), -1, 1))
