"""The log of a run: one JSON object a line, appended while it trains, read whatever a crash has left of it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsdcli.errors import DsdError
from dsdcli.files import atomic, parse_json

LOG = "metrics.jsonl"


@dataclass(frozen=True)
class Log:
    """What a log says.

    Attributes:
        entries: of the lines that can be read: ``step``, and other numbers by name.
        unreadable: how many lines cannot: torn, empty or garbled ones.
    """

    entries: tuple[dict[str, Any], ...]
    unreadable: int

    @classmethod
    def read(cls, path: Path) -> "Log":
        """Read a log; a file that is not there is an empty one."""
        lines = path.read_bytes().splitlines() if path.is_file() else []
        found = [entry for entry in map(_entry, lines) if entry is not None]
        return cls(tuple(found), len(lines) - len(found))

    @property
    def validations(self) -> list[float]:
        """The validation losses, in order."""
        return [entry["validation"] for entry in self.entries if "validation" in entry]


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line says, None if it is not a whole one."""
    try:
        value = parse_json(line)
        sound = isinstance(value, dict) and all(_is_number(number) for number in value.values())
    except (ValueError, OverflowError):  # no JSON, no text, or a number beyond all floats
        return None
    return value if sound and isinstance(value.get("step"), int) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def append(path: Path, entry: dict[str, float]) -> None:
    """Add a line to a log.

    Raises:
        DsdError: the system could not write; the line may then be torn.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise DsdError(
            f"cannot write {path}: {error.strerror or error}; make room, then go on with `resume=True`"
        ) from error


def trim(path: Path, step: int) -> int:
    """Leave only the lines up to ``step`` that can be read, so that a resumed run leaves the log of an uninterrupted
    one; returns how many could not be read.

    Raises:
        DsdError: the system could not write; the log is then as it was.
    """
    if not path.is_file():
        return 0
    log = Log.read(path)
    with atomic(path) as temporary:
        kept = [json.dumps(entry) + "\n" for entry in log.entries if entry["step"] <= step]
        temporary.write_text("".join(kept), encoding="utf-8")
    return log.unreadable
