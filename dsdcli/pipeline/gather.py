"""Putting the parts of a job together: all of them, of one job, each sample in its place."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures

from dsdcli.data.journal import Journal, about_journal
from dsdcli.data.phases import Phase
from dsdcli.data.samples import read_audit, read_samples
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, UsageError
from dsdcli.moves import settle
from dsdcli.pipeline.growing import write_images
from dsdcli.pipeline.output import SHEET, SHEET_SAMPLES, Written, check_output, unfinished, write_all
from dsdcli.pipeline.parts import part_indices, part_name
from dsdcli.pipeline.progress import Progress, unseen
from dsdcli.pipeline.unfinished import difference, identity
from dsdcli.record import provenance
from dsdcli.view.sheet import sheet_image

_NUMBERED = re.compile(r"-\d{4,}-of-\d{4,}$")
_MOST_NAMED = 16


@dataclass(frozen=True)
class Shard:
    """A file with some of the samples of a job.

    Attributes:
        about: its audit record without the entries of the samples.
    """

    path: Path
    about: dict[str, Any]
    identity: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Shard":
        """Read its audit record.

        Raises:
            UsageError: there is no such file.
            DataError: it is no part of a job.
        """
        if not path.exists():
            kept = unfinished(path)
            raise UsageError(
                f"there is no file {path}"
                + (f"; {_state(kept)}" if about_journal(kept) else "; name the files of parts")
            )
        audit = read_audit(path.with_suffix(".json"))
        try:
            if audit is None or audit["samples_file"] != path.name:
                raise KeyError("samples_file")
            found = identity(audit)
            part_indices((1, 1), found["job"]["samples"])
            if len(audit.pop("samples")) != len(range(*found["indices"])):
                raise ValueError("samples")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path} has no audit record of its own beside it, which says what part of a job it is; "
                "name files that dsd generate made, with their .json"
            ) from error
        return cls(path, audit, found)

    @property
    def indices(self) -> range:
        return range(*self.identity["indices"])

    def records(self) -> list[dict[str, Any]]:
        """The entries of its samples."""
        audit = read_audit(self.path.with_suffix(".json")) or {}
        return list(audit["samples"])

    def images(self) -> np.ndarray:
        """Phase indices uint8 (n, *L).

        Raises:
            DataError: it does not hold what its record says.
        """
        phases = tuple(Phase(**phase) for phase in self.about["phases"])
        stack = read_samples(self.path, phases).stack
        wanted = len(self.indices), *self.identity["size"]
        if stack.shape != wanted:
            raise DataError(
                f"{self.path} holds {sides(stack.shape)} voxels, its record says {sides(wanted)}; make it again"
            )
        return stack


def gather(shards: Sequence[Path | str], out: Path | str, progress: Progress = unseen) -> Written:
    """Put the parts of one job together: the samples and records that it would have made at once.

    One part is in memory at a time, and where ``out`` cannot grow (see `dsdcli.pipeline.stream.Stream.save`) the whole.

    Args:
        shards: samples files with their audit records, in any order.
        progress: is told the samples.

    Raises:
        UsageError: a file that is not there, or a name that `check_output` refuses.
        DataError: parts of different jobs, parts twice, or parts that are missing.
    """
    paths = [Path(shard) for shard in shards]
    target = check_output(out, paths)
    if target.suffix.lower() == SHEET:
        raise UsageError(
            f"{target} would be a sheet alone; name a file of samples, such as {target.with_suffix('.h5')}"
        )
    for folder in {path.parent for path in paths}:
        settle(folder)
    found = sorted((Shard.open(path) for path in paths), key=lambda shard: (shard.indices.start, shard.indices.stop))
    whole = _check(found)
    first = found[0]
    phases = tuple(Phase(**phase) for phase in first.about["phases"])
    shown: list[np.ndarray] = []

    def images() -> Iterator[tuple[int, np.ndarray]]:
        progress(0, whole, "")
        for shard in found:
            stack = shard.images()
            shown.extend(stack[: SHEET_SAMPLES - len(shown)].copy())
            yield from zip(shard.indices, stack, strict=True)
            progress(shard.indices.stop, whole, "")

    def write(file: Path, extra: dict[str, Any]) -> None:
        shape = (whole, *first.identity["size"])
        write_images(file, images(), shape, phases, first.about["voxel_size"], first.about["voxel_unit"], extra)

    def picture() -> Pictures.Image:
        return sheet_image(np.stack(shown), phases)

    def audit() -> dict[str, Any]:
        about = {key: value for key, value in first.about.items() if key not in ("indices", "part")}
        seconds = round(sum(shard.about["seconds"] for shard in found), 3)
        records = (record for shard in found for record in shard.records())
        return {**about, **provenance(), "seconds": seconds, "samples": records}

    return write_all(target, write, picture, audit)


def _check(shards: Sequence[Shard]) -> int:
    """How many samples the job has of which these are all parts, sorted by their first sample.

    Raises:
        DataError: they are of different jobs, some come twice, or some are missing.
    """
    first = shards[0]
    for shard in shards[1:]:
        if other := difference({**first.identity, "indices": shard.identity["indices"]}, shard.identity):
            raise DataError(f"{shard.path} is of another job than {first.path}, by its {other}; name parts of one job")
    whole, expected, missing = first.identity["job"]["samples"], 0, []
    for shard in shards:
        if shard.indices.start < expected:
            raise DataError(f"{shard.path} holds samples that are in another part too; name each part once")
        if shard.indices.start > expected:
            missing.append(range(expected, shard.indices.start))
        expected = shard.indices.stop
    if expected < whole:
        missing.append(range(expected, whole))
    if missing:
        lacking = sum(map(len, missing))
        raise DataError(f"{lacking} of {whole} samples are missing: {_in_words(missing, shards)}")
    return int(whole)


def _in_words(missing: Sequence[range], shards: Sequence[Shard]) -> str:
    """The parts that are missing, by their names and states where the others tell them, else by their samples."""
    shard = shards[0]
    part, stem = shard.about.get("part"), _NUMBERED.sub("", shard.path.stem)
    if part is None or any(other.about.get("part", [0, 0])[1] != part[1] for other in shards):
        said = [f"{gap.start} to {gap.stop - 1}" for gap in missing]
    else:
        have = {other.about["part"][0] for other in shards}
        plain = shard.path.with_stem(stem)
        names = [part_name(plain, (number, part[1])) for number in range(1, part[1] + 1) if number not in have]
        said = [_state(unfinished(name)) if about_journal(unfinished(name)) else name.name for name in names]
    more = f", and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
    return ", ".join(said[:_MOST_NAMED]) + more


def _state(kept: Path) -> str:
    """What an unfinished job has."""
    with Journal(kept, looks=True) as journal:
        return f"{kept.stem} (it has {len(journal)} of {len(journal.indices)}: go on by its command with `resume=True`)"
