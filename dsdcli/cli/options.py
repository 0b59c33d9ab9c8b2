"""What commands share: options that mean the same, and the library's parameters as options."""

import re
from typing import Annotated

import typer

Model = Annotated[str | None, typer.Option(metavar="NAME|PATH", help="Shipped model, run or model folder, or weights file. Default: the newest run under ./runs, else berea-2d.", show_default=False)]  # fmt: skip
Device = Annotated[str, typer.Option(metavar="NAME", help="Where to compute: auto, cpu or cuda.")]
Seed = Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed. Default: a new one, reported.", show_default=False)]  # fmt: skip
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

# Options called otherwise than the parameter.
_SPELLED = {
    "boxes": "box",
    "channels": "channel",
    "class_name": "class",
    "classes": "class",
    "disks": "disk",
    "fractions": "fraction",
    "gates": "gate",
    "largest": "max",
    "masks": "mask",
    "means": "mean",
    "ignore_masks": "ignore-mask",
    "max_seconds": "max-time",
    "metrics": "metric",
    "n": "number",
    "phases": "phase",
    "plane": "slice",
    "samples": "sample",
    "start_from": "from",
    "totals": "total",
}


def as_options(message: str) -> str:
    """A message of the library with its parameters, in backticks, as options: `holdout=0.2` becomes --holdout 0.2."""
    return re.sub(r"`(\w+)(?:=([^`]*))?`", lambda match: _option(match[1], match[2]), message)


def _option(name: str, value: str | None) -> str:
    word = f"--{_SPELLED.get(name, name).replace('_', '-')}"
    if value is None or value == "True":
        return word
    value = value.strip("'\"")
    if value.startswith("("):  # (Z, Y, X)
        value = "x".join(part.strip() for part in value.strip("()").split(","))
    elif value.startswith("{"):  # {'pore': 0}
        value = re.sub(r"['\"]?([^'\"]+)['\"]?: ", r"\1=", value.strip("{}"))
    return f"{word} {value}"
