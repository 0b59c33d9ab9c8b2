"""Contact sheets: many small segmented images on one picture, for the eye."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont, PngImagePlugin

from dsdcli.data.phases import Phase
from dsdcli.files import atomic

MARK = "dsd contact sheet"  # in the file's Software field, so that a sheet is never taken for data
_WIDTH = 1600  # pixels aimed at
_GUTTER = 4
_LINE = 18  # height of a line of text
_MARGIN = 24  # voxels shown around a hole
_DARK = (34, 37, 43)
_HOLE = (214, 64, 118)
_NEVER, _ALWAYS = (255, 250, 232), (122, 22, 92)  # ends of the scale of frequencies
_PALETTE = (
    (203, 203, 198),
    (217, 119, 47),
    (74, 126, 176),
    (112, 163, 84),
    (158, 104, 166),
    (222, 186, 62),
    (86, 168, 165),
    (186, 72, 80),
    (140, 109, 84),
)


def colours(phases: Sequence[Phase]) -> np.ndarray:
    """Colour of each phase, uint8 (K, 3): the pore (else the first phase) dark, the others light grey, orange, ..."""
    names = [phase.name for phase in phases]
    dark = names.index("pore") if "pore" in names else 0
    table = [_PALETTE[i % len(_PALETTE)] for i in range(len(phases) - 1)]
    table.insert(dark, _DARK)
    return np.array(table, np.uint8)


def sheet_image(
    stack: np.ndarray, phases: Sequence[Phase], columns: int | None = None, titles: Sequence[str] | None = None
) -> Pictures.Image:
    """Tile the images of ``stack``, enlarged by a whole factor, with a legend below.

    Args:
        stack: phase indices (n, Y, X), or (n, Z, Y, X), of which the middle slice is shown.
        phases: names, in the order of the indices.
        columns: tiles per row; by default about as many as rows.
        titles: one for each image, written above it.
    """
    if stack.ndim == 4:
        stack = stack[:, stack.shape[1] // 2]
    legend = [(phase.name, colour) for phase, colour in zip(phases, colours(phases), strict=True)]
    return _tiled(colours(phases)[stack], legend, columns, titles)


def _tiled(
    tiles: np.ndarray,
    legend: Sequence[tuple[str, np.ndarray]],
    columns: int | None,
    titles: Sequence[str] | None,
) -> Pictures.Image:
    """Pictures (n, Y, X, 3) beside and below each other, with a legend of names and colours."""
    n, height, width, _ = tiles.shape
    columns = columns or math.ceil(math.sqrt(n * height / width)) or 1
    columns = max(1, min(columns, n))
    rows = math.ceil(n / columns)
    factor = min(8, max(1, _WIDTH // (columns * width)))
    height, width = height * factor, width * factor
    title = _LINE if titles else 0
    picture = Pictures.new(
        "RGB",
        (_GUTTER + columns * (width + _GUTTER), _GUTTER + rows * (title + height + _GUTTER) + _LINE),
        "white",
    )
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=12)
    for number, image in enumerate(tiles):
        row, column = divmod(number, columns)
        x, y = _GUTTER + column * (width + _GUTTER), _GUTTER + row * (title + height + _GUTTER)
        if titles:
            draw.text((x, y), titles[number], fill="black", font=font)
        picture.paste(Pictures.fromarray(image.repeat(factor, axis=0).repeat(factor, axis=1)), (x, y + title))
    x, y = _GUTTER, picture.height - _LINE
    for name, colour in legend:
        draw.rectangle((x, y + 2, x + 10, y + 12), fill=tuple(colour.tolist()))
        draw.text((x + 15, y), name, fill="black", font=font)
        x += 30 + math.ceil(draw.textlength(name, font=font))
    return picture


def write_sheet(
    path: Path | str,
    stack: np.ndarray,
    phases: Sequence[Phase],
    columns: int | None = None,
    titles: Sequence[str] | None = None,
) -> None:
    """Write `sheet_image` as a PNG file, all or nothing."""
    _save(sheet_image(stack, phases, columns, titles), Path(path))


def write_filling_sheet(
    path: Path | str,
    original: np.ndarray,
    mask: np.ndarray,
    unknown: np.ndarray,
    fillings: np.ndarray,
    phases: Sequence[Phase],
    shown: int,
) -> None:
    """Write a PNG sheet of an in-painting, all or nothing: the original, the mask, for every phase (of two: the first)
    how often it fills each voxel, and the first ``shown`` fillings.

    Only the surroundings of the mask are shown; in 3D those in the slice that has most of it.

    Args:
        original: phase indices (*L).
        mask: bool (*L), what was filled; ``unknown``: bool (*L), voxels without a phase in the original.
        fillings: phase indices (n, *L).
    """
    place = ""
    if mask.ndim == 3:
        at = int(mask.sum((1, 2)).argmax())
        original, mask, unknown, fillings = original[at], mask[at], unknown[at], fillings[:, at]
        place = f", slice {at}"
    where = np.argwhere(mask)
    low, high = np.maximum(where.min(0) - _MARGIN, 0), np.minimum(where.max(0) + 1 + _MARGIN, mask.shape)
    cut = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    original, mask, unknown, fillings = original[cut], mask[cut], unknown[cut], fillings[:, *cut]
    colour_of = colours(phases)
    known = colour_of[original]
    tiles = [np.where(unknown[..., None], _HOLE, known), np.where(mask[..., None], _HOLE, known)]
    titles = ["original" + place, "mask"]
    pale = known // 3 + 170
    for index, phase in enumerate(phases[:1] if len(phases) == 2 else phases):
        often = (fillings == index).mean(0)[..., None]
        tiles.append(np.where(mask[..., None], (1 - often) * np.array(_NEVER) + often * np.array(_ALWAYS), pale))
        titles.append(f"frequency of {phase.name}")
    tiles += list(colour_of[fillings[:shown]])
    titles += [f"filling {number}" for number in range(min(shown, len(fillings)))]
    legend = [(phase.name, colour) for phase, colour in zip(phases, colour_of, strict=True)]
    legend += [("hole", np.array(_HOLE)), ("never", np.array(_NEVER)), ("in every filling", np.array(_ALWAYS))]
    _save(_tiled(np.stack(tiles).astype(np.uint8), legend, None, titles), Path(path))


def _save(picture: Pictures.Image, path: Path) -> None:
    marks = PngImagePlugin.PngInfo()
    marks.add_text("Software", MARK)
    with atomic(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=marks)
