"""Who works on a run: one process at a time, known by a lock that the system takes back when the process ends."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dsdcli.errors import DsdError, UsageError

LOCK = ".lock"
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # of a lock that another process has


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder.

    It is the system's lock on the file ``.lock``, on network file systems that of their server, and is gone with the
    process that holds it, however that ended; the file stays, and says who was the last. Where a file system has no
    locks, nothing is locked.

    Raises:
        UsageError: another process holds it; says which.
        DsdError: the folder cannot be written to.
    """
    path = folder / LOCK
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DsdError(f"cannot write to the run {folder}: {error.strerror or error}") from error
    with file:
        try:
            _take(file)
        except OSError as error:
            if error.errno in _HELD:
                raise UsageError(f"{folder} is being trained by {_owner(file)}; wait for it, or stop it") from error
        with contextlib.suppress(OSError):  # a full disk: only the name of the owner is missing then
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        yield


def _take(file: IO[str]) -> None:
    """Lock an open file, or raise the OSError that says why not."""
    try:
        import fcntl
    except ImportError:  # Windows; a byte far behind the text, since others cannot read one that is locked
        import msvcrt

        file.seek(2**30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # not on other systems
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(file: IO[str]) -> str:
    """Who wrote the file last."""
    with contextlib.suppress(OSError, ValueError):
        file.seek(0)
        if words := file.read(200).strip():
            return words
    return "another process"
