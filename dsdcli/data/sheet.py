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
_DARK = (34, 37, 43)
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
    n, height, width = stack.shape
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
    colour_of = colours(phases)
    for number, image in enumerate(stack):
        row, column = divmod(number, columns)
        x, y = _GUTTER + column * (width + _GUTTER), _GUTTER + row * (title + height + _GUTTER)
        if titles:
            draw.text((x, y), titles[number], fill="black", font=font)
        tile = Pictures.fromarray(colour_of[image].repeat(factor, axis=0).repeat(factor, axis=1))
        picture.paste(tile, (x, y + title))
    x, y = _GUTTER, picture.height - _LINE
    for phase, colour in zip(phases, colour_of.tolist(), strict=True):
        draw.rectangle((x, y + 2, x + 10, y + 12), fill=tuple(colour))
        draw.text((x + 15, y), phase.name, fill="black", font=font)
        x += 30 + math.ceil(draw.textlength(phase.name, font=font))
    return picture


def write_sheet(
    path: Path | str,
    stack: np.ndarray,
    phases: Sequence[Phase],
    columns: int | None = None,
    titles: Sequence[str] | None = None,
) -> None:
    """Write `sheet_image` as a PNG file, all or nothing."""
    picture = sheet_image(stack, phases, columns, titles)
    marks = PngImagePlugin.PngInfo()
    marks.add_text("Software", MARK)
    with atomic(Path(path)) as temporary:
        picture.save(temporary, format="PNG", pnginfo=marks)
