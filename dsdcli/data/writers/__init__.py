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
from dsdcli.data.writers.sink import open_sink
from dsdcli.data.writers.tiff import write_tif
from dsdcli.data.writers.vti import write_vti
from dsdcli.errors import UsageError

Writer = Callable[[Path, np.ndarray, Sequence[Phase], dict[str, Any]], None]


def _write_growing(path: Path, stack: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    with open_sink(path, stack.shape, phases, about) as put:
        for number, image in enumerate(stack):
            put(number, image)


WRITERS: dict[str, Writer] = {
    ".tif": write_tif,
    ".tiff": write_tif,
    ".h5": _write_growing,
    ".hdf5": _write_growing,
    ".npy": _write_growing,
    ".zarr": _write_growing,
    ".vti": write_vti,
    ".mhd": write_mhd,
    ".mha": write_mha,
}
EXTENSIONS = tuple(WRITERS)


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
