"""How representative an image is: from a file to the interval of each volume fraction and the size that it takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.dataset import Dataset, is_dataset
from dsdcli.data.sources import check_axes
from dsdcli.data.split import independent_images
from dsdcli.data.voxel import VoxelSize, parse_voxel_size
from dsdcli.device import pick_device
from dsdcli.errors import DataError, UsageError
from dsdcli.evaluation.metrics import METRICS
from dsdcli.evaluation.representative import LEAST, NARROW, SMALLEST, UNEQUAL, PhaseFraction, phase_fractions
from dsdcli.evaluation.window_sizes import Spread, fraction_spreads, metric_spreads
from dsdcli.evaluation.workers import Workers
from dsdcli.files import atomic, require_folder
from dsdcli.pipeline.defaults import default_dataset
from dsdcli.pipeline.inputs import read_real
from dsdcli.pipeline.progress import Note, Progress, silent, unseen
from dsdcli.record import provenance
from dsdcli.view import representative as view

ERROR = 0.05
_MEASURED = tuple(name for name in METRICS if name not in ("volume-fraction", "memorisation", "diversity"))
_PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Crop:
    """A training crop beside the structure that it is to show.

    Attributes:
        size: sides in voxels.
        reach: lag in voxels at which the covariance has fallen to a tenth; see `dsdcli.training.recipes`.
        needed: side in voxels from which a crop is large enough.
        chosen: whether the size is what `train` would take.
    """

    size: tuple[int, ...]
    reach: int
    needed: int
    chosen: bool

    @property
    def enough(self) -> bool:
        return min(self.size) >= self.needed


@dataclass(frozen=True, eq=False)
class Representative:
    """What images say of their material.

    Attributes:
        fractions: of each phase.
        spreads: volume fraction, and what else was asked for, against the size of windows.
        crop: None where no training crop fits.
        error: relative error of a volume fraction that the sides are for.
        dataset: the images, as they were read.
        notes: what a user should know.
    """

    fractions: tuple[PhaseFraction, ...]
    spreads: tuple[Spread, ...]
    crop: Crop | None
    error: float
    dataset: Dataset
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As `dsd rev --json` prints it: lengths in voxels, null for what is not known."""
        fractions = [
            asdict(f)
            | {
                "speaks": f.speaks,
                "relative_error": f.error,
                "side_needed": f.side_for(self.error) if f.volumes else None,
            }
            for f in self.fractions
        ]
        crop = asdict(self.crop) | {"enough": self.crop.enough} if self.crop else None
        return _finite(
            {
                "images": str(self.dataset.path),
                "digest": self.dataset.digest,
                "voxel_size": self.dataset.voxel_size,
                "voxel_unit": self.dataset.voxel_unit,
                "error": self.error,
                "phases": fractions,
                "windows": [asdict(spread) for spread in self.spreads],
                "crop": crop,
                "notes": list(self.notes),
                **provenance(),
            }
        )

    def lines(self) -> list[str]:
        """The tables as text."""
        voxel = self.dataset.voxel_size, self.dataset.voxel_unit
        axes = len(self.fractions[0].lengths)
        return [
            *view.fraction_lines(self.fractions, self.error, *voxel),
            *view.spread_lines(self.spreads, axes, *voxel),
        ]

    def save_figure(self, path: Path | str) -> None:
        """Draw what is measured against the size of windows, as .png, .svg or .pdf.

        Raises:
            UsageError: another extension, no such folder, or no window to draw.
            DsdError: the system could not write.
        """
        path = _check_figure(path)
        if not self.spreads:
            raise UsageError(f"`figure={path}`: the image is too small for windows, so there is nothing to draw")
        with atomic(path) as temporary:
            view.save_figure(temporary, self.fractions, self.spreads, self.dataset.voxel_size, self.dataset.voxel_unit)

    def __str__(self) -> str:
        return "\n".join(self.lines())


