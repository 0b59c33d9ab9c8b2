"""Known voxels: a partly known image, slices, cores, and what lies beyond the borders of an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsdcli.data.phases import Phase
from dsdcli.data.scan import AXES, Labels, Scan, disk_mask, read_scan
from dsdcli.data.voxel import sides
from dsdcli.errors import UsageError

Source = Labels | str | Path
Core = tuple[Sequence[float], float, Source]  # centre (y, x), radius, image


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of an image, and what is to be said of it.

    Attributes:
        image: phase indices uint8 (*L), 0 where nothing is known.
        mask: bool (*L), where it is known.
        notes: what a user should know of how it was read.
    """

    image: np.ndarray
    mask: np.ndarray
    notes: tuple[str, ...] = ()


def known_size(scan: Scan | None, extend: Mapping[str, tuple[int, int]]) -> tuple[int, ...] | None:
    """Sides of the samples that contain a known image and what it is extended by, None without an image."""
    if scan is None:
        return None
    shape = scan.image.shape
    return tuple(side + sum(pair) for side, pair in zip(shape, _beyond(extend, len(shape)), strict=True))


def read_known(
    size: tuple[int, ...],
    phases: Sequence[Phase],
    scan: Scan | None = None,
    slices: Sequence[tuple[str, Source]] = (),
    cores: Sequence[Core] = (),
    extend: Mapping[str, tuple[int, int]] | None = None,
    named: Sequence[tuple[str, int]] = (),
) -> Known | None:
    """Put together what is known of an image of sides ``size``, None where nothing is.

    Args:
        phases: those of the model, with the labels to expect.
        scan: an image that is known but where its voxels are unknown.
        slices: planes of a volume (lines of an image), each with where it lies, such as ("z:12", image).
        cores: discs of an image, or in a volume columns along z: centre (y, x), radius and an image whose middle
            comes to lie on the centre.
        extend: voxels before and behind ``scan`` along an axis ("z", "y" or "x").
        named: (name, label) pairs that replace the labels of the phases.

    Raises:
        UsageError: something does not fit, two things contradict each other, or nothing is left to draw.
        DataError: a file that cannot be used.
    """
    if scan is None and extend:
        raise UsageError("`extend` goes on from an image; give it by `known`")
    if scan is None and not slices and not cores:
        return None
    notes: list[str] = []
    ndim = len(size)
    found = np.zeros(size, np.uint8)
    mask = np.zeros(size, bool)

    def add(array: np.ndarray, where: np.ndarray, index: tuple[slice, ...], what: str) -> None:
        old, old_mask = found[index], mask[index]
        both = where & old_mask & (array != old)
        if both.any():
            at = tuple(int(p[0]) + (s.start or 0) for p, s in zip(both.nonzero(), index, strict=True))
            raise UsageError(f"{what} contradicts what else is known at {int(both.sum())} voxels, the first at {at}")
        old[where] = array[where]
        old_mask |= where

    if scan is not None:
        beyond = _beyond(extend or {}, ndim)
        if known_size(scan, extend or {}) != size:
            raise UsageError(
                f"`known` is {sides(scan.image.shape)}{' with its extension' if extend else ''}, the samples are "
                f"{sides(size)}; leave out `size`, or give `extend` the rest"
            )
        index = tuple(slice(b, b + side) for side, (b, _) in zip(scan.image.shape, beyond, strict=True))
        add(scan.image, ~scan.unknown, index, "`known`")
        notes += scan.notes
    for place, source in slices:
        axis, position = _place(place, size)
        cut = read_scan(source, phases, ndim - 1, named)
        across = size[:axis] + size[axis + 1 :]
        if cut.image.shape != across:
            raise UsageError(f"the slice {place} is {sides(cut.image.shape)}, the samples there {sides(across)}")
        index = tuple(slice(position, position + 1) if a == axis else slice(0, n) for a, n in enumerate(size))
        plane = np.expand_dims(cut.image, axis)
        add(plane, np.ones_like(plane, bool), index, f"the slice {place}")
        notes += cut.notes
    for centre, radius, source in cores:
        core = read_scan(source, phases, ndim, named)
        notes += core.notes
        add(*_core(core.image, centre, radius, size))
    if mask.all():
        fix = "give the label of unknown voxels by `unknown`, or go on beyond the image by `extend`"
        raise UsageError(f"every voxel is known, and nothing is left to draw; {fix}")
    return Known(found, mask, tuple(dict.fromkeys(notes)))


def _core(
    image: np.ndarray, centre: Sequence[float], radius: float, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...], str]:
    """The core on the whole lattice, where it is known, and what to call it."""
    what = f"the core at {','.join(f'{c:g}' for c in centre)}"
    across = size[-2:]
    if image.ndim == 3 and image.shape[0] != size[0]:
        raise UsageError(f"{what} is {image.shape[0]} voxels long, the samples {size[0]} along z; they must be equal")
    inside = disk_mask((*centre, radius), across)
    corner = [round(c) - n // 2 for c, n in zip(centre, image.shape[-2:], strict=True)]
    target = tuple(slice(max(0, c), min(c + n, m)) for c, n, m in zip(corner, image.shape[-2:], across, strict=True))
    source = tuple(slice(t.start - c, t.stop - c) for t, c in zip(target, corner, strict=True))
    reached = np.zeros(across, bool)
    reached[target] = True
    if (inside & ~reached).any():
        raise UsageError(f"{what}: its image, {sides(image.shape)}, is smaller than the disc of radius {radius:g}")
    whole = np.zeros(size, np.uint8)
    whole[..., target[0], target[1]] = image[..., source[0], source[1]]
    return whole, np.broadcast_to(inside, size), tuple(slice(0, n) for n in size), what


def _beyond(extend: Mapping[str, tuple[int, int]], ndim: int) -> list[tuple[int, int]]:
    """Voxels before and behind an image along each axis."""
    axes = AXES[-ndim:]
    for axis, (before, after) in extend.items():
        if axis not in axes or before < 0 or after < 0:
            raise UsageError(f"`extend` takes voxels along {', '.join(axes)}, 0 or more, not {axis}: {before}, {after}")
    return [extend.get(axis, (0, 0)) for axis in axes]


def _place(text: str, size: tuple[int, ...]) -> tuple[int, int]:
    """``z:12`` -> (axis, position)."""
    axes = AXES[-len(size) :]
    name, _, number = text.partition(":")
    if name not in axes or not (number.isascii() and number.isdigit()):
        raise UsageError(f"cannot read the place of the slice '{text}'; write {axes[0]}:12 for one across {axes[0]}")
    axis, position = axes.index(name), int(number)
    if position >= size[axis]:
        raise UsageError(f"the slice {text} lies outside: the samples have {size[axis]} planes across {name}")
    return axis, position
