"""How every command speaks: talk on stderr, data on stdout, progress for people and for log files."""

import contextlib
import json
import os
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from dsdcli.cli.options import as_options
from dsdcli.errors import DsdError

if TYPE_CHECKING:
    from dsdcli.pipeline.output import Written

_COMMANDS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, lone surrogates, separators of lines and paragraphs

T = TypeVar("T")

_quiet = False
_debug = False
_open = ExitStack()


def set_debug(debug: bool) -> None:
    """Let `complain` show where an error came from."""
    global _debug
    _debug = debug


@contextlib.contextmanager
def command() -> Iterator[None]:
    """What a command holds by `until_the_end` is let go when this ends."""
    with _open:
        yield


def until_the_end(manager: AbstractContextManager[T]) -> T:
    """What ``manager`` yields, held until the command ends."""
    return _open.enter_context(manager)


def set_quiet(quiet: bool) -> None:
    """Silence `say` and `progress` for this process."""
    global _quiet
    _quiet = quiet


def printable(text: str) -> str:
    """One line with everything that a terminal would obey, or that hides or turns other text, as escape sequences: names
    of phases and files come from anywhere."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in _COMMANDS else c for c in text)


def say(message: str) -> None:
    """One line of talk, on stderr."""
    if not _quiet:
        _talk(printable(as_options(message)))


def complain(message: str, error: BaseException | None = None) -> None:
    """The line that a command ends with when it fails, and with ``dsd --debug`` the traceback above it."""
    if error is not None and _debug:
        _talk("".join(traceback.format_exception(error)).rstrip())
    _talk(printable(as_options(message)))


def _talk(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody can listen, which is no reason to stop
        _deafen(sys.stderr)


def emit(line: str) -> None:
    """One line of data, on stdout."""
    _put(printable(line) + "\n")


def emit_json(value: Any) -> None:
    """``value`` as JSON on stdout."""
    _put(json.dumps(value, indent=2) + "\n")


def flush() -> None:
    """See that stdout has taken what libraries printed; raises as `emit`."""
    _put("")


def _put(text: str) -> None:
    """Write to stdout. A reader that has closed it wants no more: the command goes on, to its own exit code.

    Raises:
        DsdError: stdout cannot take it, such as a file on a full disk.
    """
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        _deafen(sys.stdout)
    except OSError as error:
        _deafen(sys.stdout)
        raise DsdError(f"cannot write to stdout: {error.strerror or error}") from error


def _deafen(stream: TextIO) -> None:
    """What is still written to ``stream`` goes nowhere, also what the interpreter flushes when it ends."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def emit_written(written: "Written", as_json: bool) -> None:
    """The files of a finished job: the path of the samples on stdout, or their audit record."""
    say(f"sheet {written.sheet}, audit record {written.record}")
    if as_json:
        emit_json(written.audit)
    else:
        emit(str(written.path))


@contextlib.contextmanager
def progress(label: str, every_seconds: float = 30.0) -> Iterator[Callable[[float, float | None, str], None]]:
    """A bar on a terminal, a plain line every ``every_seconds`` elsewhere, nothing when quiet.

    Yields ``update(done, total, note)``: what is done at the first call was done before; ``total`` is None where nobody
    knows it, ``note`` is free text behind the bar. With another total another piece of work begins.
    """
    if _quiet:
        yield lambda done, total, note: None
    elif sys.stderr.isatty():
        with _bar(label) as update:
            yield update
    else:
        yield _lines(label, every_seconds)


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Callable[[float, float | None, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    count = TextColumn("{task.completed:.0f}{task.fields[of]} {task.fields[note]}")
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None, of="", note="")

        def update(done: float, total: float | None, note: str) -> None:
            if bar.tasks[0].total not in (None, total):
                bar.reset(task)
            bar.update(task, completed=done, total=total, of="" if total is None else f"/{total:.0f}", note=note)

        yield update


def _lines(label: str, every_seconds: float) -> Callable[[float, float | None, str], None]:
    start = last = time.monotonic()
    before: float | None = None
    whole: float | None = None

    def line(done: float, total: float | None, note: str) -> None:
        nonlocal start, last, before, whole
        now = time.monotonic()
        if before is None or total != whole:
            start, before, whole = now, done, total
        elif now - last >= every_seconds or (total is not None and done >= total):
            last = now
            if total is None:
                say(f"{label} {done:.0f} {note}".rstrip())
                return
            left = (now - start) * (total - done) / (done - before) if done > before else float("inf")
            say(f"{label} {done:.0f}/{total:.0f} {note} (about {left:.0f} s left)".replace("  ", " "))

    return line