def rev(
    images: Dataset | Path | str | None = None,
    *,
    metrics: Sequence[str] = (),
    error: float = ERROR,
    crop: Sequence[int] | None = None,
    phases: Mapping[str, int] | Sequence[tuple[str, int]] = (),
    pore: int | None = None,
    axes: str | None = None,
    voxel_size: str | VoxelSize | None = None,
    ignore: Sequence[int] = (),
    ignore_masks: Sequence[Path | str] = (),
    figure: Path | str | None = None,
    seed: int = 0,
    jobs: int | None = None,
    device: str = "cpu",
    note: Note = silent,
    progress: Progress = unseen,
) -> Representative:
    """How representative images are of their material.

    Args:
        images: a dataset, of which both parts count, or a segmented image; by default the newest dataset here.
        metrics: what else to measure against the size of windows, of `dsdcli.evaluation.metrics.METRICS`.
        error: relative error of a volume fraction, as half a 95 % interval, that the needed side is for.
        crop: sides of the training crop to judge; by default those that `train` would take.
        phases, pore, axes, voxel_size: of an image, as `dsdcli.pipeline.ingest.ingest` takes them.
        ignore, ignore_masks: what is left out of an image; see `dsdcli.data.ignored`. A dataset knows that itself.
        figure: draw it to this file.
        seed: of the choice of windows for ``metrics``.
        jobs, device: as of `evaluate`.
        note, progress: are told what was assumed, and how far the work is.

    Raises:
        UsageError: a request that contradicts itself, or no such file.
        DataError: an image that cannot be used.
    """
    strange = [name for name in metrics if name not in _MEASURED]
    if strange:
        raise UsageError(f"`metrics={strange[0]}`: no such metric of an image; there are {', '.join(_MEASURED)}")
    if not 0 < error < 1:
        raise UsageError(f"`error={error:g}` is relative to the volume fraction, more than 0 and less than 1")
    if figure is not None:
        _check_figure(figure)
    named = list(phases.items()) if isinstance(phases, Mapping) else list(phases)
    about = {
        "named": named,
        "pore": pore,
        "axes": None if axes is None else check_axes(axes),
        "voxel": parse_voxel_size(voxel_size) if isinstance(voxel_size, str) else voxel_size,
        "ignore": list(ignore),
        "ignore_masks": [str(mask) for mask in ignore_masks],
    }
    dataset, remarks = _open(images, about, note)
    arrays = independent_images(dataset)
    names = [phase.name for phase in dataset.phases]
    found = phase_fractions(arrays, names)
    spreads = fraction_spreads(arrays, found)
    if metrics:
        workers = Workers(jobs, None, device if device == "cpu" else str(pick_device(device)))
        rng = np.random.default_rng(seed)

        def told(done: int, number: int) -> None:
            progress(done, number, "windows")

        spreads += metric_spreads(arrays, names, metrics, workers, rng, told)
    judged, doubts = _judge_crop(dataset, None if crop is None else tuple(crop))
    notes = (*remarks, *_silent(found), *_unequal(found), *doubts)
    for line in notes:
        note(f"note: {line}")
    result = Representative(tuple(found), tuple(spreads), judged, error, dataset, notes)
    if figure is not None:
        result.save_figure(figure)
        note(f"figure: {figure}")
    return result


def _open(images: Dataset | Path | str | None, about: Mapping[str, Any], note: Note) -> tuple[Dataset, list[str]]:
    """The images, and remarks; ``about`` says how an image is to be read, and must be empty for a dataset."""
    if images is None:
        images = default_dataset(note)
    if not isinstance(images, Dataset):
        if not (Path(images).is_file() and is_dataset(Path(images))):
            dataset, remarks, warnings = read_real(Path(images), **about)
            return dataset, [*remarks, *warnings]
        images = Dataset.open(images)
    images = images.segmented()
    if any(value not in (None, []) for value in about.values()):
        raise UsageError(
            f"{images.path} is a dataset, and knows how its images are read; run dsd ingest again to change it"
        )
    return images, []


def _judge_crop(dataset: Dataset, size: tuple[int, ...] | None) -> tuple[Crop | None, list[str]]:
    """The training crop beside what structure asks for, and what to say of it."""
    from dsdcli.training.recipes import STRUCTURES, choose_side, structure_reach

    chosen = size is None
    try:
        if size is None:
            size = (choose_side(dataset, 2, gpu=False)[0],) * 2
        side = min(size)
        reach = structure_reach(dataset, side, len(size))
    except DataError as error:
        return None, [str(error)]
    crop = Crop(size, reach, STRUCTURES * reach, chosen)
    return crop, view.crop_lines(crop.size, crop.reach, crop.needed, crop.chosen)


def _silent(found: Sequence[PhaseFraction]) -> list[str]:
    """Of which phases the images are too small to say anything."""
    return [
        f"too small to say anything of the volume fraction of {about.phase} in the material: "
        + (
            f"it takes {NARROW:g} correlation lengths and {SMALLEST} voxels along each axis and {LEAST:g} independent "
            f"volumes, and there are {min(about.widths):.1f}, {_narrowest(about)} and {about.volumes:.1f}"
            if 0 < about.fraction < 1
            else "the images hold " + ("nothing else" if about.fraction else "none of it")
        )
        for about in found
        if not about.speaks
    ]


def _narrowest(about: PhaseFraction) -> int:
    """Voxels along the shortest axis."""
    known = [w * n for w, n in zip(about.widths, about.lengths, strict=True)]
    return round(min(known)) if all(map(math.isfinite, known)) else 0


def _unequal(found: Sequence[PhaseFraction]) -> list[str]:
    known = [about for about in found if about.volumes and about.unequal > UNEQUAL]
    if not known:
        return []
    most = max(known, key=lambda about: about.unequal)
    axes = "zyx"[-len(most.lengths) :]
    lengths = ", ".join(f"{length:.1f} along {axis}" for axis, length in zip(axes, most.lengths, strict=True))
    return [
        f"the axes differ: the correlation length of {most.phase} is {lengths} (voxels); a needed side is that of a "
        "square or cube, and one longer along the long axis does with fewer voxels"
    ]


def _check_figure(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix.lower() not in _PICTURES:
        raise UsageError(f"`figure={path}`: let its name end in {', '.join(_PICTURES)}")
    require_folder(path)
    return path


def _finite(value: Any) -> Any:
    """With None for numbers that are not."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
