"""Reading option values that are more than one word: sizes, batches, times, NAME=VALUE pairs."""

import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from dsdcli.errors import UsageError

T = TypeVar("T", int, float)
V = TypeVar("V")
LONGEST = 255  # bytes of the name of a file; of a whole path and of a list, sixteen times as many
DIGITS = 18  # of a whole number: none that means something here has more


def check_words(words: Sequence[str]) -> None:
    """See that the words of a command line can mean something.

    Raises:
        UsageError: one is empty, longer than any path, or holds a NUL byte.
    """
    for word in words:
        long = len(os.fsencode(word)) > 16 * LONGEST
        if long or ("," not in word and any(len(os.fsencode(part)) > LONGEST for part in re.split(r"[/\\=]", word))):
            raise UsageError(f"'{word[:40]}...' has {len(word)} characters, more than any name of a file; shorten it")
        if "\0" in word:
            raise UsageError(f"'{word}' holds a NUL byte, which no name or value can; leave it out")
        if not word or re.fullmatch(r"--[a-z-]+=", word):
            raise UsageError(
                f"{f'{word[:-1]} has no value' if word else 'an argument is empty'}; give one, or leave it out"
            )


def parse_whole(text: str) -> int | None:
    """A whole number of plain digits, None if the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None


def parse_number(text: str) -> float:
    """A finite number.

    Raises:
        ValueError: anything else.
    """
    value = float(text)
    if not text.isascii() or not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def parse_integer(text: str) -> int:
    """A whole number, which may be negative.

    Raises:
        ValueError: anything else.
    """
    number = parse_whole(text.strip().removeprefix("-"))
    if number is None:
        raise ValueError(f"{text} is no whole number")
    return -number if text.strip().startswith("-") else number


def parse_size(text: str) -> tuple[int, ...]:
    """``64x64`` or ``32x64x64`` -> sides in voxels.

    Raises:
        UsageError: anything else.
    """
    found = tuple(number for part in text.lower().split("x") if (number := parse_whole(part)))
    if len(found) not in (2, 3) or len(found) <= text.lower().count("x"):
        raise UsageError(f"cannot read the size '{text}'; write HxW (such as 64x64) or DxHxW")
    return found


def parse_batch(text: str) -> int | None:
    """``auto`` -> None, ``64`` -> 64.

    Raises:
        UsageError: anything else.
    """
    if text.lower() == "auto":
        return None
    if not (number := parse_whole(text)):
        raise UsageError(f"cannot read the batch '{text}'; write auto, or a whole number from 1 on")
    return number


def parse_duration(text: str) -> float:
    """``90``, ``90s``, ``30m`` or ``2h`` -> seconds.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(rf"(\d{{1,{DIGITS}}}(?:\.\d+)?)([smh]?)", text.strip().lower(), re.ASCII)
    if not match or float(match[1]) == 0:
        raise UsageError(f"cannot read the time '{text}'; write it like 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_pairs(option: str, texts: list[str], kind: type[T]) -> dict[str, T]:
    """``NAME=VALUE`` strings -> {name: kind(value)}.

    Raises:
        UsageError: not of that form, or a name twice.
    """

    def read(text: str) -> tuple[str, T]:
        name, _, value = text.rpartition("=")
        try:
            number = kind(parse_integer(value) if kind is int else parse_number(value))
        except ValueError:
            number = None
        if not name or number is None:
            what = "a whole number" if kind is int else "a number"
            raise UsageError(f"cannot read {option} '{text}'; write NAME={'K' if kind is int else 'V'} with {what}")
        return name, number

    return _once(option, map(read, texts))


def parse_phase(text: str) -> tuple[str, int]:
    """``pore=0`` -> ("pore", 0).

    Raises:
        UsageError: anything else.
    """
    name, _, label = text.rpartition("=")
    try:
        number = parse_integer(label)
    except ValueError:
        number = None
    if not name.strip() or number is None:
        raise UsageError(f"cannot read --phase '{text}'; write NAME=LABEL with the number in the image, like pore=0")
    return name.strip(), number


def parse_box(text: str) -> list[tuple[int, int]]:
    """``10:50,20:60`` -> [(10, 50), (20, 60)].

    Raises:
        UsageError: anything else.
    """
    parts = text.split(",")
    limits = rf"\s*(\d{{1,{DIGITS}}}):(\d{{1,{DIGITS}}})\s*"
    found = [match for part in parts if (match := re.fullmatch(limits, part, re.ASCII))]
    if len(found) < len(parts):
        raise UsageError(f"cannot read --box '{text}'; write LOW:HIGH for each axis, like 10:50,20:60 (y, then x)")
    return [(int(match[1]), int(match[2])) for match in found]


def parse_disk(text: str) -> list[float]:
    """``30,40,12`` -> [30.0, 40.0, 12.0].

    Raises:
        UsageError: anything else.
    """
    try:
        return [parse_number(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"cannot read --disk '{text}'; write Y,X,RADIUS in voxels, like 30,40,12") from None


def parse_part(text: str) -> tuple[int, int]:
    """``3/10`` -> (3, 10).

    Raises:
        UsageError: anything else.
    """
    number, _, of = text.partition("/")
    found = parse_whole(number), parse_whole(of)
    if found[0] is None or found[1] is None:
        raise UsageError(f"cannot read --part '{text}'; write NUMBER/PARTS, like 3/10")
    return found[0], found[1]


def parse_profiles(texts: list[str]) -> dict[str, tuple[str, list[float] | str]]:
    """``pore=z:0.15..0.25``, ``pore=z:0.1,0.2,0.3`` or ``pore=z:profile.csv`` -> {name: (axis, values or file)}.

    Raises:
        UsageError: anything else, or a name twice.
    """

    def read(text: str) -> tuple[str, tuple[str, list[float] | str]]:
        name, _, rest = text.partition("=")
        axis, _, values = rest.partition(":")
        if not name or not axis or not values:
            raise UsageError(f"cannot read --profile '{text}'; write NAME=AXIS:FIRST..LAST, like pore=z:0.15..0.25")
        numbers = values.split("..") if values.count("..") == 1 else values.split(",")
        try:
            return name, (axis.lower(), [float(number) for number in numbers])
        except ValueError:
            return name, (axis.lower(), values)

    return _once("--profile", map(read, texts))


def parse_files(option: str, texts: list[str]) -> dict[str, str]:
    """``NAME=FILE`` strings -> {name: file}.

    Raises:
        UsageError: not of that form, or a name twice.
    """

    def read(text: str) -> tuple[str, str]:
        name, _, file = text.partition("=")
        if not name or not file:
            raise UsageError(f"cannot read {option} '{text}'; write NAME=FILE")
        return name, file

    return _once(option, map(read, texts))


def _once(option: str, pairs: Iterable[tuple[str, V]]) -> dict[str, V]:
    """The pairs by name; raises a UsageError where one comes twice."""
    found: dict[str, V] = {}
    for name, value in pairs:
        if name in found:
            raise UsageError(f"{option} names '{name}' twice")
        found[name] = value
    return found


def parse_slice(text: str) -> tuple[str, str]:
    """``z:12:slice.tif`` -> ("z:12", "slice.tif").

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"([a-zA-Z]:[0-9]+):(.+)", text, re.DOTALL)
    if not match:
        raise UsageError(f"cannot read --known-slice '{text}'; write AXIS:NUMBER:FILE, like z:12:slice.tif")
    return match[1].lower(), match[2]


def parse_core(text: str) -> tuple[list[float], float, str]:
    """``30,40:8:core.tif`` -> ([30.0, 40.0], 8.0, "core.tif").

    Raises:
        UsageError: anything else.
    """
    centre, _, rest = text.partition(":")
    radius, _, file = rest.partition(":")
    try:
        y, x = (float(part) for part in centre.split(","))
        if not file:
            raise ValueError
        return [y, x], float(radius), file
    except ValueError:
        raise UsageError(f"cannot read --known-core '{text}'; write Y,X:RADIUS:FILE, like 30,40:8:core.tif") from None


def parse_extend(texts: list[str]) -> dict[str, tuple[int, int]]:
    """``z=+64``, ``z=-64`` or ``z=64`` -> {"z": (before, behind)}; what is said of one axis adds up.

    Raises:
        UsageError: anything else.
    """
    beyond: dict[str, tuple[int, int]] = {}
    for text in texts:
        match = re.fullmatch(r"([a-zA-Z])=([+-]?)([0-9]+)", text)
        if not match:
            raise UsageError(f"cannot read --extend '{text}'; write AXIS=+N behind the image, AXIS=-N before it")
        before, behind = beyond.get(match[1].lower(), (0, 0))
        sign, number = match[2], int(match[3])
        beyond[match[1].lower()] = (before + (sign != "+") * number, behind + (sign != "-") * number)
    return beyond


def parse_steer(texts: list[str]) -> dict[str, float | tuple[float, float]]:
    """``interface=0.05:0.002`` -> {"interface": (0.05, 0.002)}, ``interface=0.05`` -> {"interface": 0.05}.

    Raises:
        UsageError: anything else, or a name twice.
    """

    def read(text: str) -> tuple[str, float | tuple[float, float]]:
        name, _, rest = text.rpartition("=")
        value, colon, tolerance = rest.partition(":")
        try:
            if not name:
                raise ValueError
            return name, (parse_number(value), parse_number(tolerance)) if colon else parse_number(value)
        except ValueError:
            raise UsageError(f"cannot read --steer '{text}'; write NAME=VALUE:TOLERANCE, or NAME=VALUE") from None

    return _once("--steer", map(read, texts))
