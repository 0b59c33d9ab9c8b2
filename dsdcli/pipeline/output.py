"""What a pipeline hands out, and how it gets to disk: samples, their sheet and their audit record, all or none."""

import base64
import contextlib
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from dsdcli.data import samples as stored
from dsdcli.data.formats import split_inner
from dsdcli.data.formats.metaimage import about_metaimage
from dsdcli.data.journal import about_journal, is_walk
from dsdcli.data.phases import Phase
from dsdcli.data.voxel import sides
from dsdcli.data.writers import check_samples_name
from dsdcli.data.writers.maps import is_maps, write_maps
from dsdcli.errors import DsdError, UsageError
from dsdcli.files import check_outputs, require_folder, together, write_json
from dsdcli.moves import alone, claim, settle
from dsdcli.pipeline.growing import write_record
from dsdcli.view.sheet import filling_image, is_sheet, save_picture, sheet_image

SHEET = ".png"  # the extension of a sheet, which may be all that is wanted
SHEET_SAMPLES = 64  # as many as a sheet shows well
SHEET_FILLINGS = 30


@dataclass(frozen=True)
class Written:
    """Files of a finished job.

    Attributes:
        about: the audit record, maybe without the entries of the samples.
    """

    path: Path
    sheet: Path
    record: Path
    about: dict[str, Any]

    @property
    def audit(self) -> dict[str, Any]:
        """The audit record; that of a long job is read from its file."""
        return self.about if "samples" in self.about else stored.read_audit(self.record) or {}


@dataclass(frozen=True, eq=False)
class Samples(stored.Samples):
    """Samples with a picture of themselves, which `save` writes to any format."""

    def picture(self) -> Pictures.Image:
        """A sheet of the first samples."""
        return sheet_image(self.stack[:SHEET_SAMPLES], self.phases)

    def save(self, path: Path | str) -> Written:
        """Write the samples in the format that the extension names (.png: the sheet alone), and beside them a sheet
        (.png) and the audit record (.json).

        Raises:
            UsageError: as `check_output`.
            DsdError: the system could not write; then nothing was changed.
        """
        out = check_output(path)

        def write(file: Path, extra: dict[str, Any]) -> None:
            stored.write_samples(file, self.stack, self.phases, self.voxel_size, self.voxel_unit, extra)

        return write_all(out, write, self.picture, lambda: self.audit or {})

    def _repr_html_(self) -> str:
        buffer = io.BytesIO()
        self.picture().save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        return f'<p>{self}</p><img src="data:image/png;base64,{data}" alt="{self}">'

    def __str__(self) -> str:
        voxel = f", voxel {self.voxel_size:g} {self.voxel_unit}" if self.voxel_size else ""
        shares = zip(self.phases, self.fractions.mean(0), strict=True)
        mean = ", ".join(f"{phase.name} {share:.4f}" for phase, share in shares)
        return f"{len(self)} samples of {sides(self.stack.shape[1:])}{voxel}: {mean}"


@dataclass(frozen=True, eq=False)
class Fillings(Samples):
    """Fillings of the holes in an image.

    Attributes:
        original: phase indices (*L); 0 where unknown.
        mask: bool (*L), what was filled.
        unknown: bool (*L), voxels without a phase in the original.
    """

    original: np.ndarray
    mask: np.ndarray
    unknown: np.ndarray

    def picture(self) -> Pictures.Image:
        """The original, the mask, how often each phase fills each voxel, and the first fillings."""
        shown = self.stack[:SHEET_FILLINGS]
        return filling_image(self.original, self.mask, self.unknown, self.frequencies, shown, self.phases)


@dataclass(frozen=True, eq=False)
class Honouring(Samples):
    """Samples that keep known voxels.

    Attributes:
        original: phase indices (*L), 0 where not known.
        known: bool (*L).
    """

    original: np.ndarray
    known: np.ndarray

    def picture(self) -> Pictures.Image:
        """What is known, how often each phase takes each voxel, the entropy of that, and the first samples."""
        return known_sheet(self.original, self.known, self.frequencies, self.stack[:SHEET_FILLINGS], self.phases)


def known_sheet(
    original: np.ndarray, known: np.ndarray, often: np.ndarray, shown: np.ndarray, phases: Sequence[Phase]
) -> Pictures.Image:
    """The sheet of samples that keep known voxels; see `dsdcli.view.sheet.filling_image`."""
    return filling_image(original, ~known, ~known, often, shown, phases, "sample")


def read_samples(path: Path | str) -> Samples:
    """Read samples from a file, or from a folder of images, with the audit record beside them.

    Raises:
        DataError: missing or unreadable.
    """
    found = stored.read_samples(path)
    return Samples(found.stack, found.phases, found.voxel_size, found.voxel_unit, found.audit)


