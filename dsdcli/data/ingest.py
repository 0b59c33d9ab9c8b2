"""From the user's segmented images to a dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsdcli.data.dataset import Dataset, Image
from dsdcli.data.downsample import majority
from dsdcli.data.formats import read_image
from dsdcli.data.phases import choose_phases, count_labels, to_indices
from dsdcli.data.voxel import VoxelSize


@dataclass(frozen=True)
class Ingested:
    """The dataset made, and what the user should be told."""

    dataset: Dataset
    remarks: tuple[str, ...]


def ingest(
    sources: Sequence[str],
    out: Path | None = None,
    *,
    named: Sequence[tuple[str, int]] = (),
    pore: int | None = None,
    voxel: VoxelSize | None = None,
    axes: str | None = None,
    downsample: int = 1,
    holdout: float = 0.2,
    argv: Sequence[str] = (),
) -> Ingested:
    """Read, label, coarsen, split and write."""
    read = [read_image(source) for source in sources]
    labels: dict[int, int] = {}
    for source in read:
        for label, count in count_labels(source.array).items():
            labels[label] = labels.get(label, 0) + count
    phases, index_of, remarks = choose_phases(labels, named, pore)
    train, heldout = [], []
    for source in read:
        coarse = majority(to_indices(source.array, index_of), downsample, tuple(range(source.array.ndim)))
        cut = len(coarse) - max(1, round(holdout * len(coarse))) if holdout else len(coarse)
        train.append(Image(coarse[:cut], source.axes or "ZYX"))
        if cut < len(coarse):
            heldout.append(Image(coarse[cut:], source.axes or "ZYX"))
    voxel = voxel or read[0].voxel
    dataset = Dataset(
        path=out or Path(f"{Path(sources[0]).stem}.dsd.h5"),
        phases=phases,
        voxel_size=voxel.value * downsample if voxel else None,
        voxel_unit=voxel.unit if voxel else None,
        slice_axes=axes or "z",
        downsample=downsample,
        provenance={"sources": [{"name": s} for s in sources], "argv": list(argv)},
        train=tuple(train),
        heldout=tuple(heldout),
    )
    dataset.write(dataset.path)
    return Ingested(dataset, tuple(remarks))
