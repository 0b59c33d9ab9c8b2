"""What was measured so far, on disk: long work that is cut short goes on from there."""

import hashlib
import json
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from dsdcli import __version__
from dsdcli.evaluation.metrics import Vectors

_FORMAT = "dsd-evaluate-partial"
_PATIENCE = 10.0  # seconds of work that may be lost; shorter work leaves no trace on disk


class Cache:
    """Vectors of measured images, in a file of JSON lines that only grows until `discard`.

    A file of another version, for other phases or damaged is started afresh; a line cut off at the end is ignored.
    Without a place to write, or where the file is someone else's, the work goes on without.
    """

    def __init__(self, path: Path, phases: Sequence[str]):
        self.path = path
        self.found = 0  # images that the file held already
        self._head = json.dumps({"format": _FORMAT, "dsd": __version__, "phases": list(phases)})
        self._known: dict[str, tuple[list[str], Vectors]] = {}
        self._unwritten: list[str] = []
        self._started = time.monotonic()
        self._fresh = not self._load()
        self._foreign = path.exists() and not _is_ours(path)

    def lookup(self, image: np.ndarray, metrics: Collection[str]) -> Vectors | None:
        """The vectors of an image, if all ``metrics`` were measured on it."""
        measured, vectors = self._known.get(_digest(image), ((), {}))
        if not set(metrics) <= set(measured):
            return None
        return {key: vector for key, vector in vectors.items() if key[0] in metrics}

    def add(self, image: np.ndarray, metrics: Collection[str], vectors: Vectors) -> None:
        """Keep the vectors of one more image, on which ``metrics`` were measured."""
        entries = [[*key, vector.tolist()] for key, vector in vectors.items()]
        self._unwritten.append(json.dumps([_digest(image), list(metrics), entries]))
        if time.monotonic() - self._started > _PATIENCE:
            self.write()

    def write(self) -> None:
        """Bring to disk what is not there yet."""
        if not self._unwritten or self._foreign:
            return
        try:
            with self.path.open("w" if self._fresh else "a", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in ([self._head] if self._fresh else []) + self._unwritten)
        except OSError:
            return
        self._fresh = False
        self._unwritten.clear()

    def discard(self) -> None:
        """Remove the file: the work is done."""
        if not self._foreign:
            self.path.unlink(missing_ok=True)

    def _load(self) -> bool:
        try:
            head, *lines = self.path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return False
        if head != self._head:
            return False
        for line in lines:
            try:
                digest, metrics, entries = json.loads(line)
            except ValueError:
                continue
            vectors = {(metric, subject): np.array(vector) for metric, subject, vector in entries}
            self._known[digest] = (metrics, vectors)
        self.found = len(self._known)
        return True


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(99).startswith(json.dumps({"format": _FORMAT})[:-1].encode())
    except OSError:
        return False


def _digest(image: np.ndarray) -> str:
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
