"""Writing HDF5 files that are complete or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dsdcli.files import atomic


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield an empty file to fill; it appears at ``path`` when the block ends without an error.

    It is built in memory (compressed, as it will be on disk) because the HDF5 library may crash when a disk is full.

    Raises:
        UsageError: the folder of ``path`` does not exist.
        DsdError: the system could not write.
    """
    with atomic(Path(path)) as temporary:
        # The newer file layout is asked for because the oldest one limits attributes to 64 kB.
        with h5py.File(temporary.name, "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
            yield file
            file.flush()
            image = file.id.get_file_image()
        temporary.write_bytes(image)
