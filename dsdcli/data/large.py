"""Arrays that need not lie in memory: those of large images stay in files, of which the system holds what is in use."""

import math
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.voxel import sides
from dsdcli.errors import DsdError

LARGE = 2**30  # bytes
_AT_ONCE = 2**22  # bytes of a slab


def is_large(size: int) -> bool:
    """Whether an array of so many bytes, or the images of a dataset together, should not lie in memory."""
    return size > LARGE


def room(shape: Sequence[int], dtype: Any = np.uint8) -> np.ndarray:
    """An array to fill; a large one lies in a file without a name in the temporary folder (TMPDIR).

    Raises:
        DsdError: the disk has no room for it.
    """
    shape, dtype = tuple(shape), np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if not is_large(size):
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):  # a disk that is full when a page is written would end the process
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return np.ndarray(shape, dtype, mmap.mmap(file.fileno(), size))
    except OSError as error:
        raise DsdError(
            f"{tempfile.gettempdir()} has no room for {sides(shape)} voxels ({error.strerror or error}); set TMPDIR to "
            "a folder on a larger disk"
        ) from error


def in_file(path: Path, shape: Sequence[int], dtype: Any, offset: int) -> np.ndarray:
    """The array that lies in a file from byte ``offset`` on, as it is: read when it is looked at, and never written.

    Raises:
        ValueError: the file ends before it.
    """
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if offset + math.prod(shape) * np.dtype(dtype).itemsize > len(held):
        raise ValueError("it ends before its last voxel")
    return np.ndarray(tuple(shape), dtype, held, offset)


def let_go(array: np.ndarray) -> None:
    """Give back the memory of an array that lies in a file: what is needed of it is read again. Others stay."""
    held = _owner(array)
    if isinstance(held, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)


def slabs(array: np.ndarray) -> Iterator[slice]:
    """Parts of an array along its first axis, one after another, which are let go when the next one is asked for."""
    rows = max(1, _AT_ONCE * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))
        let_go(array)


def stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Images of one shape as one array, (N, *L)."""
    stack = room((len(arrays), *arrays[0].shape), np.result_type(*arrays))
    for number, array in enumerate(arrays):
        stack[number] = array
        let_go(stack)
        let_go(array)
    return stack


def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Both along the first axis, as they are where one lies behind the other in memory or in a file."""
    plain = one.flags.c_contiguous and other.flags.c_contiguous and one.dtype == other.dtype
    if plain and _owner(one) is _owner(other) and one.ctypes.data + one.nbytes == other.ctypes.data:
        shape = (len(one) + len(other), *one.shape[1:])
        return np.lib.stride_tricks.as_strided(one, shape, one.strides, writeable=False)
    whole = room((len(one) + len(other), *one.shape[1:]), one.dtype)
    for start, part in ((0, one), (len(one), other)):
        for rows in slabs(part):
            whole[start + rows.start : start + rows.stop] = part[rows]
            let_go(whole)
    return whole


def _owner(array: np.ndarray) -> Any:
    """What holds the memory of an array: the first array that it is a view of, or the file."""
    base: Any = array
    while getattr(base, "base", None) is not None:
        base = base.base
    return base
