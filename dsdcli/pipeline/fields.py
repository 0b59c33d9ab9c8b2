"""Fields: volume fractions that differ from place to place, as whole voxels of every cell."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dsdcli.data.phases import Phase, find_phase
from dsdcli.data.scan import AXES
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, UsageError
from dsdcli.process.cells import Cells
from dsdcli.process.lattice import Boundary
from dsdcli.sampling.counts import largest_remainder, round_table

SMALLEST = 8  # voxels that a cell is wide by default at least
SLACK = 1e-4  # by which fractions may miss 1

Profile = tuple[str, Sequence[float] | str | Path]  # axis; two or more values, or a CSV file
Map = np.ndarray | str | Path


def read_profile(profile: Profile, size: tuple[int, ...]) -> np.ndarray:
    """Volume fractions along one axis, float64 of shape (1, ..., n, ..., 1).

    Two values are those of the first and the last voxel, linear between; more are those of as many equal slabs. A CSV
    file holds a column of such values, or two: positions in voxels from the first side, and values, linear between.

    Raises:
        UsageError: no such axis, or no values.
        DataError: a file without such columns.
    """
    axis, given = profile
    axes = AXES[-len(size) :]
    if axis not in axes:
        raise UsageError(f"a profile runs along {', '.join(axes)}, not '{axis}'")
    side = size[axes.index(axis)]
    centre = np.arange(side) + 0.5
    if isinstance(given, str | Path):
        rows = _columns(Path(given))
        values = np.interp(centre, *rows.T) if rows.shape[1] == 2 else rows[:, 0]
    elif len(given) == 2:
        values = np.linspace(given[0], given[1], side)
    else:
        values = np.asarray(given, float)
    if not 1 <= len(values) <= side:
        raise UsageError(f"the profile along {axis} has {len(values)} values for {side} voxels")
    return values.reshape([len(values) if a == axis else 1 for a in axes])


def _columns(path: Path) -> np.ndarray:
    """One or two columns of numbers, below a line of names or not: (n, 1 or 2)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise UsageError(f"cannot read the profile {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file ({error})") from error
    if rows and not _number(rows[0][0]):
        rows = rows[1:]
    widths = {len(row) for row in rows}
    if widths not in ({1}, {2}) or not all(_number(cell) for row in rows for cell in row):
        raise DataError(f"{path} must hold one column of volume fractions, or two: position in voxels, and fraction")
    table = np.array(rows, float)
    if table.shape[1] == 2 and (np.diff(table[:, 0]) <= 0).any():
        raise DataError(f"the positions in {path} must grow from line to line")
    return table


def _number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def read_map(source: Map, size: tuple[int, ...]) -> np.ndarray:
    """Volume fractions on a grid as fine as the voxels or coarser, float64 with as many axes as ``size``.

    Args:
        source: array, or a TIFF or NumPy file.

    Raises:
        UsageError: finer than the voxels, or of another dimension.
        DataError: unreadable.
    """
    array, name = (
        (source, "the map") if isinstance(source, np.ndarray) else (_numbers(Path(source)), f"the map {source}")
    )
    if array.ndim == len(size) + 1 and len(array) == 1:
        array = array[0]
    if array.ndim != len(size) or any(n > side for n, side in zip(array.shape, size, strict=True)):
        raise UsageError(f"{name} is {sides(array.shape)}, the samples {sides(size)}; it must be as fine or coarser")
    return array.astype(float)


def _numbers(path: Path) -> np.ndarray:
    """The numbers in a TIFF or NumPy file."""
    import tifffile

    if not path.is_file():
        raise UsageError(f"there is no map {path}")
    try:
        array = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else tifffile.imread(path)
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise DataError(f"cannot read the map {path} as TIFF or NumPy file ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise DataError(f"the map {path} holds no array of numbers")
    return array


def by_phase(
    maps: Mapping[str, np.ndarray], fractions: Mapping[str, float], phases: Sequence[Phase]
) -> dict[int, np.ndarray]:
    """Volume fractions by phase index: fields, and fractions that are the same everywhere.

    Raises:
        UsageError: an unknown phase, one given twice, or values outside 0 to 1.
    """
    given: dict[int, np.ndarray] = {}
    for name, values in [*maps.items(), *((name, np.array(value)) for name, value in fractions.items())]:
        index = find_phase(phases, name)
        if index in given:
            raise UsageError(f"'{name}' has a field and a volume fraction; give one of them")
        low, high = float(values.min()), float(values.max())
        if not 0 <= low <= high <= 1:
            raise UsageError(
                f"the volume fractions of '{name}' must lie between 0 and 1; they go from {low:g} to {high:g}"
            )
        given[index] = values
    return given


def cells_of(maps: Sequence[np.ndarray], size: tuple[int, ...], side: int | None, boundary: Boundary) -> Cells:
    """The cells in which counts are exact: boxes of a side, or by default those of the finest map along each axis, as
    far as they are at least `SMALLEST` voxels wide."""
    if side is not None:
        if side < 1:
            raise UsageError(f"`exact_in` must be at least 1 voxel, not {side}")
        return Cells.of_side(size, side, boundary)
    finest = [max(m.shape[axis] for m in maps) for axis in range(len(size))]
    grid = [n if n * SMALLEST <= length else max(1, length // SMALLEST) for n, length in zip(finest, size, strict=True)]
    return Cells.of_grid(size, grid, boundary)


def table_of(given: Mapping[int, np.ndarray], cells: Cells, typical: Sequence[float]) -> np.ndarray:
    """Voxels of every phase in every cell, int64 (R, K): the integers that the fields imply, by largest remainder, with
    the totals of the whole exact too. Phases that are not named share the rest in the proportions of ``typical``.

    Raises:
        UsageError: the fractions add up to more than 1 somewhere, or to less with no phase left.
    """
    shape, number = cells.shape, len(typical)
    means = np.zeros((len(cells.sites), number))
    taken = np.zeros((1,) * len(shape))
    for index, values in given.items():
        spread = _at_voxels(values, shape)
        taken = taken + spread
        means[:, index] = _means(spread, cells)
    free = [k for k in range(number) if k not in given]
    if taken.max() > 1 + SLACK or (not free and taken.min() < 1 - SLACK):
        raise UsageError(
            f"the fields add up to between {taken.min():.4g} and {taken.max():.4g}; they must "
            + ("stay within 1 everywhere" if free else "be 1 everywhere, or leave a phase out")
        )
    if free:
        share = np.array([typical[k] for k in free], float)
        share = share / share.sum() if share.sum() > 0 else np.full(len(free), 1 / len(free))
        means[:, free] = np.maximum(1 - means.sum(1, keepdims=True), 0) * share
    means /= means.sum(1, keepdims=True)
    exact = means * cells.sites[:, None]
    whole = largest_remainder(exact.sum(0) / exact.sum(), int(cells.sites.sum()))
    return round_table(exact, cells.sites, whole)


def _at_voxels(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A map at the centres of the voxels; axes along which it is constant stay of length 1."""
    if values.ndim == 0:
        return values.reshape((1,) * len(shape))
    for axis, side in enumerate(shape):
        if values.shape[axis] > 1:
            at = ((np.arange(side) + 0.5) * values.shape[axis] / side).astype(int)
            values = np.take(values, at, axis)
    return values


def _means(values: np.ndarray, cells: Cells) -> np.ndarray:
    """Mean over every cell, (R,)."""
    for axis, edges in enumerate(cells.edges):
        if values.shape[axis] > 1:
            sums = np.add.reduceat(values, edges[:-1], axis)
            values = sums / np.diff(edges).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.broadcast_to(values, cells.grid).ravel()
