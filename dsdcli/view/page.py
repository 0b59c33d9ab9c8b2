"""One self-contained HTML page in which volumes are turned and cut, or 2D images paged through.

The images lie in the page as phase indices, compressed (zlib, base64); viewer.js and viewer.frag draw them. Nothing is
fetched at run time.
"""

import base64
import html
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.downsample import majority
from dsdcli.data.phases import Phase
from dsdcli.data.voxel import sides
from dsdcli.files import atomic
from dsdcli.view import cutaway
from dsdcli.view.sheet import background, colours

MOST_VOXELS = 256**3  # of an image; larger ones are coarsened
_MARK = '<meta name="generator" content="dsd view">'
_STYLE = "body { margin: 1.2rem auto; max-width: 1120px; padding: 0 1rem; font: 15px/1.45 system-ui, sans-serif; }"

Images = Sequence[tuple[str, np.ndarray]]  # names, and phase indices uint8 (*L)


def viewer(
    panes: Mapping[str, Images], phases: Sequence[Phase], voxel_size: float | None, voxel_unit: str | None
) -> str:
    """The images as a piece of HTML, to be put once into a page: one pane for each title, all turned and cut alike.

    Args:
        panes: images by title, all volumes or all 2D; one of a pane is shown at a time.
        phases: in the order of the indices. Volumes open with the dark one hidden, as on their sheets.
        voxel_size: side of a voxel, in ``voxel_unit``; None: the scale is in voxels.
    """
    solid = next(image.ndim for images in panes.values() for _, image in images) == 3
    hidden = background(phases) if solid else None
    about = {
        "phases": [
            {"name": phase.name, "colour": colour, "hidden": index == hidden}
            for index, (phase, colour) in enumerate(zip(phases, colours(phases).tolist(), strict=True))
        ],
        "panes": [
            {"title": title, "items": [_item(*named, phases, voxel_size, voxel_unit) for named in images]}
            for title, images in panes.items()
        ],
        "unit": voxel_unit if voxel_size else "voxels",
        "solid": solid,
        "eye": {"azimuth": cutaway.AZIMUTH, "elevation": cutaway.ELEVATION},
        "lamp": cutaway.LAMP,
        "shading": [cutaway.AMBIENT, cutaway.DIFFUSE, cutaway.FADE],
        "shader": _part("viewer.frag"),
    }
    data = json.dumps(about).replace("</", "<\\/")
    return (
        f'<style>{_part("viewer.css")}</style><div class="dsd-view"><script type="application/json">{data}</script>'
        f"</div><script>{_part('viewer.js')}</script>"
    )


def write_page(path: Path, title: str, lines: Sequence[str], piece: str) -> None:
    """Write a page of its own around `viewer`'s ``piece``, with remarks above it, all or nothing.

    Raises:
        UsageError: the folder does not exist.
        DsdError: the system could not write.
    """
    name, remarks = html.escape(title), "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    with atomic(path) as temporary:
        temporary.write_text(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">{_MARK}<title>{name}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
            f"<body><h2>{name}</h2>{remarks}{piece}</body></html>\n",
            encoding="utf-8",
        )


def is_page(path: Path) -> bool:
    """Whether `write_page` made the file at ``path``."""
    try:
        with path.open("rb") as file:
            return _MARK.encode() in file.read(200)
    except OSError:
        return False


def _item(
    name: str, image: np.ndarray, phases: Sequence[Phase], voxel_size: float | None, voxel_unit: str | None
) -> dict[str, Any]:
    """One image as the script takes it; ``about`` is what the page says below it."""
    counts = np.bincount(image.reshape(-1), minlength=len(phases))
    lines = [_size(image.shape, voxel_size, voxel_unit)]
    lines += [f"{phase.name} {n / image.size:.4f} ({n})" for phase, n in zip(phases, counts.tolist(), strict=True) if n]
    factor = coarsening(image.shape)
    if factor > 1:
        image = majority(image, factor, tuple(range(image.ndim)))
        voxel_size = voxel_size * factor if voxel_size else None
        lines.append(f"shown {factor} times coarser, by majority: {_size(image.shape, voxel_size, voxel_unit)}")
    return {
        "name": name,
        "about": "; ".join(lines),
        "shape": image.shape,
        "voxel": voxel_size or float(factor),
        "data": base64.b64encode(zlib.compress(image.tobytes(), 6)).decode(),
    }


def coarsening(shape: Sequence[int]) -> int:
    """How many times coarser an image of this shape is shown."""
    factor = 1
    while math.prod(side // factor for side in shape) > MOST_VOXELS and factor < min(shape):
        factor += 1
    return factor


def _size(shape: Sequence[int], voxel_size: float | None, voxel_unit: str | None) -> str:
    return sides(shape) + (f" voxels of {voxel_size:g} {voxel_unit}" if voxel_size else " voxels")


def _part(name: str) -> str:
    return files("dsdcli.view").joinpath(name).read_text(encoding="utf-8")
