"""Samples files: stacks of segmented images in the user's own labels and units."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from dsdcli.data.formats import Raster, guarded, is_slices, read_folder, read_image
from dsdcli.data.formats.hdf5 import about_hdf5
from dsdcli.data.formats.metaimage import about_metaimage
from dsdcli.data.formats.ome_zarr import about_zarr
from dsdcli.data.formats.tiff import left_in_tiff
from dsdcli.data.formats.vtk_image import says_ours
from dsdcli.data.phases import MAX_LABELS, Phase, count_labels, from_json, to_indices, to_labels
from dsdcli.data.voxel import UNITS_IN_METRES, sides
from dsdcli.data.writers import WRITERS, check_samples_name
from dsdcli.errors import DataError
from dsdcli.files import parse_json

AUDIT = "dsd-audit"  # what the record beside a samples file says it is


@dataclass(frozen=True, eq=False)
class Samples:
    """Segmented images of one size; ``numpy.asarray`` gives their labels (n, *L).

    Attributes:
        stack: phase indices uint8 (n, *L).
        audit: the record made with the samples, if there is one.
    """

    stack: np.ndarray
    phases: tuple[Phase, ...]
    voxel_size: float | None
    voxel_unit: str | None
    audit: dict[str, Any] | None

    def __len__(self) -> int:
        return len(self.stack)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("the labels are made when they are asked for: they are always a copy")
        labels = to_labels(self.stack, self.phases)
        return labels if dtype is None else labels.astype(dtype)

    def as_phases(self, phases: Sequence[Phase]) -> "Samples":
        """The same images as indices of other phases, matched by name where all names are there, else by label.

        Raises:
            DataError: labels that belong to no phase.
        """
        stack, used = _indices("the samples", to_labels(self.stack, self.phases), self.phases, tuple(phases))
        return Samples(stack, used, self.voxel_size, self.voxel_unit, self.audit)

    @cached_property
    def counts(self) -> np.ndarray:
        """Voxels of each phase in each sample, int64 (n, K)."""
        return np.stack([np.bincount(image.ravel(), minlength=len(self.phases)) for image in self.stack])

    @property
    def fractions(self) -> np.ndarray:
        """Volume fraction of each phase in each sample, (n, K)."""
        return self.counts / self.counts.sum(1, keepdims=True)

    @property
    def frequencies(self) -> np.ndarray:
        """Share of the samples that have each phase at each voxel, float32 (K, *L)."""
        return np.stack([(self.stack == k).mean(0, dtype=np.float32) for k in range(len(self.phases))])


def entropy(frequencies: np.ndarray) -> np.ndarray:
    """Shannon entropy of every voxel in bits: (K, *L) -> (*L). 0 where all samples agree."""
    p = np.maximum(frequencies, 1e-12)
    return -(p * np.log2(p)).sum(0)


def write_samples(
    path: Path | str,
    stack: np.ndarray,
    phases: Sequence[Phase],
    voxel_size: float | None = None,
    voxel_unit: str | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write ``stack`` in the format that the extension of ``path`` names, all or nothing.

    ``.tif`` ImageJ TIFF, axes TYX or TZYX (OME-TIFF where ImageJ's format cannot hold the labels or the size);
    ``.h5`` dataset ``/samples``; ``.zarr`` OME-Zarr; ``.vti`` VTK image; ``.mhd`` (with ``.raw``) and ``.mha``
    MetaImage; ``.npy`` bare labels.

    Args:
        path: the file.
        stack: phase indices (n, Y, X) or (n, Z, Y, X).
        phases: names and labels, in the order of the indices.
        voxel_size: side of a voxel, in ``voxel_unit``; None if unknown.
        voxel_unit: as `dsdcli.data.voxel.UNITS_IN_METRES`.
        extra: anything more to keep in the file (not .npy), as JSON.

    Raises:
        UsageError: a name that `check_samples_name` refuses, or no such folder.
        DsdError: the system could not write.
    """
    path = Path(path)
    check_samples_name(path)
    about = {
        "phases": [asdict(phase) for phase in phases],
        "voxel_size": voxel_size,
        "voxel_unit": voxel_unit,
        "shape": stack.shape,
        "extra": extra,
    }
    WRITERS[path.suffix.lower()](path, stack, phases, about)


def read_samples(path: Path | str, phases: Sequence[Phase] | None = None) -> Samples:
    """Read a samples file of any format, or a folder of images of equal size, one sample each.

    In files from elsewhere a 3D array is a stack of 2D samples unless the file says that it is a volume.

    Args:
        path: file or folder. An audit record ``<stem>.json`` beside it is read too.
        phases: what the indices of the result shall mean. Phases are matched by name where the file names them all,
            else by label. By default those of the file, else one for each label that occurs.

    Raises:
        DataError: missing or unreadable file, or labels that belong to no phase.
    """
    path = Path(path)
    with guarded(path):
        return _samples(path, tuple(phases) if phases else None)


