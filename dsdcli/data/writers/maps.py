"""Maps of an ensemble: how often each phase takes each voxel, and the entropy of that, as one TIFF."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from dsdcli.data.phases import Phase
from dsdcli.files import atomic

MARK = "dsd-frequencies"


def write_maps(path: Path, maps: np.ndarray, phases: Sequence[Phase], about: dict[str, Any]) -> None:
    """Write float32 maps (K + 1, *L): those of the phases, then the entropy in bits; their names stand in the file."""
    names = [*(phase.name for phase in phases), "entropy"]
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary,
            maps.astype(np.float32),
            photometric="minisblack",
            description=json.dumps({"format": MARK, "maps": names, **about}),
            metadata=None,
            compression="zlib",
        )


def is_maps(path: Path) -> bool:
    """Whether `write_maps` wrote the file."""
    try:
        with tifffile.TiffFile(path) as tif:
            return bool(json.loads(tif.pages[0].description)["format"] == MARK)  # type: ignore[union-attr]
    except Exception:  # of a file from elsewhere every kind
        return False
