"""What a model is: one frozen record that travels with the weights."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from dsdcli.data.phases import Phase
from dsdcli.errors import DataError, UsageError
from dsdcli.process.lattice import Boundary

FORMAT_VERSION = 2


@dataclass(frozen=True)
class Architecture:
    """Size of the U-Net.

    Attributes:
        channels: features at each level; every level halves the resolution.
        blocks: residual blocks per level on the way down; one more on the way up.
        patch: side of the pixel blocks that the first layer folds into channels, so that level 0 works at
            1 / patch of the image's resolution.
    """

    channels: tuple[int, ...]
    blocks: int = 1
    patch: int = 2

    @property
    def multiple(self) -> int:
        """Image sides the U-Net takes are multiples of this; others are padded."""
        return self.patch * 2 ** (len(self.channels) - 1)


PRESETS = {
    "tiny": Architecture((48, 96, 144)),
    "small": Architecture((96, 192, 288)),
    "base": Architecture((128, 256, 384, 384), blocks=2),
}


def preset(name: str) -> Architecture:
    """The named architecture.

    Raises:
        UsageError: no such preset.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset '{name}': use one of {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class ModelConfig:
    """Everything a sampler must know of a model besides its weights.

    Attributes:
        phases: all phases, in the order of the phase indices.
        background: index of the phase that is not carried (the complement of the others).
        fractions: mean volume fraction of each phase in the training images.
        boundary: walls of the training crops.
        size: sides of the training crops, in voxels.
        dose_min, dose_max: range of doses seen in training (hops per direction).
        integral_range: of the carried phases and between them (C, C), in voxels: how much the longest waves vary.
        voxel_size, voxel_unit: physical side of a voxel, None when unknown.
        dataset, dataset_digest: name and content hash of the dataset it was trained on.
    """

    phases: tuple[Phase, ...]
    background: int
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

    @property
    def ndim(self) -> int:
        return len(self.size)

    @property
    def carried(self) -> tuple[int, ...]:
        """Indices of the carried phases, those whose voxels walk."""
        return tuple(i for i in range(len(self.phases)) if i != self.background)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns back into an equal config."""
        return {"format": "dsd-model", "format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ModelConfig":
        """Inverse of `to_json`.

        Raises:
            DataError: not a model's config, of a newer version, or incomplete.
        """
        if not isinstance(value, dict) or value.get("format") != "dsd-model":
            raise DataError("this config.json does not describe a dsd model (no format: dsd-model)")
        if value.get("format_version") != FORMAT_VERSION:
            raise DataError(
                f"model format {value.get('format_version')} is not {FORMAT_VERSION}: install a matching dsd"
            )
        try:
            known = {f.name: value[f.name] for f in fields(cls)}
            arch = dict(known["architecture"])
            arch["channels"] = tuple(arch["channels"])
            known["architecture"] = Architecture(**arch)
            known["phases"] = tuple(Phase(**p) for p in known["phases"])
            known["integral_range"] = tuple(map(tuple, known["integral_range"]))
            for name in ("fractions", "size"):
                known[name] = tuple(known[name])
            return cls(**known)
        except (KeyError, TypeError) as error:
            raise DataError(
                f"the model's config.json is incomplete or damaged ({error}); train or fetch it again"
            ) from error
