"""From the user's intensities to a dataset of counts."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dsdcli.data.classes import gather_classes
from dsdcli.data.dataset import Dataset
from dsdcli.data.intensity import add_up, as_species, read_counts
from dsdcli.data.sources import digest_of, gather
from dsdcli.moves import claim
from dsdcli.pipeline.ingested import Ingested, choose_output, split_by_class
from dsdcli.record import provenance


def ingest_intensity(
    files: Sequence[str],
    out: Path | None,
    reading: tuple[Any, Any, Any, Any, Any, Any],
    channels: Sequence[str],
    levels: int | None,
    largest: int | None,
    downsample: int,
    holdout: float | None,
    classes: Sequence[str],
) -> Ingested:
    """Read intensities, count particles, coarsen by adding up, split, and write a dataset.

    Args:
        files: sources.
        out: the file to write; None for the default name.
        reading: axes, voxel size, shape, dtype, offset and endian, as `dsdcli.data.sources.gather` takes them.
        channels, levels, largest, downsample, holdout, classes: as of `dsdcli.pipeline.ingest.ingest`.

    Raises:
        UsageError, DataError, DsdError: as `dsdcli.pipeline.ingest.ingest`.
    """
    path, notes = choose_output(files, [], out)
    read = partial(read_counts, names=channels)
    if classes:
        gathered, materials = gather_classes(files, classes, *reading, read=read)
    else:
        gathered, materials = gather(files, *reading, read=read), []
    images, species = as_species(gathered.images, channels, levels, largest)
    images, species = add_up(images, species, downsample)
    train, heldout, what = split_by_class(images, materials, holdout)
    if holdout is None:
        notes.append(f"held out to judge by: {what} (`holdout` chooses another share)")
    size = gathered.voxel
    dataset = Dataset(
        path=path,
        phases=(),
        voxel_size=size.value * downsample if size else None,
        voxel_unit=size.unit if size else None,
        slice_axes=gathered.slice_axes,
        downsample=downsample,
        provenance={
            "sources": [{"name": source, "sha256": digest_of(source)} for source in files],
            "levels": levels,
            "largest": largest,
            "voxel_size_source": size.source if size else None,
            "holdout": holdout,
            **provenance(),
        },
        train=train,
        heldout=heldout,
        species=species,
    )
    warnings = list(gathered.warnings)
    if not heldout:
        warnings.append("nothing is held out, so samples can only be judged by what the network has seen")
    with claim(path, wait=True):
        choose_output(files, [], out)  # again: it may have been written meanwhile
        dataset.write(path)
    return Ingested(dataset, (), (*notes, *gathered.notes), tuple(warnings))
