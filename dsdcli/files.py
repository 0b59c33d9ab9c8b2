"""Writing files so that a crash, a full disk or a Ctrl-C never leaves half of one."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from dsdcli.errors import DsdError, ToldElsewhere, UsageError
from dsdcli.moves import Scratch, settle


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name that replaces ``path`` only if the block succeeds: the same name, in a folder beside it.

    Raises:
        UsageError: the folder of ``path`` does not exist, is not a folder or is read-only.
        DsdError: the system could not write (disk full, no permission); ``path`` is then as it was.
    """
    path = Path(path)
    require_folder(path)
    try:
        with _scratch(path.parent) as scratch:
            yield scratch.new / path.name
            scratch.commit()
    except OSError as error:
        raise DsdError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error


@contextlib.contextmanager
def together(folder: Path, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield a temporary folder whose files move into ``folder`` only if the block succeeds: all of them or none.

    Args:
        check: what must hold just before that; where it raises a UsageError, the new files are kept in a folder that
            the error names.

    Raises:
        DsdError: the system could not write; ``folder`` is then as it was.
    """
    try:
        with _scratch(folder) as scratch:
            new = scratch.new
            try:
                yield new
            except ToldElsewhere:
                raise
            except (OSError, DsdError) as error:
                reason = str(error).replace(f"{new}{os.sep}", f"{folder}{os.sep}")
                raise (type(error) if isinstance(error, DsdError) else DsdError)(reason) from error
            try:
                scratch.commit(check)
            except UsageError as error:
                raise UsageError(f"{error}; the new files are in {scratch.keep()}") from error
    except OSError as error:
        raise DsdError(f"cannot write in {folder}: {error.strerror or error}; nothing was changed") from error


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Scratch]:
    settle(folder)
    scratch = Scratch(folder)
    try:
        yield scratch
    finally:
        scratch.remove()


def check_outputs(names: Iterable[tuple[Path, Callable[[Path], bool]]], reads: Iterable[Path | str] = ()) -> None:
    """See, before the work, that what is to be written harms nothing: all names are free, or of files that this program
    made, and none is that of something it reads.

    Args:
        names: each with what says whether this program made the file there.
        reads: files and folders, whatever links lead to them; those that do not exist do not count.

    Raises:
        UsageError: a name that may not be used, or a folder that cannot be written to.
    """
    sources = [source for source in map(Path, reads) if source.exists()]
    for path, ours in names:
        require_folder(path)
        if not os.path.lexists(path):
            continue
        if any(_harms(path, source) for source in sources):
            raise UsageError(f"{path} is read as well, and would be overwritten; choose another name")
        if not ours(path):
            if path.is_dir():
                raise UsageError(f"{path} is a folder, and in the way; name a file, or choose another name")
            raise UsageError(f"{path} is in the way, and dsd did not make it; choose another name, or move it away")


def _harms(path: Path, source: Path) -> bool:
    """Whether ``source``, or something in it, is what stands at ``path`` or lies in that."""
    if not path.exists():  # a link that leads nowhere
        return False
    if path.samefile(source) or (path.is_dir() and path.resolve() in source.resolve().parents):
        return True
    return source.is_dir() and any(path.samefile(file) for file in source.rglob("*") if file.exists())


def require_folder(path: Path) -> None:
    """Check before long work that the folder of the output ``path`` exists.

    Raises:
        UsageError: it does not, it is not a folder, or nothing may be written there.
    """
    parent = Path(path).absolute().parent
    if not parent.is_dir():
        raise UsageError(f"cannot write {path}: the folder {parent} does not exist; create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {path}: you may not write to the folder {parent}; name a file elsewhere")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text from a file that need not be ours.

    Raises:
        ValueError: no JSON, or nested deeper than anything honest.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
