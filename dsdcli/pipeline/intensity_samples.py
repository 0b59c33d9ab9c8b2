"""Samples of intensities, and how they are written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from dsdcli.data.intensity_files import ENDINGS, squeezed, write_intensities
from dsdcli.data.species import Species
from dsdcli.errors import UsageError
from dsdcli.pipeline.output import SHEET, SHEET_SAMPLES, Written, check_output, write_all
from dsdcli.view.sheet import intensity_image


@dataclass(frozen=True, eq=False)
class IntensitySamples:
    """Intensities of one size; ``numpy.asarray`` gives them as they are written, (n, *L), or (n, C, *L) of several
    channels.

    Attributes:
        stack: counts int64 (n, C, *L).
        audit: the record of the job.
    """

    stack: np.ndarray
    species: tuple[Species, ...]
    voxel_size: float | None
    voxel_unit: str | None
    audit: dict[str, Any]

    def __len__(self) -> int:
        return len(self.stack)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = squeezed(self.stack, self.species)
        return array if dtype is None else array.astype(dtype)

    @property
    def totals(self) -> np.ndarray:
        """Particles of each species in each sample, int64 (n, C)."""
        return self.stack.reshape(*self.stack.shape[:2], -1).sum(2)

    def picture(self) -> Pictures.Image:
        """A sheet of the first samples."""
        return intensity_image(self.stack[:SHEET_SAMPLES], self.species)

    def save(self, path: Path | str) -> Written:
        """Write the samples (.tif, .h5, .npy; .png: the sheet alone), and beside them a sheet and the audit record;
        raises as `dsdcli.pipeline.output.Samples.save`."""
        out = check_output(path)
        if out.suffix.lower() not in (*ENDINGS, SHEET):
            raise UsageError(f"intensities are written as {', '.join((*ENDINGS, SHEET))}, not {out}")
        about = {"voxel_size": self.voxel_size, "voxel_unit": self.voxel_unit}

        def write(file: Path, extra: dict[str, Any]) -> None:
            write_intensities(file, self.stack, self.species, {**about, "shape": self.stack.shape, "extra": extra})

        return write_all(out, write, self.picture, lambda: self.audit)
