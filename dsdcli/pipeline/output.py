"""What a pipeline hands out, and how it gets to disk: samples, their sheet and their audit record, all or none."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from dsdcli.data import samples as stored
from dsdcli.data.voxel import sides
from dsdcli.data.writers import check_samples_name
from dsdcli.files import require_folder, together, write_json
from dsdcli.view.sheet import filling_image, save_picture, sheet_image

SHEET = ".png"  # the extension of a sheet, which may be all that is wanted
SHEET_SAMPLES = 64  # as many as a sheet shows well
SHEET_FILLINGS = 30


@dataclass(frozen=True)
class Written:
    """Files of a finished job and its audit record."""

    path: Path
    sheet: Path
    record: Path
    audit: dict[str, Any]


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
            UsageError: unknown extension, or no such folder.
            DsdError: the system could not write; then nothing is there.
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
        return filling_image(self.original, self.mask, self.unknown, self.stack, self.phases, SHEET_FILLINGS)


def read_samples(path: Path | str) -> Samples:
    """Read samples from a file, or from a folder of images, with the audit record beside them.

    Raises:
        DataError: missing or unreadable.
    """
    found = stored.read_samples(path)
    return Samples(found.stack, found.phases, found.voxel_size, found.voxel_unit, found.audit)


def check_output(path: Path | str) -> Path:
    """See, before long work, that samples can be written to ``path``.

    Raises:
        UsageError: unknown extension, or no such folder.
    """
    path = Path(path)
    require_folder(path)
    if path.suffix.lower() != SHEET:
        check_samples_name(path)
    return path


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

    Raises:
        DsdError: a file could not be written.
    """
    sheet, record = out.with_suffix(SHEET), out.with_suffix(".json")
    with together(out.parent) as folder:
        if out != sheet:
            write(folder / out.name, {"audit": record.name})
        save_picture(picture(), folder / sheet.name)
        about = {**audit(), "samples_file": out.name}
        write_json(folder / record.name, about)
    return Written(out, sheet, record, about)
