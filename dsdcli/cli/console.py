"""What every command shares: talk on stderr, data on stdout, progress for people and for log files."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dsdcli.pipeline.generate import Written

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Silence `say` and `progress` for this process."""
    global _quiet
    _quiet = quiet


def say(message: str) -> None:
    """One line of talk, on stderr."""
    if not _quiet:
        print(message, file=sys.stderr, flush=True)


def emit(line: str) -> None:
    """One line of data, on stdout."""
    print(line, flush=True)


def emit_json(value: Any) -> None:
    """``value`` as JSON on stdout."""
    emit(json.dumps(value, indent=2))


def emit_written(written: "Written", as_json: bool) -> None:
    """The files of a finished job: the path of the samples on stdout, or their audit record."""
    say(f"sheet {written.sheet}, audit record {written.record}")
    if as_json:
        emit_json(written.audit)
    else:
        emit(str(written.path))


@contextlib.contextmanager
def progress(
    label: str, total: float | None, before: float = 0.0, every_seconds: float = 30.0
) -> Iterator[Callable[..., None]]:
    """A bar on a terminal, a plain line every ``every_seconds`` elsewhere, nothing when quiet.

    Yields ``update(done, note="")``: ``done`` counts towards ``total`` (None: nobody knows), ``note`` is free
    text behind the bar. ``before`` is what an earlier run has done of it.
    """
    if _quiet:
        yield lambda done, note="": None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}" + ("" if total is None else f"/{total:.0f}") + " {task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        with bar:
            task = bar.add_task(label, total=total, completed=before, note="")
            yield lambda done, note="": bar.update(task, completed=done, note=note)
        return
    start = last = time.monotonic()

    def line(done: float, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every_seconds or (total is not None and done >= total):
            last = now
            if total is None:
                say(f"{label} {done:.0f} {note}".rstrip())
                return
            left = (now - start) * (total - done) / (done - before) if done > before else float("inf")
            say(f"{label} {done:.0f}/{total:.0f} {note} (about {left:.0f} s left)".replace("  ", " "))

    yield line
