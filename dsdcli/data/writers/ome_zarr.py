"""Samples as OME-Zarr (OME-NGFF 0.4): chunked, with coarser levels for viewers, and written as they are made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.downsample import majority
from dsdcli.data.formats.ome_zarr import OURS
from dsdcli.data.phases import Phase, label_dtype, to_labels

_UNITS = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter", "cm": "centimeter", "m": "meter"}
_SMALLEST = 64  # largest side of the coarsest level
_CHUNK = {2: 512, 3: 64}  # sides of a chunk, of one sample


class ZarrSamples:
    """An OME-Zarr folder that takes one sample after another, in any order; those not written yet have no chunks.

    Axes are t (the sample), then z, y, x. Every level halves the sides by majority, as `dsdcli.data.downsample` does.
    """

    def __init__(self, path: Path, shape: Sequence[int], phases: Sequence[Phase], about: dict[str, Any]) -> None:
        """Create the folder; ``shape`` is (n, *L), ``about`` what `dsdcli.data.samples.write_samples` says of it."""
        import numcodecs
        import zarr

        self.phases = tuple(phases)
        group = zarr.open_group(str(path), mode="w", zarr_format=2)
        self.levels = [
            group.create_array(
                str(level),
                shape=(shape[0], *sides),
                chunks=(1, *(min(side, _CHUNK[len(sides)]) for side in sides)),
                dtype=label_dtype(phases),
                compressors=numcodecs.Zlib(4),
                chunk_key_encoding={"name": "v2", "separator": "/"},
                fill_value=0,
                config={"write_empty_chunks": True},
            )
            for level, sides in enumerate(_sides(tuple(shape[1:])))
        ]
        axes = [{"name": "t", "type": "time"}]
        unit = {"unit": _UNITS[about["voxel_unit"]]} if about["voxel_size"] else {}
        axes += [{"name": name, "type": "space", **unit} for name in "zyx"[3 - len(shape[1:]) :]]
        group.attrs["multiscales"] = [
            {
                "version": "0.4",
                "name": "samples",
                "type": "majority",
                "axes": axes,
                "datasets": [
                    {"path": str(level), "coordinateTransformations": _steps(level, len(shape) - 1, about)}
                    for level in range(len(self.levels))
                ],
            }
        ]
        group.attrs[OURS] = about

    @classmethod
    def there(cls, path: Path, phases: Sequence[Phase]) -> "ZarrSamples":
        """The folder that another process has created, to write into as well."""
        import zarr

        group, found = zarr.open_group(str(path), mode="r+"), cls.__new__(cls)
        arrays = dict(group.arrays())
        found.phases, found.levels = tuple(phases), [arrays[str(level)] for level in range(len(arrays))]
        return found

    def write_rows(self, index: int, level: int, first: int, rows: np.ndarray) -> None:
        """Write rows of sample ``index`` at a level, from ``first`` on along the first axis: phase indices uint8; whole
        chunks, so that processes do not meet in one."""
        if len(rows):
            self.levels[level][index, first : first + len(rows)] = to_labels(rows, self.phases)

    def write(self, index: int, image: np.ndarray) -> None:
        """Write sample ``index``: phase indices uint8 (*L)."""
        for array in self.levels:
            if image.shape != array.shape[1:]:
                image = majority(image, 2, tuple(range(image.ndim)))
            array[index] = to_labels(image, self.phases)


def _sides(sides: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Sides of every level, the finest first."""
    found = [sides]
    while max(found[-1]) > _SMALLEST and min(found[-1]) >= 2:
        found.append(tuple(side // 2 for side in found[-1]))
    return found


def _steps(level: int, ndim: int, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Scale and, since a coarse voxel lies between fine ones, translation of a level."""
    size = float(about["voxel_size"] or 1.0)
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0] + [size * 2**level] * ndim}]
    if level:
        steps.append({"type": "translation", "translation": [0.0] + [size * (2**level - 1) / 2] * ndim})
    return steps
