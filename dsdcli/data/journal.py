"""Samples of a job that is not finished: one file that grows by whole batches, and outlives a kill at any moment.

A line of JSON says what job it is. Then come entries, in the order in which they were made: lengths and a checksum, a
record (JSON), and an image (phase indices, deflated). What a kill cut off at the end is dropped when the file is opened
again. Nothing is ever unpickled.
"""

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.errors import DataError, DsdError
from dsdcli.files import atomic, parse_json

MARK = "dsd-unfinished"
WALK_MARK = "dsd-walk"  # format, in the metadata of a safetensors file, of the walk that is under way
_HEAD = struct.Struct("<IQI")  # bytes of the record, bytes of the image, CRC-32 of both
_LONGEST = 2**26  # bytes of the first line or of a record; honest ones are far shorter
_LEVEL = 1  # of compression: the file lives for a short time, and disks are faster than higher levels


@dataclass(frozen=True, eq=False)
class Entry:
    """One sample: its number in the job, phase indices uint8 (*L), and anything more as JSON."""

    index: int
    image: np.ndarray
    record: dict[str, Any]


class Journal:
    """The samples ``indices`` of a job as far as they are made; a context manager."""

    def __init__(self, path: Path, looks: bool = False) -> None:
        """Open a file that `create` made, to read it and to go on with it.

        Args:
            looks: change nothing; others may be at work on it.

        Raises:
            DataError: it is no such file.
            DsdError: the system could not.
        """
        self.path = path
        about = about_journal(path)
        if about is None:
            raise DataError(f"{path} is no unfinished job of dsd; delete it, or move it away")
        try:
            self.job: dict[str, Any] = about["job"]
            self.indices, self.shape = range(*about["indices"]), tuple(about["shape"])
            self._places = np.full(len(self.indices), -1, np.int64)
            self._file = path.open("rb" if looks else "r+b")
            self._end = self._scan()
            if not looks:
                self._file.truncate(self._end)
        except OSError as error:
            raise DsdError(f"cannot open {path}: {error.strerror or error}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is damaged ({error}); delete it, and begin its job anew") from error

    @classmethod
    def create(cls, path: Path, job: Mapping[str, Any], indices: range, shape: Sequence[int]) -> "Journal":
        """Begin a file for samples of this shape (*L); ``job`` is anything that names the job, as JSON.

        Raises:
            DsdError: the system could not write.
        """
        about = {"format": MARK, "job": job, "indices": [indices.start, indices.stop], "shape": list(shape)}
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(about) + "\n", encoding="utf-8")
        return cls(path)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        """How many samples are there."""
        return int((self._places >= 0).sum())

    @property
    def missing(self) -> list[range]:
        """Numbers of the samples that are not there, one after another in each range."""
        gaps = np.flatnonzero(np.diff(self._places < 0, prepend=False, append=False)).reshape(-1, 2)
        first = self.indices.start
        return [range(first + int(start), first + int(stop)) for start, stop in gaps]

    def add(self, batch: Iterable[Entry]) -> None:
        """Add samples; on the disk when this returns.

        Raises:
            DsdError: the system could not write; the file is then as it was.
        """
        places, end = {}, self._end
        try:
            self._file.seek(end)
            for entry in batch:
                record = json.dumps([entry.index, entry.record]).encode()
                image = zlib.compress(np.ascontiguousarray(entry.image, np.uint8).data, _LEVEL)
                self._file.write(_HEAD.pack(len(record), len(image), zlib.crc32(image, zlib.crc32(record))))
                self._file.write(record)
                self._file.write(image)
                places[entry.index - self.indices.start] = end
                end += _HEAD.size + len(record) + len(image)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._drop_tail()
            raise DsdError(f"cannot write {self.path}: {error.strerror or error}") from error
        for place, offset in places.items():
            self._places[place] = offset
        self._end = end

    def _drop_tail(self) -> None:
        """Take back what was written of a batch; where not even that goes, the next to open the file does it."""
        with contextlib.suppress(OSError):
            self._file.close()  # which tries once more to write what it still holds
        self._file = self.path.open("r+b")
        self._file.truncate(self._end)

    def __iter__(self) -> Iterator[Entry]:
        """The samples that are there, by their numbers.

        Raises:
            DataError: the file was damaged meanwhile.
        """
        for index, record, image in self._read():
            unpacked = zlib.decompressobj().decompress(image, int(np.prod(self.shape)) + 1)
            yield Entry(index, np.frombuffer(unpacked, np.uint8).reshape(self.shape), record)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records alone, in the same order."""
        for _, record, _ in self._read():
            yield record

    def _read(self) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        for place in self._places[self._places >= 0].tolist():
            self._file.seek(place)
            found = self._entry()
            if found is None:
                raise DataError(f"{self.path} is damaged; delete it, and make its samples again")
            yield found

    def _entry(self) -> tuple[int, dict[str, Any], bytes] | None:
        """The next entry; None at the end, or where it is not whole."""
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        sizes = _HEAD.unpack(head)
        if sizes[0] > _LONGEST or sizes[1] > 2 * int(np.prod(self.shape)) + 2**10:
            return None
        record, image = self._file.read(sizes[0]), self._file.read(sizes[1])
        if len(record) + len(image) < sizes[0] + sizes[1] or zlib.crc32(image, zlib.crc32(record)) != sizes[2]:
            return None
        index, about = parse_json(record)
        return index, about, image

    def _scan(self) -> int:
        """Find what is there; returns where that ends."""
        self._file.readline()
        while True:
            place = self._file.tell()
            found = self._entry()
            if found is None or found[0] not in self.indices:
                return place
            self._places[found[0] - self.indices.start] = place


def about_journal(path: Path) -> dict[str, Any] | None:
    """The first line of an unfinished job; None if the file is none."""
    try:
        with path.open("rb") as file:
            about = parse_json(file.readline(_LONGEST))
        return about if isinstance(about, dict) and about.get("format") == MARK else None
    except (OSError, ValueError):
        return None


def is_walk(path: Path) -> bool:
    """Whether a file keeps the walk of an unfinished job."""
    try:
        with path.open("rb") as file:
            return f'"format":"{WALK_MARK}"'.encode() in file.read(2**10)
    except OSError:
        return False