def _samples(path: Path, phases: tuple[Phase, ...] | None) -> Samples:
    labels, about = _read(path)
    beside = path.with_suffix(".json")
    audit = read_audit(beside) or _if_audit(about.get("extra"))
    if not about.get("phases") and audit and isinstance(audit.get("phases"), list):
        about = {key: audit.get(key) for key in ("phases", "voxel_size", "voxel_unit")}
    own = from_json(json.dumps(about["phases"])) if about.get("phases") else None
    stack, used = _indices(path, labels, own, phases)
    size, unit = about.get("voxel_size") or None, about.get("voxel_unit")
    if size and not (math.isfinite(float(size)) and float(size) > 0 and unit in UNITS_IN_METRES):
        raise DataError(f"{path} is damaged: its voxels are of {size} {unit}")
    return Samples(stack, used, float(size) if size else None, unit, audit)


def samples_of(labels: np.ndarray, phases: Sequence[Phase] | None = None) -> Samples:
    """Samples from an array of labels (n, *L); ``phases`` as in `read_samples`.

    Raises:
        DataError: labels that belong to no phase.
    """
    stack, used = _indices("the array", labels, None, tuple(phases) if phases else None)
    return Samples(stack, used, None, None, None)


def is_samples(path: Path) -> bool:
    """Whether `write_samples` made this file (for .npy, which cannot tell: whether an audit record lies beside it)."""
    ending = path.suffix.lower()
    if ending == ".zarr":
        return about_zarr(path) is not None
    if not path.is_file():
        return False
    try:
        if ending in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as tif:
                return left_in_tiff(tif) is not None
        if ending in (".h5", ".hdf5"):
            return about_hdf5(path)["samples"]
        if ending in (".mhd", ".mha"):
            return about_metaimage(path) is not None
        if ending == ".vti":
            return says_ours(path)
        return ending == ".npy" and read_audit(path.with_suffix(".json")) is not None
    except Exception:  # of a damaged file every kind; whoever reads it says what is wrong
        return False


def _indices(
    source: Path | str, labels: np.ndarray, own: tuple[Phase, ...] | None, wanted: tuple[Phase, ...] | None
) -> tuple[np.ndarray, tuple[Phase, ...]]:
    found = count_labels(labels)
    if not wanted and not own and len(found) > MAX_LABELS:
        raise DataError(f"{source} holds {len(found)} different values, which belong to no phase: it looks unsegmented")
    used = wanted or own or tuple(Phase(f"phase{label}", label) for label in found)
    names = [phase.name for phase in used]
    table = {phase.label: index for index, phase in enumerate(used)}
    if own and all(phase.name in names for phase in own):
        table = {phase.label: names.index(phase.name) for phase in own}
    strange = [str(label) for label in found if label not in table]
    if strange:
        known = ", ".join(f"{phase.name}={phase.label}" for phase in used)
        raise DataError(
            f"{source} holds labels that belong to no phase: {', '.join(strange[:16])}; the phases are {known}"
        )
    return to_indices(labels, table), used


def _read(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Labels (n, *L) and what the file says about them."""
    if is_slices(path):
        images = read_folder(path)
        shapes = {image.array.shape for image in images}
        if len(shapes) > 1:
            sizes = ", ".join(sides(shape) for shape in sorted(shapes))
            raise DataError(f"the images in {path} differ in size ({sizes}); samples must be of one size")
        return np.stack([image.array for image in images]), _sizes(images[0])
    image = read_image(str(path))
    if image.about:
        try:
            return image.array.reshape(image.about["shape"]), image.about
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged: its record does not fit its voxels ({error})") from error
    single = image.axes in ("YX", "ZYX")
    return image.array[None] if single else image.array, _sizes(image)


def _sizes(image: Raster) -> dict[str, Any]:
    return {"voxel_size": image.voxel.value, "voxel_unit": image.voxel.unit} if image.voxel else {}


def read_audit(path: Path) -> dict[str, Any] | None:
    """The audit record at ``path``, None if there is none.

    Raises:
        DataError: it is damaged.
    """
    if not path.is_file():
        return None
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the audit record {path} ({error}); delete or mend it") from error
    return _if_audit(value)


def record_of_intensities(path: Path) -> dict[str, Any] | None:
    """The audit record beside a file of samples of intensities; None for any other file, whatever lies beside it."""
    try:
        audit = read_audit(path.with_suffix(".json")) if path.is_file() else None
    except DataError:  # of a file that is not ours, or one that says so itself when it is read
        return None
    return audit if audit and audit.get("species") else None


def _if_audit(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and value.get("format") == AUDIT else None
