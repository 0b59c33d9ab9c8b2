"""The size of a voxel: value and unit, read from what a person, a file name or a file's metadata says."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dsdcli.errors import UsageError

UNITS_IN_METRES = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}
SAME = 0.01  # relative difference of sizes that counts as none
FACTOR = 1.25  # between voxel sizes, up to which they count as much the same
LARGEST = 2e-4  # metres; a longer "voxel" is rather the size of a plug or of the field of view
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

    @property
    def metres(self) -> float:
        return self.value * UNITS_IN_METRES[self.unit]


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
    """The voxel size in a file name such as ``rock_300x300x300_2p25um.raw`` (p standing for the point).

    None if there is none, or none that can be told from the sizes of other things; see `doubt_name`.
    """
    found = [size for size in _in_name(name) if size.metres <= LARGEST]
    return found[0] if len(found) == 1 else None


def doubt_name(name: str) -> str | None:
    """What a person should know of the lengths in a file name, if they are not plainly one voxel size."""
    found, taken = _in_name(name), from_name(name)
    if not found or (len(found) == 1 and taken):
        return None
    listed = " and ".join(f"{size.value:g} {size.unit}" for size in found)
    if taken:
        return f"the name {name} says {listed}: the voxel size is taken to be {taken.value:g} {taken.unit}"
    reason = "too large for a voxel" if len(found) == 1 else "not plainly one voxel size"
    return f"the name {name} says {listed}, {reason}: not used"


def length_ratio(value: float | None, unit: str | None, other: float | None, other_unit: str | None) -> float | None:
    """How many times as long the first voxel side is as the other; None where one is unknown."""
    first, second = unit_name(unit or ""), unit_name(other_unit or "")
    if not value or not other or not first or not second:
        return None
    return value * UNITS_IN_METRES[first] / (other * UNITS_IN_METRES[second])


def differ(value: float | None, unit: str | None, other: float | None, other_unit: str | None) -> bool:
    """Whether two known voxel sizes differ so much that images of as many voxels show other things."""
    ratio = length_ratio(value, unit, other, other_unit)
    return ratio is not None and not 1 / FACTOR <= ratio <= FACTOR


def _in_name(name: str) -> list[VoxelSize]:
    """The different lengths that a file name spells."""
    found: list[VoxelSize] = []
    for number, unit in _IN_NAME.findall(name):
        size = VoxelSize(float(number.lower().replace("p", ".")), unit_name(unit) or "", "file name")
        if size.value > 0 and size not in found:
            found.append(size)
    return found


def sides(shape: Sequence[int]) -> str:
    """(320, 400, 400) as 320x400x400."""
    return "x".join(map(str, shape))
