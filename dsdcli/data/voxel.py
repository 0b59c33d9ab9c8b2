"""The size of a voxel: value and unit, read from what a person, a file name or a file's metadata says."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsdcli.errors import UsageError

UNITS_IN_METRES = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}
_SPELLINGS = {
    **{unit: unit for unit in UNITS_IN_METRES},
    **dict.fromkeys(("µm", "μm", "micron", "microns", "micrometer", "micrometre", r"\u00b5m", "micrometers"), "um"),
    **dict.fromkeys(("nanometer", "nanometre", "nanometers"), "nm"),
    **dict.fromkeys(("millimeter", "millimetre", "millimeters"), "mm"),
    **dict.fromkeys(("centimeter", "centimetre"), "cm"),
    **dict.fromkeys(("meter", "metre"), "m"),
}
_IN_NAME = re.compile(r"(?:^|[_\-. (])(\d+(?:[.p]\d+)?) ?(nm|um|µm|μm|micron|microns|mm)(?=$|[_\-. )])", re.IGNORECASE)


@dataclass(frozen=True)
class VoxelSize:
    """The side of a cubic voxel (or square pixel), ``source`` saying where it was found."""

    value: float
    unit: str
    source: str


def unit_name(text: str) -> str | None:
    """The unit that ``text`` spells (nm, um, mm, cm, m), None if it is no length."""
    return _SPELLINGS.get(text.strip().lower())


def convert(value: float, unit: str, to: str) -> float:
    """A length in another unit; exactly itself in its own."""
    return value if unit == to else value * UNITS_IN_METRES[unit] / UNITS_IN_METRES[to]


def parse_voxel_size(text: str) -> VoxelSize:
    """Read what a person wrote, such as "5.345um".

    Raises:
        UsageError: no positive number followed by a unit.
    """
    match = re.fullmatch(r"\s*([\d.]+(?:e[+-]?\d+)?)\s*([^\d\s.]+)\s*", text, re.IGNORECASE)
    unit = unit_name(match[2]) if match else None
    try:
        value = float(match[1]) if match else 0.0
    except ValueError:
        value = 0.0
    if unit is None or not 0 < value < math.inf:
        raise UsageError(
            f"cannot read the voxel size '{text}'; write a number and a unit ({', '.join(UNITS_IN_METRES)}), like 5.3um"
        )
    return VoxelSize(value, unit, "given")


def from_name(name: str) -> VoxelSize | None:
    """The voxel size in a file name such as ``rock_300x300x300_2p25um.raw`` (p standing for the point)."""
    match = _IN_NAME.search(name)
    if not match:
        return None
    value = float(match[1].lower().replace("p", "."))
    return VoxelSize(value, unit_name(match[2]) or "", "file name") if value > 0 else None


def sides(shape: Sequence[int]) -> str:
    """(320, 400, 400) as 320x400x400."""
    return "x".join(map(str, shape))
