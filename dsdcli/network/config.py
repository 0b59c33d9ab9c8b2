"""What a model is: one frozen record that travels with the weights."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from dsdcli.data.phases import Phase
from dsdcli.data.species import Species
from dsdcli.errors import DataError, UsageError
from dsdcli.network.claims import check_model
from dsdcli.process.lattice import Boundary, Lattice
from dsdcli.process.long_waves import LongWaves
from dsdcli.process.prior import range_on

FORMAT_VERSION = 3
WITH_CLASSES = 4  # a model of several materials, which earlier releases cannot read
OF_COUNTS = 5  # a model of intensities, with classes or without
WITH_PROPERTIES = 6  # a model that can be told numbers of the images, with classes or without
WITH_EXPONENTS = 7  # a model that knows how long waves vary with the volume fractions, with any of these or without
READABLE = (3, 4, 5, 6, 7)


@dataclass(frozen=True)
class Architecture:
    """Size of the network.

    Attributes:
        channels: features at each level; every level halves the resolution.
        blocks: residual blocks per level on the way down, and as many on the way up.
        patch: side of the voxel blocks that the trunk starts from: level 0 works at 1 / patch of the image's
            resolution.
        fine: features at full resolution, of the stem and the head.
        kernel: side of the convolutions, odd.
        expansion: width of the hidden layer of a block, relative to its features.
    """

    channels: tuple[int, ...]
    blocks: int = 2
    patch: int = 2
    fine: int = 16
    kernel: int = 3
    expansion: int = 2

    @property
    def multiple(self) -> int:
        """Image sides the network takes are multiples of this; others are padded."""
        return self.patch * 2 ** (len(self.channels) - 1)

    @property
    def reach(self) -> int:
        """Sites beyond which nothing changes an output of the network."""
        levels = len(self.channels)
        passes = [(1 if level == levels - 1 else 2) * self.blocks for level in range(levels)]
        half = self.kernel // 2
        return half + sum(half * n * self.patch * 2**level for level, n in enumerate(passes)) + self.multiple - 1


# For images and for volumes.
PRESETS: dict[str, tuple[Architecture, Architecture]] = {
    "tiny": (Architecture((96, 128, 192), patch=4), Architecture((64, 128, 192))),
    "small": (
        Architecture((128, 256, 384), fine=32, blocks=3, kernel=5),
        Architecture((128, 256, 384), fine=32, blocks=3),
    ),
    "base": (
        Architecture((192, 384, 576, 576), fine=48, blocks=4, kernel=5),
        Architecture((192, 384, 576, 576), fine=48, blocks=4),
    ),
}


def preset(name: str, ndim: int = 2) -> Architecture:
    """The named architecture, for images or for volumes.

    Raises:
        UsageError: no such preset.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset '{name}': use one of {', '.join(PRESETS)}")
    return PRESETS[name][ndim - 2]


def fitting(architecture: Architecture, size: tuple[int, ...]) -> Architecture:
    """The architecture with patches no larger than small images ask for: they are not padded to several times their
    size."""
    patch = architecture.patch
    while patch > 1 and patch * 2 ** (len(architecture.channels) - 1) > min(size):
        patch //= 2
    return replace(architecture, patch=patch)


@dataclass(frozen=True)
class Material:
    """One of the classes of a model.

    Attributes:
        fractions, integral_range, range_exponents: as of `ModelConfig`, of its own training images.
    """

    name: str
    fractions: tuple[float, ...]
    integral_range: tuple[tuple[float, ...], ...]
    range_exponents: tuple[float, ...] = ()


@dataclass(frozen=True)
class Property:
    """A number of images that a model can be told.

    Attributes:
        name: as `dsdcli.evaluation.quantity.Quantity` has it.
        mean, deviation, low, high: over the training crops that it was told of, in voxels.
    """

    name: str
    mean: float
    deviation: float
    low: float
    high: float

    def standardised(self, value: float) -> float:
        """As the network takes it."""
        return (value - self.mean) / self.deviation


