"""How finished files take their places: all or none, one job at a time, whatever is killed when.

A job works in a folder ``.dsd-XXXXXXXX.tmp`` beside its outputs. When everything is there, what it replaces is moved
aside (the folder is called ``.away`` meanwhile), then the new files are moved in (``.move``). `settle` ends what a
killed job began, back in the first case, forward in the second; so there are the old files or the new ones, and never a
mixture. Who is alive is known by locks, which the system takes from a process that ends, however it ends. Where the
system has none (Windows, some network drives), jobs run without them, and nothing is swept.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from dsdcli.errors import DsdError, UsageError

try:
    import fcntl

    _LOCKS = True
except ImportError:  # Windows
    _LOCKS = False

_OURS = re.compile(r"\.dsd-([0-9a-f]{8}\.(tmp|away|move)|(moves|name-[0-9a-f]{8})\.lock)")
_MOVES = ".dsd-moves.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
_WITHOUT = -1  # what stands for a lock where the system has none


class Scratch:
    """A folder beside ``folder``'s files where new ones are made, in `new`, until `commit` moves them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home, self._lock = _new_home(folder)

    @property
    def new(self) -> Path:
        return self._home / "new"

    @property
    def _old(self) -> Path:
        return self._home / "old"

    def commit(self, check: Callable[[], None] = lambda: None) -> None:
        """Move all files of `new` to the folder, over those that are there: all of them, or none if that fails.

        Args:
            check: called before the moves, while no other job moves anything in this folder; may raise.

        Raises:
            OSError: the system could not; the folder is then as it was.
        """
        names = sorted(path.name for path in self.new.iterdir())
        for name in names:
            _sync(self.new / name)
        with alone(self.folder):
            check()
            for name in names:
                _see_same_kind(self.new / name, self.folder / name)
            if len(names) == 1 and not (self.folder / names[0]).is_dir():
                (self.new / names[0]).replace(self.folder / names[0])
                return
            standing = [name for name in names if os.path.lexists(self.folder / name)]
            try:
                if standing:
                    self._call("away")
                    for name in standing:
                        (self.folder / name).rename(self._old / name)
                self._call("move")
                for name in names:
                    (self.new / name).rename(self.folder / name)
            except OSError:
                self._back(names)
                raise

    def _back(self, names: list[str]) -> None:
        for name in names:
            if self._home.suffix == ".move" and not os.path.lexists(self.new / name):
                (self.folder / name).rename(self.new / name)
        self._call("away")
        _put_back(self._home)

    def _call(self, state: str) -> None:
        if self._home.suffix != f".{state}":
            self._home = self._home.rename(self._home.with_suffix(f".{state}"))

    def keep(self) -> Path:
        """Give `new` a name that is seen, where its files may not be moved."""
        return self.new.rename(self.folder / f"dsd-{self._home.stem[-8:]}")

    def remove(self) -> None:
        """End it; what is in it goes."""
        shutil.rmtree(self._home, ignore_errors=True)
        _close(self._lock)


def settle(folder: Path) -> None:
    """End what killed jobs left in ``folder``: moves are finished, work is swept.

    Raises:
        UsageError: another file came where one was to be moved, or the folder cannot be written to.
    """
    try:
        names = [path.name for path in folder.iterdir() if _OURS.fullmatch(path.name)]
    except OSError:
        return
    if not names:
        return
    cut = [name for name in names if name.endswith((".away", ".move"))]
    try:
        with alone(folder) as sure:
            for path in (folder / name for name in names if sure):
                if path.suffix == ".tmp":
                    _sweep(path)
                elif path.suffix == ".lock":
                    _sweep_lock(path)
                elif path.exists():  # another job may just have finished it
                    _finish(path)
    except OSError as error:
        if cut:
            raise UsageError(
                f"a job was killed while it moved its files in {folder} ({cut[0]}), and that cannot be finished: "
                f"{error.strerror or error}; run dsd info where it may write there"
            ) from error


