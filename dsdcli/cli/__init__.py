"""The `dsd` command: one short file per subcommand; nothing heavy is imported before a command runs."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dsdcli import __version__
from dsdcli.cli import console, doctor, evaluate, gather, generate, info, ingest, inpaint, rev, train, view
from dsdcli.cli.parse import check_words
from dsdcli.errors import DsdError, ToldElsewhere
from dsdcli.ranks import still_connected

# Typer imports click or carries a copy of it, by version; its class for errors on the command line is reached from here.
_CommandLineError: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="dsd",
    help="Microstructures with exact phase fractions, learned from one segmented image.\n\n"
    "In order: ingest, train, generate, evaluate. Each takes by default what the one before it wrote here.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        console.emit(f"dsd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Before COMMAND: show where an error comes from.")] = False,
) -> None:
    console.set_debug(debug)
    check_words(sys.argv[1:])


app.command("ingest")(ingest.ingest)
app.command("train")(train.train)
app.command("generate")(generate.generate)
app.command("gather")(gather.gather)
app.command("inpaint")(inpaint.inpaint)
app.command("evaluate")(evaluate.evaluate)
app.command("rev")(rev.rev)
app.command("info")(info.info)
app.command("view")(view.view)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run `dsd`; errors become one line on stderr and an exit code (0 ok, 1 unexpected, 2 usage, 3 gate, 4 data)."""
    code = _guarded(lambda: app(standalone_mode=False))
    code = _guarded(console.flush, code)
    if still_connected():  # the threads that speak to ranks which are gone would abort what is left of this process
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _guarded(work: Callable[[], int | None], failed: int = 0) -> int:
    """The exit code of ``work``: whatever it raises is said in one line, unless there is another failure already."""
    try:
        with console.command():
            return work() or failed
    except _CommandLineError as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        console.complain("dsd: interrupted")
        return 130
    except DsdError as error:
        if failed:
            return failed
        if not isinstance(error, ToldElsewhere):
            console.complain(f"dsd: error: {error}", error)
        return error.exit_code
    except Exception as error:
        console.complain(f"dsd: {_unexpected(error)}", error)
        return 1


def _unexpected(error: Exception) -> str:
    """What an error that nobody foresaw says, on one line."""
    said = (str(error).strip().splitlines() or [""])[0][:300]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in said:
        return (
            f"error: not enough memory ({said or 'no more is free'}); ask for less at a time: smaller images or batches"
        )
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return f"error: {named}{error.strerror} (dsd --debug ... shows where)"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"fault: {type(error).__name__}{': ' * bool(said)}{said} ({Path(frame.filename).name}, line {frame.lineno}); this "
        "is an error of dsd: please report the command with what dsd --debug ... shows"
    )
