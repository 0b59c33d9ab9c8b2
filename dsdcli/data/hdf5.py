"""Writing HDF5 files that are complete or not there."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from dsdcli.files import atomic


class _Disk(io.FileIO):
    """A file of which the HDF5 library never sees that it cannot be written, since it may crash then.

    Attributes:
        failed: what went wrong first; nothing more is written after that.
    """

    failed: OSError | None = None

    def write(self, content: Any) -> int:
        rest = memoryview(content).cast("B")
        try:
            while len(rest) and not self.failed:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failed = error
        return memoryview(content).nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failed = self.failed or error
            return size or 0


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield an empty file to fill; it appears at ``path`` when the block ends without an error.

    Raises:
        UsageError: the folder of ``path`` does not exist.
        DsdError: the system could not write.
    """
    with atomic(Path(path)) as temporary, _Disk(temporary, "w+") as disk:
        # The newer file layout is asked for because the oldest one limits attributes to 64 kB.
        try:
            with h5py.File(disk, "w", libver=("v110", "v110")) as file:
                yield file
        finally:
            if disk.failed:
                raise disk.failed