@contextlib.contextmanager
def claim(path: Path, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Hold the name of ``path``, whatever its extension, against other jobs; yields whether that went well.

    Args:
        shared: others may hold it as well, if they share it too.
        wait: for the one who holds it.

    Raises:
        DsdError: nothing can be written there.
    """
    lock = path.parent / (f".dsd-name-{zlib.crc32(path.stem.encode(errors='surrogateescape')):08x}.lock")
    try:
        if wait:
            held = _lock(lock, shared)
        else:
            with alone(path.parent):
                held = _lock(lock, shared, wait=False)
    except OSError as error:
        raise DsdError(f"cannot write in the folder of {path}: {error.strerror or error}") from error
    try:
        yield held is not None
    finally:
        _unlock(lock, held)


def _new_home(folder: Path) -> tuple[Path, int | None]:
    while True:
        home = folder / f".dsd-{secrets.token_hex(4)}.tmp"
        home.mkdir()
        with contextlib.suppress(FileNotFoundError):  # swept before it was locked
            held = _lock(home / "lock")
            (home / "new").mkdir()
            (home / "old").mkdir()
            return home, held


def _finish(home: Path) -> None:
    """End the moves of a killed job. Nothing is ever moved over something else."""
    if home.suffix == ".away":
        _put_back(home)
    else:
        for path in _inside(home / "new"):
            target = home.parent / path.name
            if os.path.lexists(target):
                raise UsageError(
                    f"a job was killed before it moved {path} to {target}, where another file is now; "
                    "move one of the two elsewhere"
                )
            path.rename(target)
    shutil.rmtree(home, ignore_errors=True)  # its own job may be at it, if that lives


def _put_back(home: Path) -> None:
    for path in _inside(home / "old"):
        if not os.path.lexists(home.parent / path.name):
            path.rename(home.parent / path.name)


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder, which may have been removed already."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _sweep(home: Path) -> None:
    """Remove the work of a job that is gone."""
    with contextlib.suppress(OSError):
        held = _lock(home / "lock", wait=False)
        if held is not None and held != _WITHOUT:
            shutil.rmtree(home, ignore_errors=True)
        _close(held)


def _sweep_lock(path: Path) -> None:
    if path.name != _MOVES:
        with contextlib.suppress(OSError):
            _unlock(path, _lock(path, wait=False))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """One job at a time moves files in a folder; yields whether that is so, which it is where there are locks.

    Raises:
        OSError: nothing can be written there.
    """
    path = folder / _MOVES
    held = _lock(path)
    try:
        yield held != _WITHOUT
    finally:
        _unlock(path, held)


def _lock(path: Path, shared: bool = False, wait: bool = True) -> int | None:
    """A handle that holds the lock; None if another does."""
    if not _LOCKS:
        return _WITHOUT
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, how)
            if os.path.lexists(path) and os.path.samestat(os.fstat(handle), path.lstat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            if error.errno not in _NO_LOCKS:
                raise
            path.unlink(missing_ok=True)
            return _WITHOUT
        os.close(handle)  # who held it has removed it: it is no lock any more


def _unlock(path: Path, handle: int | None) -> None:
    """Let go of a lock; the last to do so removes its file."""
    if handle is None or handle == _WITHOUT:
        return
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    _close(handle)


def _close(handle: int | None) -> None:
    if handle is not None and handle != _WITHOUT:
        os.close(handle)


def _sync(path: Path) -> None:
    """Bring a file to the disk before its name says that it is there; of folders the system takes care."""
    if path.is_file() and not path.is_symlink():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _see_same_kind(new: Path, target: Path) -> None:
    if os.path.lexists(target) and target.is_dir() != new.is_dir():
        number = errno.EISDIR if target.is_dir() else errno.ENOTDIR
        raise OSError(number, os.strerror(number), str(target))
