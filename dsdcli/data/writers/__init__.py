"""Samples files: one writer for each format, chosen by the extension of the name."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.metaimage import about_metaimage
from dsdcli.data.formats.ome_zarr import about_zarr
from dsdcli.data.phases import Phase
from dsdcli.data.writers.metaimage import write_mha, write_mhd
from dsdcli.data.writers.ome_zarr import write_zarr
from dsdcli.data.writers.plain import write_h5, write_npy
from dsdcli.data.writers.tiff import write_tif
from dsdcli.data.writers.vti import write_vti
from dsdcli.errors import UsageError
from dsdcli.view.sheet import write_sheet

Writer = Callable[[Path, np.ndarray, Sequence[Phase], dict[str, Any]], None]


def _write_png(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    write_sheet(path, stack, phases)


WRITERS: dict[str, Writer] = {
    ".tif": write_tif,
    ".tiff": write_tif,
    ".h5": write_h5,
    ".hdf5": write_h5,
    ".npy": write_npy,
    ".zarr": write_zarr,
    ".vti": write_vti,
    ".mhd": write_mhd,
    ".mha": write_mha,
    ".png": _write_png,
}
EXTENSIONS = tuple(extension for extension in WRITERS if extension != ".png")  # those that hold data


def check_samples_name(path: Path | str) -> None:
    """See, before long work, that ``path`` can become a samples file.

    Raises:
        UsageError: an extension that is not known (lists those that are), a library that is missing, or something in
            the way that this program did not make.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in WRITERS:
        raise UsageError(f"cannot tell the format of {path}; let the name end in one of {' '.join(WRITERS)}")
    if ending == ".zarr" and find_spec("zarr") is None:
        raise UsageError(f"the Zarr folder {path} needs zarr, which is not installed; pip install zarr")
    strange_folder = path.is_dir() and (ending != ".zarr" or about_zarr(path) is None)
    if strange_folder or (ending == ".zarr" and path.is_file()):
        raise UsageError(f"{path} is in the way, and dsd did not make it; choose another name")
    voxels = path.with_suffix(".raw")
    if ending == ".mhd" and voxels.exists() and about_metaimage(path) is None:
        raise UsageError(f"{voxels} would be overwritten, and dsd did not make it; choose another name, or .mha")