@dataclass(frozen=True)
class ModelConfig:
    """Everything a sampler must know of a model besides its weights.

    Attributes:
        phases: all phases, in the order of the phase indices.
        fractions: mean volume fraction of each phase in the training images.
        boundary: walls of the training crops.
        size: sides of the training crops, in voxels.
        dose_min, dose_max: range of doses seen in training (hops per direction).
        integral_range: of the phases and between them (K, K), in voxels: how much the longest waves vary, in images of
            the ``fractions`` where the exponents are known, else on average.
        range_exponents: powers of the odds of their volume fractions that it goes with (K,), of
            `dsdcli.process.long_waves.odds_exponents`; none where they are not known.
        voxel_size, voxel_unit: physical side of a voxel, None when unknown.
        dataset, dataset_digest: name and content hash of the dataset it was trained on.
        classes: of the training images, in the order of the network's inputs; none for one material.
        species: of a model of intensities, which has no phases: ``fractions`` are their mean counts in a voxel, and the
            ``integral_range`` is that of `dsdcli.process.long_waves.relative_range`.
        properties: that it can be told, in the order of the network's inputs.
    """

    phases: tuple[Phase, ...]
    fractions: tuple[float, ...]
    boundary: Boundary
    size: tuple[int, ...]
    dose_min: float
    dose_max: float
    integral_range: tuple[tuple[float, ...], ...]
    architecture: Architecture
    voxel_size: float | None = None
    voxel_unit: str | None = None
    dataset: str | None = None
    dataset_digest: str | None = None
    classes: tuple[Material, ...] = ()
    species: tuple[Species, ...] = ()
    properties: tuple[Property, ...] = ()
    range_exponents: tuple[float, ...] = ()

    @property
    def ndim(self) -> int:
        return len(self.size)

    def long_waves(self, lattice: Lattice, kind: int | None = None) -> LongWaves:
        """The law of the long waves of images on a lattice, those of a class if told which."""
        material = self if kind is None else self.classes[kind]
        ranges, usual, exponents = (
            torch.tensor(values, dtype=torch.float64)
            for values in (material.integral_range, material.fractions, material.range_exponents)
        )
        ranges = range_on(ranges, self.size, self.boundary, lattice)
        return LongWaves(ranges, usual, exponents if len(exponents) else None)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns back into an equal config."""
        versions = (
            (self.species, OF_COUNTS),
            (self.range_exponents, WITH_EXPONENTS),
            (self.properties, WITH_PROPERTIES),
            (self.classes, WITH_CLASSES),
        )
        version = next((number for has, number in versions if has), FORMAT_VERSION)
        # What a model lacks is not said, so that the config of one without stays what it was, byte for byte.
        lacking = {name for name in ("classes", "species", "properties", "range_exponents") if not getattr(self, name)}
        if self.species:
            lacking.discard("classes")
        about = {name: value for name, value in asdict(self).items() if name not in lacking}
        for each in about.get("classes", ()):
            if not each["range_exponents"]:
                del each["range_exponents"]
        return {"format": "dsd-model", "format_version": version, **about}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ModelConfig":
        """Inverse of `to_json`.

        Raises:
            DataError: not a model's config, of a newer version, incomplete, or without a meaning.
        """
        if not isinstance(value, dict) or value.get("format") != "dsd-model":
            raise DataError("this config.json does not describe a dsd model (no format: dsd-model)")
        if value.get("format_version") not in READABLE:
            raise DataError(
                f"model format {value.get('format_version')} is not {FORMAT_VERSION}: install a matching dsd"
            )
        names = {
            "model": cls,
            "phases": Phase,
            "architecture": Architecture,
            "classes": Material,
            "species": Species,
            "properties": Property,
        }
        check_model(value, {name: tuple(f.name for f in fields(kind)) for name, kind in names.items()})
        known = {f.name: value[f.name] for f in fields(cls) if f.name in value}
        parts = known["architecture"]
        architecture = {f.name: parts[f.name] for f in fields(Architecture) if f.name in parts}
        known["architecture"] = Architecture(**{**architecture, "channels": tuple(architecture["channels"])})
        known["phases"] = tuple(Phase(**phase) for phase in known["phases"])
        known["integral_range"] = tuple(map(tuple, known["integral_range"]))
        known["classes"] = tuple(
            Material(
                c["name"],
                tuple(c["fractions"]),
                tuple(map(tuple, c["integral_range"])),
                tuple(c.get("range_exponents", ())),
            )
            for c in known.get("classes", ())
        )
        known["species"] = tuple(Species(**each) for each in known.get("species", ()))
        known["properties"] = tuple(Property(**each) for each in known.get("properties", ()))
        for name in ("fractions", "size", "range_exponents"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)
