"""The dataset: one HDF5 file with the phase indices of the user's images, split for training and for judging."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dsdcli.data.formats.hdf5 import about_hdf5
from dsdcli.data.hdf5 import new_hdf5
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.large import is_large, let_go, slabs
from dsdcli.data.phases import IGNORED, Phase, to_json
from dsdcli.data.places import Places, equal_side_orders
from dsdcli.data.species import Species, channels, channels_first, species_to_json
from dsdcli.data.stored import COUNTS, FORMAT, PLAIN, SPLITS, VERSION, contents, store
from dsdcli.errors import DataError, UsageError

_HELD = 64  # crops for which pages of large images are held in memory


@dataclass(frozen=True, eq=False)
class Dataset:
    """Segmented images as phase indices, with what is needed to write samples in the user's own labels and units.

    ``voxel_size`` (in ``voxel_unit``) is that of the stored arrays, after downsampling. ``slice_axes`` names the axes
    across which 2D slices of the volumes are cut ("z", "zyx", ...), or is "t" for independent 2D images. A dataset of
    intensities has no phases, but ``species``, and its crops are counts (C, *L). ``known_digest`` is what `digest` is,
    where that need not be computed.
    """

    path: Path
    phases: tuple[Phase, ...]
    voxel_size: float | None
    voxel_unit: str | None
    slice_axes: str
    downsample: int
    provenance: dict[str, Any]
    train: tuple[LabelledImage, ...]
    heldout: tuple[LabelledImage, ...]
    species: tuple[Species, ...] = ()
    known_digest: str | None = None

    @staticmethod
    def open(path: Path | str) -> "Dataset":
        """Read a dataset into memory; large images stay in the file, and are read where they are looked at.

        Raises:
            UsageError: there is no such file.
            DataError: it is damaged, or not a dataset.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"there is no dataset {path}; make one with: dsd ingest IMAGE")
        try:
            about_hdf5(path)  # in a process that may be given up: a damaged file can keep the library busy for ever
            with h5py.File(path, "r", locking=False) as file:
                return Dataset(**contents(path, file))
        except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, IndexError) as error:
            raise DataError(f"cannot read the dataset {path}: damaged, or not made by dsd ingest ({error})") from error

    def write(self, path: Path | str) -> None:
        """Write the dataset to ``path``, all or nothing.

        Raises:
            UsageError: the folder does not exist.
            DsdError: the system could not write.
        """
        large = not self.species and is_large(sum(image.array.nbytes for image in self.train + self.heldout))
        with new_hdf5(Path(path)) as file:
            version = PLAIN if all(image.whole for image in self.train + self.heldout) else VERSION
            what = {"species": species_to_json(self.species)} if self.species else {"phases": to_json(self.phases)}
            file.attrs.update(format=FORMAT, format_version=COUNTS if self.species else version, **what)
            file.attrs.update(slice_axes=self.slice_axes, downsample=self.downsample)
            file.attrs["provenance"] = json.dumps(self.provenance)
            if self.voxel_size is not None:
                file.attrs.update(voxel_size=self.voxel_size, voxel_unit=self.voxel_unit)
            for split in SPLITS:
                group = file.create_group(split)
                for number, image in enumerate(self.images(split)):
                    store(group, f"{number:04d}", image, large)
            if large:
                file.attrs["digest"] = self.digest

    def images(self, split: str) -> tuple[LabelledImage, ...]:
        """The images of ``split``, "train" or "heldout"."""
        if split not in SPLITS:
            raise UsageError(f"there is no split '{split}'; it is one of {', '.join(SPLITS)}")
        return self.train if split == "train" else self.heldout

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the images, none in a dataset of one material."""
        return tuple(dict.fromkeys(image.material for image in self.train if image.material is not None))

    @cached_property
    def materials(self) -> "tuple[Dataset, ...]":
        """The images of each class as a dataset of their own; without classes this one alone."""
        if not self.classes:
            return (self,)

        def own(name: str, split: str) -> tuple[LabelledImage, ...]:
            return tuple(image for image in self.images(split) if image.material == name)

        return tuple(
            replace(self, train=own(name, "train"), heldout=own(name, "heldout"), known_digest=None)
            for name in self.classes
        )

    def of_class(self, name: str) -> "Dataset":
        """The images of one class.

        Raises:
            UsageError: there is no such class.
        """
        if name not in self.classes:
            raise UsageError(f"`class_name={name}`: {self.path} has {', '.join(self.classes) or 'no classes'}")
        return self.materials[self.classes.index(name)] if len(self.classes) > 1 else self

    def segmented(self) -> "Dataset":
        """This dataset, where phases are needed.

        Raises:
            DataError: it holds intensities.
        """
        if self.species:
            raise DataError(f"{self.path} holds intensities, which have no phases; name a dataset of segmented images")
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the contents: equal for equal phases, voxels, units and split, wherever they came from."""
        if self.known_digest is not None:
            return self.known_digest
        what = species_to_json(self.species) if self.species else to_json(self.phases)
        head = [what, self.voxel_size, self.voxel_unit, self.slice_axes, self.downsample]
        digest = hashlib.sha256(json.dumps(head).encode())
        for split in SPLITS:
            for image in self.images(split):
                about = [split, image.axes, image.array.shape, *([image.material] if image.material else [])]
                digest.update(json.dumps(about).encode())
                for rows in slabs(image.array):
                    digest.update(np.ascontiguousarray(image.array[rows]).data)
        return digest.hexdigest()

    def counts(self, split: str | None = None) -> np.ndarray:
        """Voxels of each phase, int64 (K,), of one split or (None) of all; those left out are in none. Of intensities
        the particles of each species, (C,)."""
        images = self.images(split) if split else self.train + self.heldout
        if self.species:
            return np.sum([channels(i.array).reshape(-1, len(self.species)).sum(0, np.int64) for i in images], 0)
        total = sum((image.counts for image in images), np.zeros(IGNORED + 1, np.int64))
        return total[: len(self.phases)]

    @property
    def in_memory(self) -> bool:
        """Whether a look at all voxels is cheap: they are not left in the file."""
        return all(image.tally is None for image in self.train + self.heldout)

    @cached_property
    def ignored(self) -> int:
        """Voxels that are left out, of all images."""
        return sum(int(image.counts[IGNORED]) for image in self.train + self.heldout if not image.whole)

    def fractions(self, split: str | None = None) -> np.ndarray:
        """Volume fraction of each phase, float (K,), of one split or (None) of all; of intensities the mean count of
        each species in a voxel, (C,)."""
        counts = self.counts(split)
        if self.species:
            images = self.images(split) if split else self.train + self.heldout
            return counts / max(1, sum(image.array.size for image in images))
        return counts / max(1, counts.sum())

    def crops(
        self, split: str, n: int, size: Sequence[int], rng: np.random.Generator, augment: bool = False
    ) -> np.ndarray:
        """Draw ``n`` crops, each possible one that holds no left-out voxel being equally likely.

        Args:
            split: "train" or "heldout".
            n: how many.
            size: two sides: crops of 2D images, or of slices of volumes across `slice_axes`; three: sub-volumes.
                Directions or images too small for the crop are left out as long as others can hold it.
            rng: source of randomness.
            augment: flip each axis with probability 1/2, and, where the slice axes say that all directions are
                equivalent ("zyx"), exchange axes of equal sides. Independent images of intensities stay as they are:
                they may be whole things, which have a top and a left side.

        Returns:
            phase indices, uint8 (n, *size); of intensities counts (n, C, *size).

        Raises:
            DataError: no image can hold the crop, or the file is damaged.
        """
        size = tuple(size)
        places = self._room(split, size)
        flat = places.draw(n, rng)
        augment = augment and not (self.species and self.slice_axes == "t")
        out = np.empty((n, *size), places.views[0].dtype)
        if augment:
            signs = (1 - 2 * rng.integers(2, size=(n, len(size)))).tolist()
            orders = equal_side_orders(size) if self.slice_axes == "zyx" else [tuple(range(len(size)))]
            order_of = rng.integers(len(orders), size=n).tolist()
        for i, crop in enumerate(map(places.crop, flat.tolist())):
            if augment:
                crop = crop[tuple(slice(None, None, sign) for sign in signs[i])].transpose(orders[order_of[i]])
            out[i] = crop
            if i % _HELD == 0:
                self._looked_at(split, crop)
        self._looked_at(split, out)
        return channels_first(out) if self.species else out

    def each_crop(
        self, split: str, n: int, size: Sequence[int], rng: np.random.Generator, rows: range
    ) -> Iterator[np.ndarray]:
        """Of the ``n`` that `crops` would draw, those of ``rows``, one by one: phase indices uint8 (*size), or counts
        (C, *size)."""
        places = self._room(split, tuple(size))
        for crop in map(places.crop, places.draw(n, rng)[rows.start : rows.stop].tolist()):
            self._looked_at(split, crop)
            yield channels_first(crop[None])[0] if self.species else crop

    def _looked_at(self, split: str, crops: np.ndarray) -> None:
        """After crops were cut: of large images, see that they hold phases, which opening the file did not."""
        if self.in_memory:
            return
        for image in self.images(split):
            let_go(image.array)
        if crops.max(initial=0) >= len(self.phases):
            raise DataError(f"{self.path} is damaged: it holds voxels of no known phase; run dsd ingest again")

    def holds(self, split: str, size: Sequence[int]) -> bool:
        """Whether there is any crop of this size, in every class."""
        return all(part._places(split, tuple(size)).exist for part in self.materials)

    @cached_property
    def _known_places(self) -> dict[tuple[str, tuple[int, ...]], Places]:
        return {}

    def _places(self, split: str, size: tuple[int, ...]) -> Places:
        """Where crops of ``size`` may be cut."""
        known = self._known_places
        if (split, size) not in known:
            images = self.images(split)
            views = [view for image in images for view in self.views(image, len(size))]
            known[split, size] = Places(views, all(image.whole for image in images), size)
        return known[split, size]

    def views(self, image: LabelledImage, ndim: int) -> list[np.ndarray]:
        """Views (N, *L) of an image whose items, N of them, have the dimension ``ndim`` of the crop."""
        if ndim == 3:
            return [image.array[None]] if image.axes == "ZYX" else []
        if ndim != 2:
            raise UsageError(f"crops have two or three sides, not {ndim}")
        if image.axes == "YX":
            return [image.array[None]]
        if image.axes == "TYX":
            return [image.array]
        return [np.moveaxis(image.array, "zyx".index(axis), 0) for axis in self.slice_axes]

    def _room(self, split: str, size: tuple[int, ...]) -> Places:
        """As `_places`, of which there are some; else raises DataError."""
        places = self._places(split, size)
        if not places.exist:
            raise DataError(places.no_room(self.path, split, len(self.images(split))))
        return places


def is_dataset(path: Path) -> bool:
    """Whether the file at ``path`` says that it is a dataset."""
    try:
        return about_hdf5(path)["format"] == FORMAT
    except DataError:
        return False
