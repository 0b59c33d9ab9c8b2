"""Reading option values that are more than one word: sizes, times, NAME=VALUE pairs."""

import re

from dsdcli.errors import UsageError


def parse_size(text: str) -> tuple[int, ...]:
    """``64x64`` or ``32x64x64`` -> sides in voxels.

    Raises:
        UsageError: anything else.
    """
    parts = text.lower().split("x")
    if len(parts) not in (2, 3) or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(f"cannot read the size '{text}'; write HxW (such as 64x64) or DxHxW")
    return tuple(int(p) for p in parts)


def parse_duration(text: str) -> float:
    """``90``, ``90s``, ``30m`` or ``2h`` -> seconds.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    if not match or float(match[1]) == 0:
        raise UsageError(f"cannot read the time '{text}'; write it like 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_pairs(option: str, texts: list[str], kind: type) -> dict[str, float] | dict[str, int]:
    """``NAME=VALUE`` strings -> {name: kind(value)}.

    Raises:
        UsageError: not of that form, or a name twice.
    """
    pairs = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            number = kind(value)
        except ValueError:
            number = None
        if not name or number is None:
            what = "a whole number" if kind is int else "a number"
            raise UsageError(f"cannot read {option} '{text}'; write NAME={'K' if kind is int else 'V'} with {what}")
        if name in pairs:
            raise UsageError(f"{option} names '{name}' twice")
        pairs[name] = number
    return pairs
