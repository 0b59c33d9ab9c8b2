"""Contact sheets: many small segmented images on one picture, for the eye."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont, PngImagePlugin

from dsdcli.data.phases import Phase
from dsdcli.data.samples import entropy
from dsdcli.data.species import Species
from dsdcli.files import atomic

MARK = "dsd contact sheet"  # in the file's Software field, so that a sheet is never taken for data
_WIDTH = 1600  # pixels aimed at
_GUTTER = 4
_VOLUMES = 16  # as many as a sheet shows well
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


def background(phases: Sequence[Phase]) -> int:
    """The phase that is dark in cuts and not seen in views of volumes: the pore, else the first."""
    names = [phase.name for phase in phases]
    return names.index("pore") if "pore" in names else 0


def colours(phases: Sequence[Phase]) -> np.ndarray:
    """Colour of each phase, uint8 (K, 3): the `background` dark, the others light grey, orange, ..."""
    table = [_PALETTE[i % len(_PALETTE)] for i in range(len(phases) - 1)]
    table.insert(background(phases), _DARK)
    return np.array(table, np.uint8)


def sheet_image(
    stack: np.ndarray, phases: Sequence[Phase], columns: int | None = None, titles: Sequence[str] | None = None
) -> Pictures.Image:
    """Tile the images of ``stack``, enlarged by a whole factor, with a legend below.

    A volume is shown by its three middle planes and its `dsdcli.view.cutaway.cutaway`; of many the first 16.

    Args:
        stack: phase indices (n, Y, X) or (n, Z, Y, X).
        phases: names, in the order of the indices.
        columns: images per row; by default about as many as rows.
        titles: one for each image, written above it.
    """
    legend: list[tuple[str, np.ndarray | None]] = list(
        zip([phase.name for phase in phases], colours(phases), strict=True)
    )
    if stack.ndim == 3:
        columns, factor = _layout(len(stack), stack.shape[1], stack.shape[2], columns)
        return _tiled(_enlarged(colours(phases)[stack], factor), legend, columns, titles)
    shown, (_, height, width), view = stack[:_VOLUMES], stack.shape[1:], max(stack.shape[1:])
    columns, factor = _layout(len(shown), height + view, width + view, columns)
    legend.append(("middle planes: across z, x (right), y (below)", None))
    if len(shown) < len(stack):
        legend.append((f"the first {len(shown)} of {len(stack)}", None))
    return _tiled(np.stack([_volume(volume, phases, factor) for volume in shown]), legend, columns, titles)


def intensity_image(
    stack: np.ndarray, species: Sequence[Species], columns: int | None = None, titles: Sequence[str] | None = None
) -> Pictures.Image:
    """As `sheet_image`, of intensities (n, C, *L): grey, or in colours where there are three channels; else the
    channels side by side. Of a volume the middle plane across z is shown."""
    caps = np.array([each.cap for each in species]).reshape(-1, *(1,) * (stack.ndim - 2))
    grey = np.rint(255 * (stack / caps).clip(0, 1)).astype(np.uint8)
    legend = [(f"{each.name}: 0 black, {each.cap} white", None) for each in species]
    if stack.ndim == 5:
        grey = grey[:, :, stack.shape[2] // 2]
        legend.append(("middle planes across z", None))
    if len(species) == 3:
        tiles = np.moveaxis(grey, 1, -1)
    else:
        tiles = np.concatenate(list(np.moveaxis(grey, 1, 0)), -1)[..., None].repeat(3, -1)
    columns, factor = _layout(len(tiles), tiles.shape[1], tiles.shape[2], columns)
    return _tiled(_enlarged(tiles, factor), legend, columns, titles)


def _volume(volume: np.ndarray, phases: Sequence[Phase], factor: int) -> np.ndarray:
    """Middle planes and cut-away view of a volume (Z, Y, X) as one picture, axes in line; (H, W, 3)."""
    from dsdcli.view.cutaway import cutaway

    table, side = colours(phases), factor * max(volume.shape)
    z, y, x = (length // 2 for length in volume.shape)
    planes = [_enlarged(table[plane][None], factor)[0] for plane in (volume[z], volume[:, :, x].T, volume[:, y])]
    planes.append(cutaway(volume, table, background(phases), side))
    down, right = (length + _GUTTER for length in planes[0].shape[:2])
    picture = np.full((down + side + 2 * _GUTTER, right + side + 2 * _GUTTER, 3), 255, np.uint8)
    for plane, (top, left) in zip(planes, ((0, 0), (0, right), (down, 0), (down, right)), strict=True):
        picture[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    return picture


def _layout(n: int, height: int, width: int, columns: int | None = None) -> tuple[int, int]:
    """Columns for n images of this size in voxels, and the factor by which they are enlarged."""
    columns = columns or math.ceil(math.sqrt(n * height / width)) or 1
    columns = max(1, min(columns, n))
    return columns, min(8, max(1, _WIDTH // (columns * width)))


def _enlarged(tiles: np.ndarray, factor: int) -> np.ndarray:
    return tiles.repeat(factor, axis=1).repeat(factor, axis=2)


def _tiled(
    tiles: np.ndarray,
    legend: Sequence[tuple[str, np.ndarray | None]],
    columns: int,
    titles: Sequence[str] | None,
) -> Pictures.Image:
    """Pictures (n, H, W, 3) beside and below each other, with a legend of names and colours."""
    n, height, width, _ = tiles.shape
    rows = math.ceil(n / columns)
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
        picture.paste(Pictures.fromarray(image), (x, y + title))
    x, y = _GUTTER, picture.height - _LINE
    for name, colour in legend:
        if colour is not None:
            draw.rectangle((x, y + 2, x + 10, y + 12), fill=tuple(colour.tolist()))
            x += 15
        draw.text((x, y), name, fill="black", font=font)
        x += 15 + math.ceil(draw.textlength(name, font=font))
    return picture


def write_sheet(
    path: Path | str,
    stack: np.ndarray,
    phases: Sequence[Phase],
    columns: int | None = None,
    titles: Sequence[str] | None = None,
) -> None:
    """Write `sheet_image` as a PNG file, all or nothing."""
    save_picture(sheet_image(stack, phases, columns, titles), Path(path))


def filling_image(
    original: np.ndarray,
    mask: np.ndarray,
    unknown: np.ndarray,
    often: np.ndarray,
    shown: np.ndarray,
    phases: Sequence[Phase],
    word: str = "filling",
) -> Pictures.Image:
    """The sheet of an ensemble that agrees with an image in part: the image, the mask, for every phase (of two: the
    first) how often it takes each voxel, the entropy of that, and the first members.

    Only the surroundings of the mask are shown; in 3D in the slice, across any axis, in which most of what was drawn
    meets most of what was not.

    Args:
        original: phase indices (*L).
        mask: bool (*L), what was drawn; ``unknown``: bool (*L), voxels without a phase in the original.
        often: share of all members that have each phase, (K, *L).
        shown: phase indices (n, *L) of the members to show.
        word: what a member is called.
    """
    place = ""
    if mask.ndim == 3:
        axis, at = _telling(mask)
        original, mask, unknown = (array.take(at, axis) for array in (original, mask, unknown))
        often, shown = often.take(at, axis + 1), shown.take(at, axis + 1)
        place = f", slice {'zyx'[axis]}:{at}"
    where = np.argwhere(mask)
    low, high = np.maximum(where.min(0) - _MARGIN, 0), np.minimum(where.max(0) + 1 + _MARGIN, mask.shape)
    cut = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    original, mask, unknown, often, shown = original[cut], mask[cut], unknown[cut], often[:, *cut], shown[:, *cut]
    colour_of = colours(phases)
    known = colour_of[original]
    tiles, titles = [np.where(unknown[..., None], _HOLE, known)], ["original" + place]
    if not np.array_equal(mask, unknown):
        tiles.append(np.where(mask[..., None], _HOLE, known))
        titles.append("mask")
    pale = known // 3 + 170
    maps = [(f"frequency of {phase.name}", share) for phase, share in zip(phases, often, strict=True)]
    maps = [*(maps[:1] if len(phases) == 2 else maps), ("entropy", entropy(often))]
    for title, value in maps:
        share = np.minimum(value, 1)[..., None]
        tiles.append(np.where(mask[..., None], (1 - share) * np.array(_NEVER) + share * np.array(_ALWAYS), pale))
        titles.append(title)
    tiles += list(colour_of[shown])
    titles += [f"{word} {number}" for number in range(len(shown))]
    legend = [(phase.name, colour) for phase, colour in zip(phases, colour_of, strict=True)]
    legend += [("drawn", np.array(_HOLE)), ("never, 0 bit", np.array(_NEVER)), ("always, 1 bit", np.array(_ALWAYS))]
    pictures = np.stack(tiles).astype(np.uint8)
    columns, factor = _layout(*pictures.shape[:3])
    return _tiled(_enlarged(pictures, factor), legend, columns, titles)


def _telling(mask: np.ndarray) -> tuple[int, int]:
    """Axis and position of a plane of a volume that shows True beside False; of equals the first axis, the middle."""
    found = []
    for axis, length in enumerate(mask.shape):
        share = mask.mean(tuple(a for a in range(mask.ndim) if a != axis))
        value = np.round(share * (1 - share), 9)
        middle = -np.abs(np.arange(length) - length // 2)
        at = int(np.lexsort((middle, value))[-1])
        found.append((value[at], -axis, at))
    _, axis, at = max(found)
    return -axis, at


def is_sheet(path: Path) -> bool:
    """Whether `save_picture` wrote the file at ``path``."""
    try:
        with Pictures.open(path) as picture:
            return picture.format == "PNG" and picture.info.get("Software") == MARK
    except Exception:  # of a file from elsewhere every kind
        return False


def save_picture(picture: Pictures.Image, path: Path) -> None:
    """Write a sheet as a PNG file, all or nothing."""
    marks = PngImagePlugin.PngInfo()
    marks.add_text("Software", MARK)
    with atomic(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=marks)
