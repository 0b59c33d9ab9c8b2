"""What a file claims, held against what it stores and against the free memory before anything is read."""

import math
from collections.abc import Sequence

from dsdcli.data.large import is_large
from dsdcli.data.voxel import sides
from dsdcli.device import free_ram
from dsdcli.errors import DataError

_PACKED = 5000  # bytes of an image from one stored byte; deflate stops at 1032, LZW at about 2700
_SMALL = 2**26  # bytes that are had without asking


def check_claim(
    shape: Sequence[int], itemsize: int, name: str, stored: int | None = None, spills: bool = False
) -> None:
    """See that an array of ``shape`` can be what it says.

    Args:
        shape: as claimed.
        itemsize: bytes of a voxel.
        name: of the file, for the message.
        stored: bytes that the file has for it, packed or not; None where nothing follows from them.
        spills: whether it need not be in memory where it is large.

    Raises:
        DataError: more than the stored bytes can hold, or than the memory that is free.
    """
    if any(side < 0 for side in shape):
        raise DataError(f"{name} is damaged: it claims the shape {sides(shape)}")
    wanted = math.prod(shape) * itemsize
    if stored is not None and wanted > _SMALL // 64 + _PACKED * stored:
        raise DataError(
            f"{name} claims {sides(shape)} voxels ({in_words(wanted)}) but stores {in_words(stored)}: damaged or "
            "cut short"
        )
    if wanted > _SMALL and not (spills and is_large(wanted)) and wanted > free_ram():
        raise DataError(
            f"{name} holds {sides(shape)} voxels, which need {in_words(wanted)} of memory; "
            f"{in_words(free_ram())} are free: crop or coarsen it first"
        )


def in_words(size: int) -> str:
    """A number of bytes for people: ``3.2 GiB``."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size // 2 ** (bits - 1) / 2:,.1f} {unit}"
    return f"{size} bytes"
