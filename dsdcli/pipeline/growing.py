"""Writing samples and their records as they come, so that a long job never holds them all."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.phases import Phase
from dsdcli.data.samples import write_samples
from dsdcli.data.voxel import sides
from dsdcli.data.writers.sink import appends, open_sink
from dsdcli.device import free_ram, require


def write_images(
    path: Path,
    images: Iterable[tuple[int, np.ndarray]],
    shape: tuple[int, ...],
    phases: Sequence[Phase],
    voxel_size: float | None,
    voxel_unit: str | None,
    extra: dict[str, Any] | None,
) -> None:
    """Write images (place, phase indices) as they come; formats that cannot grow take them all at once.

    Args:
        shape: (n, *L), of all.
        phases, voxel_size, voxel_unit, extra: as `dsdcli.data.samples.write_samples` takes them.
    """
    if appends(path):
        about = {"voxel_size": voxel_size, "voxel_unit": voxel_unit, "extra": extra}
        with open_sink(path, shape, phases, about) as put:
            for place, image in images:
                put(place, image)
        return
    require(int(np.prod(shape)), free_ram(), f"{shape[0]} samples of {sides(shape[1:])}", "fewer")
    stack = np.empty(shape, np.uint8)
    for place, image in images:
        stack[place] = image
    write_samples(path, stack, phases, voxel_size, voxel_unit, extra)


def write_record(path: Path, about: dict[str, Any], samples: Iterable[dict[str, Any]]) -> None:
    """As `write_json` would write ``{**about, "samples": [*samples]}``, entry by entry."""
    head = json.dumps({**about, "samples": []}, indent=2)
    with path.open("w", encoding="utf-8") as file:
        file.write(head.removesuffix("]\n}"))
        for number, entry in enumerate(samples):
            file.write("," * bool(number) + "\n" + textwrap.indent(json.dumps(entry, indent=2), " " * 4))
        file.write("\n  ]\n}\n")
