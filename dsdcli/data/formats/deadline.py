"""The time that a reading process allows itself."""

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np

_COMPUTING = 8.0  # seconds of processor time for the structure of a file, or one slab
_PACE = 2e7  # bytes a second that every reader reaches

Slabs = Iterator[dict[str, Any] | np.ndarray]  # what a reader of `dsdcli.data.formats.reader` gives


def more_time(size: int = 0) -> None:
    """End the process unless this is called again within some seconds of computing, more for ``size`` bytes to read.

    The signal ends it also inside a library that never comes back. Not on Windows, which has none.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, _COMPUTING + size / _PACE)
