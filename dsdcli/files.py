"""Writing files so that a crash, a full disk or a Ctrl-C never leaves half of one."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsdcli.errors import DsdError, UsageError


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path`` that replaces ``path`` only if the block succeeds.

    The temporary name keeps the extension, since writers choose the format by it.

    Raises:
        UsageError: the folder of ``path`` does not exist or is not a folder.
        DsdError: the system could not write (disk full, no permission); ``path`` is then as it was.
    """
    path = Path(path)
    require_folder(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        _put(temporary, path)
    except OSError as error:
        raise DsdError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder whose files move into ``folder`` only if the block succeeds: all of them or none.

    Raises:
        DsdError: the system could not write; ``folder`` is then as it was.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".dsd-") as name:
        temporary = Path(name)
        try:
            yield temporary
            for file in sorted(temporary.iterdir()):
                _put(file, folder / file.name)
        except (OSError, DsdError) as error:
            reason = str(error).replace(f"{temporary}{os.sep}", f"{folder}{os.sep}")
            raise (type(error) if isinstance(error, DsdError) else DsdError)(reason) from error


def _put(new: Path, target: Path) -> None:
    """Let ``new`` take the place of ``target``, also where both are folders."""
    if not (new.is_dir() and target.is_dir()):
        new.replace(target)
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".dsd-") as aside:
        old = target.rename(Path(aside) / target.name)
        try:
            new.rename(target)
        except OSError:
            old.rename(target)
            raise


def require_folder(path: Path) -> None:
    """Check before long work that the folder of the output ``path`` exists.

    Raises:
        UsageError: it does not, or it is not a folder.
    """
    parent = Path(path).absolute().parent
    if not parent.is_dir():
        raise UsageError(f"cannot write {path}: the folder {parent} does not exist; create it first")


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
