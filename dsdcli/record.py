"""Where a result comes from: one record, spelled one way in every file that keeps it."""

import functools
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from dsdcli import __version__
from dsdcli.errors import UsageError

_PACKAGES = ("torch", "numpy", "h5py", "tifffile")


@functools.cache
def versions() -> dict[str, str]:
    """Versions that decide what is computed and how it is written."""
    return {"dsd": __version__, "python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def provenance() -> dict[str, Any]:
    """The command line of this process, the time (UTC), and versions."""
    return {
        "command": list(sys.argv),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": dict(versions()),
    }


def check_seed(seed: int) -> int:
    """The seed, which records keep and every generator of random numbers takes.

    Raises:
        UsageError: it is negative, or has more than 64 bits.
    """
    if not 0 <= seed < 2**64:
        raise UsageError(f"`seed={seed}`: a seed is a whole number from 0 to 2^64 - 1")
    return seed


def created(record: Mapping[str, Any]) -> str | None:
    """When the result of a record was made; datasets once said ``date``, runs ``started``."""
    return next((record[key] for key in ("created", "date", "started") if key in record), None)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