def check_output(path: Path | str, reads: Iterable[Path | str] = ()) -> Path:
    """See, before long work, that samples can be written to ``path``, their sheet and their record beside it, and that
    this harms nothing: all names are free, or of files that dsd made, and none is that of an input or of its record.

    Args:
        reads: the inputs, as `dsdcli.data.formats.read_image` takes them.

    Raises:
        UsageError: unknown extension, no such folder, or a name that may not be used.
    """
    path = Path(path)
    if path.suffix.lower() != SHEET:
        check_samples_name(path)
    require_folder(path)
    sources = [split_inner(str(source))[0] for source in reads]
    sources += [source.with_suffix(".json") for source in sources if source.suffix]  # their records belong to them
    settle(path.parent)
    try:
        with alone(path.parent):  # another job may be moving its files there just now
            check_outputs(_names(path).items(), sources)
    except OSError as error:
        raise DsdError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def check_maps(path: Path | str, reads: Iterable[Path | str] = ()) -> Path:
    """See, before long work, that maps of frequencies can be written to ``path``; raises as `check_output`."""
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"maps of frequencies are written as TIFF; let {path} end in .tif")
    require_folder(path)
    check_outputs([(path, is_maps)], [split_inner(str(source))[0] for source in reads])
    return path


def save_maps(path: Path, often: np.ndarray, phases: Sequence[Phase], samples_file: Path) -> None:
    """Write how often each phase takes each voxel (K, *L), and the entropy of that in bits."""
    maps = np.concatenate([often, stored.entropy(often)[None]])
    write_maps(path, maps, phases, {"samples_file": samples_file.name})


@contextlib.contextmanager
def output(path: Path | None, first: str, reads: Iterable[Path | str] = ()) -> Iterator[Path]:
    """The name that a job's samples get: ``path``, or the first of ``first`` (such as samples.tif), samples-2.tif, ...
    of which all names are free. What is chosen here is this job's alone until the block ends.

    Raises:
        UsageError: as `check_output`, or a name that another job has chosen.
    """
    if path is not None:
        check_output(path, reads)
        with claim(path, shared=True) as held:
            if not held:
                raise UsageError(f"another dsd is at work on {path}, a name that was free; choose another name")
            yield path
        return
    for number in itertools.count(1):
        path = Path(first) if number == 1 else Path(first).with_stem(f"{Path(first).stem}-{number}")
        check_samples_name(path)
        with claim(path) as held:
            if held and not any(map(os.path.lexists, _names(path))):
                yield path
                return


def _names(out: Path) -> dict[Path, Callable[[Path], bool]]:
    """All files of a job, each with what says whether dsd made it under this name."""

    def samples(path: Path) -> bool:
        return stored.is_samples(path) and (path.suffix.lower() != ".npy" or record(path.with_suffix(".json")))

    def record(path: Path) -> bool:
        try:
            return stored.read_audit(path) is not None
        except DsdError:
            return False

    names: dict[Path, Callable[[Path], bool]] = {out: samples}
    if out.suffix.lower() == ".mhd":
        names[out.with_suffix(".raw")] = lambda _: about_metaimage(out) is not None
    names[unfinished(out)] = lambda path: about_journal(path) is not None
    names[unfinished_walk(out)] = is_walk
    return names | {out.with_suffix(SHEET): is_sheet, out.with_suffix(".json"): record}


def unfinished(out: Path) -> Path:
    """The file that keeps what a job has made of ``out`` until that is complete: samples.h5.unfinished."""
    return out.with_name(f"{out.name}.unfinished")


def unfinished_walk(out: Path) -> Path:
    """The file that keeps the walk that is under way in such a job: samples.h5.unfinished.walk."""
    return out.with_name(f"{out.name}.unfinished.walk")


def write_all(
    out: Path,
    write: Callable[[Path, dict[str, Any]], None],
    picture: Callable[[], Pictures.Image],
    audit: Callable[[], dict[str, Any]],
) -> Written:
    """Write samples, sheet and audit record side by side: all of them or none.

    Args:
        write: writes the samples to a file, with what that should say of the others; the sheet and the record are
            asked for only afterwards. Not called where only the sheet is wanted.
        audit: gives the audit record, whose ``samples`` may be any iterable.

    Raises:
        UsageError: a file of another kind came in the way meanwhile; the samples are then kept elsewhere.
        DsdError: a file could not be written; then nothing was changed.
    """
    sheet, record = out.with_suffix(SHEET), out.with_suffix(".json")
    with together(out.parent, lambda: check_outputs(_names(out).items())) as folder:
        if out != sheet:
            write(folder / out.name, {"audit": record.name})
        save_picture(picture(), folder / sheet.name)
        about = {**audit(), "samples_file": out.name}
        if isinstance(about.get("samples", []), list):
            write_json(folder / record.name, about)
        else:
            write_record(folder / record.name, about, about.pop("samples"))
    return Written(out, sheet, record, about)
