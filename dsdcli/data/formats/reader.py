"""The reading process that `dsdcli.data.formats.apart` starts."""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dsdcli.data.formats.deadline import more_time
from dsdcli.device import free_ram
from dsdcli.errors import DsdError


def serve() -> None:
    """Answer requests on stdin until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between
    _limit_memory()
    more_time()
    _send(answers, b"h", b"{}")
    for line in sys.stdin.buffer:
        kind, path, shown, inner = json.loads(line)
        more_time()
        try:
            for item in _reader(kind)(Path(path), inner):
                if isinstance(item, dict):
                    _send(answers, b"h", json.dumps(item).encode())
                else:
                    _send(answers, b"d", np.ascontiguousarray(item).reshape(-1).view(np.uint8).data)
                    more_time()
            _send(answers, b"z", b"")
        except Exception as error:  # every kind: the parent decides what it means
            said = str(error)
            message = (said if isinstance(error, DsdError) else said.partition("\n")[0]).replace(path, shown)
            about = {"error": type(error).__name__, "message": message[:2000], "trace": traceback.format_exc()[-4000:]}
            _send(answers, b"e", json.dumps(about).encode())


def _reader(kind: str) -> Any:
    if kind == "vtk":
        from dsdcli.data.formats.vtk_image import slabs

        return slabs
    if kind == "tiff":
        from dsdcli.data.formats import tiff

        return tiff.slabs
    from dsdcli.data.formats import hdf5_slabs

    return {"hdf5": hdf5_slabs.slabs, "hdf5-about": hdf5_slabs.about}[kind]


def _send(to: BinaryIO, tag: bytes, content: Any) -> None:
    to.write(tag + len(content).to_bytes(8, "little"))
    to.write(content)
    to.flush()


def _limit_memory() -> None:
    """Take no more than is free now, where the system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = free_ram() + 2**30  # address space, of which some is only set aside
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
