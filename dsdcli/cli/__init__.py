"""The `dsd` command: one short file per subcommand; nothing heavy is imported before a command runs."""

import sys
from typing import Annotated, Any

import typer

from dsdcli import __version__
from dsdcli.cli import doctor, evaluate, generate, info, ingest, inpaint, rev, train, view
from dsdcli.cli.console import printable
from dsdcli.cli.options import as_options
from dsdcli.errors import DsdError

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
        print(f"dsd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command("ingest")(ingest.ingest)
app.command("train")(train.train)
app.command("generate")(generate.generate)
app.command("inpaint")(inpaint.inpaint)
app.command("evaluate")(evaluate.evaluate)
app.command("rev")(rev.rev)
app.command("info")(info.info)
app.command("view")(view.view)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run `dsd`; errors become one line on stderr and an exit code (0 ok, 1 unexpected, 2 usage, 3 gate, 4 data)."""
    try:
        code = app(standalone_mode=False)
    except _CommandLineError as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("dsd: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        code = 0
    except DsdError as error:
        print(printable(f"dsd: error: {as_options(str(error))}"), file=sys.stderr)
        code = error.exit_code
    sys.exit(code or 0)
