"""Reading in a process of its own: libraries in C that trust a file may crash on it, or never come back.

The child answers a request (JSON on a line) with frames: a tag, a length of eight bytes, and so many bytes. ``h`` is a
JSON header, ``d`` voxels in C order, ``z`` the end, ``e`` an error. Nothing is pickled. The child ends itself when it
computes for long without an answer (see `dsdcli.data.formats.deadline.more_time`), also when nobody waits any more.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.large import room
from dsdcli.errors import DataError, DsdError, UsageError

_SILENT = 300.0  # seconds without any answer after which a file is given up, however busy the machine or slow the disk
_LOST = "did not come back"
_IDLE = 30.0  # seconds without work after which the process ends
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from dsdcli.data.formats.reader import serve; serve()"
_lock = threading.Lock()
_running: "list[_Child]" = []  # none or one
_hopeless: dict[Path, tuple[int, int]] = {}  # files that a reader did not come back from: time and size


class ReaderFault(Exception):
    """What went wrong in the reading process, with its traceback."""


def read_apart(kind: str, path: Path, inner: str | None = None) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Have the reader ``kind`` of `dsdcli.data.formats.reader` read a file.

    Returns:
        the array (None where the reader gives a header alone), and the header.

    Raises:
        DataError, UsageError: as the reader says, or: it crashed or fell silent.
        ReaderFault: any other error of the reader.
    """
    request = json.dumps([kind, str(path.absolute()), str(path), inner]).encode()
    with _lock:
        if _hopeless.get(path.absolute(), ()) == _state(path):  # a command may look at a file in several ways
            raise DataError(f"cannot read {path}: damaged, its reader {_LOST}")
        child = _running[0] if _running else None
        if child and child.ready():
            try:
                return child.ask(request, path)
            except EOFError as error:
                if child.spun():
                    _hopeless[path.absolute()] = _state(path)
                    raise DataError(f"cannot read {path}: damaged, its reader {error}") from error
                # else it may have ended for want of work just then: ask a new one
        child = _Child()
        _running[:] = [child]
        try:
            return child.ask(request, path)
        except EOFError as error:
            if child.spun():
                _hopeless[path.absolute()] = _state(path)
            raise DataError(f"cannot read {path}: damaged, its reader {error}") from error


def _state(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


class _Child:
    def __init__(self) -> None:
        root = str(Path(__file__).parents[3])
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdin is not None and self.process.stdout is not None  # both are pipes
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.idle = threading.Timer(_IDLE, self.process.kill)
        with self._within(_SILENT):
            self._frame()

    def ready(self) -> bool:
        """Whether it can take a request; not in a process forked from the one that started it."""
        self.idle.cancel()
        return self.owner == os.getpid() and self.process.poll() is None

    def spun(self) -> bool:
        """Whether it ended itself for computing too long."""
        return self.process.poll() == -getattr(signal, "SIGPROF", -1)

    def ask(self, request: bytes, path: Path) -> tuple[np.ndarray | None, dict[str, Any]]:
        try:
            self.requests.write(request + b"\n")
            self.requests.flush()
        except OSError as error:
            raise EOFError("crashed") from error
        try:
            array, header, fault = self._answer(path)
        except BaseException:  # what is left of the answer must not be taken for the next one
            self.process.kill()
            raise
        self._rest()
        if fault is not None:
            _raise(**fault)
        return array, header

    def _answer(self, path: Path) -> tuple[np.ndarray | None, dict[str, Any], dict[str, str] | None]:
        array: np.ndarray | None = None
        header: dict[str, Any] = {}
        filled = 0
        flat = memoryview(b"")
        while True:
            with self._within(_SILENT):
                tag, content = self._frame()
            if tag == b"e":
                return None, {}, json.loads(content)
            if tag == b"z":
                if array is not None and filled < array.nbytes:
                    raise EOFError("ended early")
                return array, header, None
            if tag == b"d":
                flat[filled : filled + len(content)] = content
                filled += len(content)
                continue
            header = json.loads(content)
            if header.get("shape") is not None:
                dtype = np.dtype(header["dtype"])
                check_claim(header["shape"], dtype.itemsize, str(path), spills=True)
                array = room(header["shape"], dtype)
                flat = array.reshape(-1).view(np.uint8).data

    def _rest(self) -> None:
        self.idle = threading.Timer(_IDLE, self.process.kill)
        self.idle.daemon = True
        self.idle.start()

    def _frame(self) -> tuple[bytes, bytes]:
        tag, length = self._exactly(1), int.from_bytes(self._exactly(8), "little")
        return tag, self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        content = self.answers.read(length)
        if len(content) < length:
            raise EOFError("crashed")
        return content

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """Kill the process if the block takes longer."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except EOFError as error:
            self.process.kill()
            self.process.wait()
            raise EOFError(_LOST if self.spun() else str(error)) from error
        finally:
            timer.cancel()


def _raise(error: str, message: str, trace: str) -> None:
    known: dict[str, type[DsdError]] = {"DataError": DataError, "UsageError": UsageError}
    if error in known:
        raise known[error](message)
    raise ReaderFault(f"{error}: {message}" if message else error) from ReaderFault(trace)


def close() -> None:
    """End the reading process, if there is one."""
    with _lock:
        for child in _running:
            if child.ready():
                child.process.kill()
                child.process.wait()
        _running.clear()


atexit.register(close)
