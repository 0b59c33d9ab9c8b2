"""Write docs/reference/cli.md from the commands themselves: `python docs/make_cli.py`. A test keeps the two equal."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from dsdcli.cli import app

PAGE = Path(__file__).with_name("reference") / "cli.md"

HEAD = """\
# The commands

This page is made from the help texts of the commands by `python docs/make_cli.py`; `dsd COMMAND -h` says the same.

- The bare pipeline needs no paths: `train` takes the newest dataset of the current folder, `generate` the newest run
  under `./runs` (else the shipped `berea-2d`), `evaluate` the newest samples. What was picked is said.
- stdout carries the result alone (a path, a table, or with `--json` one JSON object); everything else goes to stderr,
  and `-q` silences it. So `SAMPLES=$(dsd generate -q)` works.
- An output is written under a temporary name and moved into place when it is complete: there are no halves. Samples,
  sheet and record come together; what a killed job leaves (`.dsd-*`) is finished or swept by the next one there. A
  generation that takes minutes leaves `FILE.unfinished` (and `.walk`), from which `--resume` goes on.
- Nothing is written over a file that the command reads, or that `dsd` did not make under that name. A name that `dsd`
  chooses is its own while the job runs; of two jobs that are given one name, the last has it, whole.
- A line that begins with `dsd: fault` is an error of `dsd` itself; `dsd --debug COMMAND ...` shows what to report.
- Exit codes: 0 fine, 1 unexpected (such as a full disk), 2 wrong usage, 3 a quality gate was not met, 4 unusable data,
  130 interrupted (143 by SIGTERM; training also 129 by SIGHUP, 138 by SIGUSR1). Errors are one line: what, why, the
  fix.
- A command line with an empty argument, a NUL byte, or a name that no file can have is refused before anything is done,
  as is a request for which the memory is not there.
"""


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a command function, from its annotation."""

    name: str
    info: Any  # typer's description: help, metavar, least value, spellings
    kind: Any
    default: Any

    @property
    def is_argument(self) -> bool:
        return isinstance(self.info, ArgumentInfo)

    @property
    def word(self) -> str:
        """``FILE...`` or, when it may be left out, ``[FILE]``; of an option ``-o, --out FILE``."""
        if self.is_argument:
            word = self.info.metavar + ("..." if get_origin(self.kind) is list else "")
            return word if self.default is inspect.Parameter.empty else f"[{word}]"
        # Within Annotated typer keeps the first spelling where the default would be.
        names = [n for n in (self.info.default, *(self.info.param_decls or ())) if isinstance(n, str)]
        names = sorted(names or ["--" + self.name.replace("_", "-")], key=len)
        return ", ".join(names) + ("" if self.kind is bool else f" {self.info.metavar}")

    @property
    def described(self) -> tuple[str, str]:
        """What it is for, and its default."""
        what, _, default = self.info.help.partition(" Default: ")
        if self.info.min:
            what += f" At least {self.info.min}."
        if default:  # said in words
            return what, default.removesuffix(".") if not default.endswith("...") else default
        shown = self.info.show_default and self.kind is not bool and self.default not in (None, inspect.Parameter.empty)
        return what, str(self.default) if shown else ""


def page() -> str:
    """The text of the page."""
    return "\n".join([HEAD, *(section(command.name, command.callback) for command in app.registered_commands)])


def section(name: str, function: Callable[..., None]) -> str:
    """One command: how to call it, what it does, its arguments and options."""
    found = sorted(parameters(function), key=lambda parameter: not parameter.is_argument)
    usage = " ".join(["dsd", name, "[OPTIONS]", *(p.word for p in found if p.is_argument)])
    rows = [f"| `{escape(p.word)}` | {' | '.join(escape(text) for text in p.described)} |" for p in found]
    table = "\n".join(["| | what | default |", "|---|---|---|", *rows])
    return f"## dsd {name}\n\n    {usage}\n\n{inspect.getdoc(function)}\n\n{table}\n"


def parameters(function: Callable[..., None]) -> list[Parameter]:
    """The arguments and options of a command function, in its order."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])
        if isinstance(kind, UnionType):  # X | None
            kind = next(k for k in get_args(kind) if k is not NoneType)
        found.append(Parameter(name, info, kind, parameter.default))
    return found


def escape(text: str) -> str:
    """A bar would end the cell of a table, and <word> would be taken for HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
