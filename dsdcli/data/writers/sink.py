"""Files of samples that grow image by image, so that a long job never holds them all."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.hdf5 import new_hdf5
from dsdcli.data.phases import Phase, label_dtype, to_json, to_labels
from dsdcli.data.writers.ome_zarr import ZarrSamples
from dsdcli.files import atomic

Put = Callable[[int, np.ndarray], None]  # number of a sample in the file, its phase indices (*L)


def appends(path: Path) -> bool:
    """Whether `open_sink` knows the extension of ``path``: ``.h5``, ``.npy`` and ``.zarr``."""
    return path.suffix.lower() in _SINKS


def open_sink(
    path: Path, shape: tuple[int, ...], phases: Sequence[Phase], about: Mapping[str, Any]
) -> AbstractContextManager[Put]:
    """A file for samples, phase indices (n, *L) in all, as a function that puts one of them in its place.

    The file appears when the block ends, complete, or not at all.

    Args:
        about: voxel_size, voxel_unit and extra, as `dsdcli.data.samples.write_samples` takes them.
    """
    return _SINKS[path.suffix.lower()](path, shape, phases, about)


@contextmanager
def _h5(path: Path, shape: tuple[int, ...], phases: Sequence[Phase], about: Mapping[str, Any]) -> Iterator[Put]:
    with new_hdf5(path) as file:
        samples = file.create_dataset(
            "samples",
            shape,
            label_dtype(phases),
            chunks=(1, *shape[1:]),
            compression="gzip",
            compression_opts=4,
            shuffle=True,
        )
        samples.attrs.update(axes="TYX" if len(shape) == 3 else "TZYX", phases=to_json(phases))
        if about["voxel_size"]:
            samples.attrs.update(voxel_size=about["voxel_size"], voxel_unit=about["voxel_unit"])
        if about["extra"] is not None:  # a dataset, since attributes may not exceed 64 kB
            file["extra"] = json.dumps(about["extra"])

        def put(number: int, image: np.ndarray) -> None:
            samples[number] = to_labels(image, phases)

        yield put


@contextmanager
def _npy(path: Path, shape: tuple[int, ...], phases: Sequence[Phase], about: Mapping[str, Any]) -> Iterator[Put]:
    with atomic(path) as temporary:
        labels = np.lib.format.open_memmap(temporary, "w+", label_dtype(phases), shape)

        def put(number: int, image: np.ndarray) -> None:
            labels[number] = to_labels(image, phases)

        yield put
        labels.flush()


@contextmanager
def _zarr(path: Path, shape: tuple[int, ...], phases: Sequence[Phase], about: Mapping[str, Any]) -> Iterator[Put]:
    with atomic(path) as temporary:
        whole = {"phases": [asdict(phase) for phase in phases], "shape": shape, **about}
        yield ZarrSamples(temporary, shape, phases, whole).write


_SINKS: dict[str, Callable[..., AbstractContextManager[Put]]] = {".h5": _h5, ".hdf5": _h5, ".npy": _npy, ".zarr": _zarr}
