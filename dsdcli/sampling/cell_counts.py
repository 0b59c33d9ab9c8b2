"""Counts of cells as a material has them, for samples larger than its images: every cell holds what some real block of
its sides holds, and which one, a Gaussian field decides that has the covariance of the blocks (method.md, section 13).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dsdcli.data.voxel import sides
from dsdcli.errors import DataError
from dsdcli.process.cells import Cells

_TILE = {2: (1024, 256), 3: (256, 64)}  # by dimension, what is taken together along an axis: voxels, at most blocks
_LEAST = 4  # blocks that a tile is wide at least, where the image is
_ITEMS = 24  # slices of a volume, or images of a stack, that are looked at
_BLOCKS = 20_000  # real blocks of each shape that are kept
_SLOW = 2  # half-waves along an axis up to which a wave varies nearly as the mean does
_LEVELS = 400  # of the quadrature over normal numbers
_JITTER = 1e-9
_RHOS = np.linspace(-1, 1, 81)


@dataclass(frozen=True, eq=False)
class BlockField:
    """What is known of the blocks of a material, and how the cells of a sample are drawn like them.

    Attributes:
        cells: those to draw.
        real: by the sides of a cell, voxels of every phase in real blocks, int64 (n, K).
        covariance: of the volume fractions of two blocks at every lag, float64 (K, K, *lags): an odd number of lags
            along each axis, in blocks, 0 in the middle; 0 beyond.
    """

    cells: Cells
    real: dict[tuple[int, ...], np.ndarray]
    covariance: np.ndarray

    @classmethod
    def of(cls, views: Sequence[np.ndarray], cells: Cells, phases: int) -> "BlockField":
        """Measure the blocks of images.

        Args:
            views: phase indices (N, *L) each: N images or slices. Those that hold fewer than two blocks along an axis
                are left out, and so are blocks with left-out voxels.
            cells: all of one side, but for the last along each axis.

        Raises:
            DataError: no image holds two blocks along each axis.
        """
        block = _block(cells)
        shapes = list(itertools.product(*(dict.fromkeys(np.diff(edges).tolist()) for edges in cells.edges)))
        real: dict[tuple[int, ...], list[np.ndarray]] = {shape: [] for shape in shapes}
        grids, voxels = [], 0
        for tile in _tiles(views, block):
            tables = _integrals(tile, phases)
            voxels += tile.size
            for shape in shapes:
                for corner in itertools.product(*(sorted({0, n // 2}) for n in shape)):
                    counts = _counts(tables, shape, corner)
                    whole = counts.sum(0) == math.prod(shape)
                    real[shape].append(counts[:, whole].T)
                    if shape == block:
                        grids.append((counts / math.prod(shape), whole))
        pooled = {shape: np.concatenate([*some, np.zeros((0, phases), np.int64)]) for shape, some in real.items()}
        if not grids or not all(map(len, pooled.values())):
            raise DataError(
                f"no image is wide enough to say how blocks of {sides(block)} vary: it must hold two of them along "
                "each axis; take a smaller `exact_in`"
            )
        few = {shape: some[:: -(-len(some) // _BLOCKS)] for shape, some in pooled.items()}
        sites = math.prod(block)
        return cls(cells, few, _covariance(grids, pooled[block].mean(0) / sites, voxels / sites))

    @property
    def torus(self) -> tuple[int, ...]:
        """The grid round which the field repeats: that of the cells, or so wide that no two see each other twice."""
        if self.cells.boundary == "periodic":
            return self.cells.grid
        return tuple(n + lags // 2 for n, lags in zip(self.cells.grid, self.covariance.shape[2:], strict=True))

    @property
    def memory(self) -> int:
        """Bytes that a draw takes."""
        return 64 * len(self.covariance) ** 2 * math.prod(self.torus)

    @property
    def clipped(self) -> float:
        """Share of the spectrum that was negative, and is left out: what no field can have."""
        return self._filter[1]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Voxels of every phase in every cell of a sample: int64 (R, K)."""
        from scipy.special import ndtr

        root, _ = self._filter
        axes = tuple(range(-len(self.torus), 0))
        white = np.fft.rfftn(rng.standard_normal((root.shape[-1], *self.torus)), axes=axes)
        field = np.fft.irfftn(np.einsum("...ab,b...->a...", root, white), self.torus, axes)
        rank = ndtr(field[(slice(None), *map(slice, self.cells.grid))])  # (K - 1, *grid)
        widths = np.meshgrid(*(np.diff(edges) for edges in self.cells.edges), indexing="ij")
        table = np.zeros((len(self.cells.sites), len(self.order)), np.int64)
        for shape, real in self.real.items():
            at = np.all([width == n for width, n in zip(widths, shape, strict=True)], axis=0)
            table[at.ravel()] = _at_ranks(real, self.order[:-1], rank[:, at])
        return table

    @cached_property
    def order(self) -> list[int]:
        """The phases, that which varies most first: a field draws each but the last, given those before."""
        return np.argsort(-self._whole.var(0), kind="stable").tolist()

    @property
    def _whole(self) -> np.ndarray:
        return self.real[_block(self.cells)]

    @cached_property
    def _filter(self) -> tuple[np.ndarray, float]:
        """What makes the Gaussian field of white noise, complex (*F, K, K), and the share of the spectrum that was
        negative (circulant embedding, Dietrich and Newsam 1997)."""
        lags, torus = self.covariance.shape[2:], self.torus
        normal = self._normal
        around = np.zeros((*normal.shape[:2], *torus))
        at = np.ix_(*((np.arange(lag) - lag // 2) % n for lag, n in zip(lags, torus, strict=True)))
        np.add.at(around, (slice(None), slice(None), *at), normal)
        spectrum = np.moveaxis(np.fft.rfftn(around, axes=tuple(range(2, around.ndim))), (0, 1), (-2, -1))
        value, vector = np.linalg.eigh((spectrum + spectrum.conj().swapaxes(-1, -2)) / 2)
        clipped = float(-value[value < 0].sum() / max(np.abs(value).sum(), _JITTER))
        kept = (vector * value.clip(0)[..., None, :]) @ vector.conj().swapaxes(-1, -2)
        root = (vector * np.sqrt(value.clip(0))[..., None, :]) @ vector.conj().swapaxes(-1, -2)
        # Each number is standard normal, given those before it. Frequencies of the last axis stand for two, but for the
        # first, and the last of an even number.
        twice = np.full(root.shape[len(torus) - 1], 2.0)
        twice[0] = 1.0
        if torus[-1] % 2 == 0:
            twice[-1] = 1.0
        together = (kept.real * twice[:, None, None]).reshape(-1, *kept.shape[-2:]).sum(0) / math.prod(torus)
        return np.linalg.inv(np.linalg.cholesky(together + _JITTER * np.eye(len(together)))) @ root, clipped

    @cached_property
    def _normal(self) -> np.ndarray:
        """Correlations of a Gaussian field whose values, replaced by those of real blocks of the same rank, have the
        covariance of the blocks (NORTA, Cario and Nelson 1997): (K - 1, K - 1, *lags)."""
        from scipy.special import ndtr, ndtri

        x = ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS)
        ranked = np.sort(self._whole[:, self.order[:-1]], axis=0).T.astype(float)  # (K - 1, n)
        ranked -= ranked.mean(1, keepdims=True)
        covariance = self.covariance[np.ix_(self.order[:-1], self.order[:-1])]
        values = np.stack([_at_rank(of_phase, ndtr(x)) for of_phase in ranked])  # (K, levels)
        # Mean of each phase in a block, where the number is x in another, by the correlation of the two: (rhos, K, x).
        ranks = (ndtr(rho * x[:, None] + math.sqrt(1 - rho**2) * x) for rho in _RHOS)
        given = np.array([[_at_rank(of_phase, rank).mean(1) for of_phase in ranked] for rank in ranks])
        got = np.einsum("rbx,ax->rab", given, values) / _LEVELS
        deviation, middle = values.std(1), tuple(n // 2 for n in covariance.shape[2:])
        strength = np.sqrt([covariance[(a, a, *middle)] for a in range(len(ranked))])
        normal = np.zeros_like(covariance)
        for a, b in itertools.product(range(len(ranked)), repeat=2):
            if deviation[a] and deviation[b]:
                wanted = covariance[a, b] * (deviation[a] * deviation[b] / strength[a] / strength[b])
                normal[a, b] = np.interp(wanted, got[:, a, b], _RHOS)
            elif a == b:  # a phase that is the same everywhere
                normal[(a, a, *middle)] = 1.0
        return normal


def _block(cells: Cells) -> tuple[int, ...]:
    """Sides of the first cell, which all have but the last along each axis."""
    return tuple(edges[1] for edges in cells.edges)


def _at_rank(ranked: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The value below which a share of the ranked ones lies."""
    return ranked[np.minimum((share * len(ranked)).astype(int), len(ranked) - 1)]


def _at_ranks(real: np.ndarray, phases: Sequence[int], rank: np.ndarray) -> np.ndarray:
    """Of real blocks (n, K) one for each column of ranks (J, m): the first is that among all by the first of the
    ``phases``, the next that by the next phase among those near it, and so on: (m, K)."""
    real = real[np.argsort(real[:, phases[0]], kind="stable")]
    at = np.minimum((rank[0] * len(real)).astype(int), len(real) - 1)
    if len(phases) == 1:
        return real[at]
    found = np.zeros((len(at), real.shape[1]), np.int64)
    groups = math.ceil(len(real) ** (1 / len(phases)))
    edges = np.arange(groups + 1) * len(real) // groups
    of = np.searchsorted(edges, at, side="right") - 1
    for group in np.unique(of):
        here = of == group
        found[here] = _at_ranks(real[edges[group] : edges[group + 1]], phases[1:], rank[1:, here])
    return found


def _tiles(views: Sequence[np.ndarray], block: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Parts (*L) of some of the images that hold two blocks along each axis."""
    voxels, blocks = _TILE[len(block)]
    for view in views:
        shape = view.shape[1:]
        if any(side < 2 * n for side, n in zip(shape, block, strict=True)):
            continue
        cuts = []
        for side, n in zip(shape, block, strict=True):
            parts = max(1, min(-(-side // min(blocks * n, max(_LEAST * n, voxels))), side // (2 * n)))
            cuts.append([slice(side * i // parts, side * (i + 1) // parts) for i in range(parts)])
        for item in view[:: -(-len(view) // _ITEMS)]:
            yield from (item[where] for where in itertools.product(*cuts))


def _integrals(tile: np.ndarray, phases: int) -> np.ndarray:
    """Voxels of every phase before each corner of a voxel: int32 or int64 (K, *L + 1)."""
    kind = np.int32 if tile.size < 2**31 else np.int64
    tables = np.zeros((phases, *(side + 1 for side in tile.shape)), kind)
    for phase, table in enumerate(tables):
        inner = table[(slice(1, None),) * tile.ndim]
        inner[...] = tile == phase
        for axis in range(tile.ndim):
            np.cumsum(inner, axis=axis, out=inner)
    return tables


def _counts(tables: np.ndarray, block: tuple[int, ...], corner: tuple[int, ...]) -> np.ndarray:
    """Voxels of every phase in the blocks of a grid that begins at ``corner``: int64 (K, *grid)."""
    edges = (np.arange(at, side, n) for at, side, n in zip(corner, tables.shape[1:], block, strict=True))
    counts = tables[np.ix_(np.arange(len(tables)), *edges)]
    for axis in range(1, counts.ndim):
        counts = np.diff(counts, axis=axis)
    return counts


def _covariance(grids: Sequence[tuple[np.ndarray, np.ndarray]], mean: np.ndarray, blocks: float) -> np.ndarray:
    """Covariance of the fractions of blocks at every lag, (K, K, *lags).

    Around the mean of the images themselves it is too low by the variance of this mean, which their slow cosines tell
    (compare `dsdcli.evaluation.representative`). From half the reach on it is tapered, since there few pairs are left.

    Args:
        grids: volume fractions of blocks (K, *grid), and which of them count (*grid).
        mean: over all blocks, (K,).
        blocks: how many fit into the images side by side.
    """
    from scipy.fft import dctn

    ndim, phases = grids[0][1].ndim, len(mean)
    reach = [max(whole.shape[axis] for _, whole in grids) // 2 for axis in range(ndim)]
    axes = tuple(range(-ndim, 0))
    lags = np.ix_(*(np.arange(-r, r + 1) for r in reach))
    pairs = np.zeros([2 * r + 1 for r in reach])
    products = np.zeros((phases, phases, *pairs.shape))
    slow, waves = np.zeros((phases, phases)), 0
    for fractions, whole in grids:
        field = (fractions - mean[(..., *(None,) * ndim)]) * whole
        size = [n + r for n, r in zip(whole.shape, reach, strict=True)]
        ahead, known = np.fft.rfftn(field, size, axes), np.fft.rfftn(whole.astype(float), size, axes)
        pairs += np.fft.irfftn(np.abs(known) ** 2, size, axes)[lags]
        for a, b in itertools.product(range(phases), repeat=2):
            products[a, b] += np.fft.irfftn(ahead[a].conj() * ahead[b], size, axes)[lags]
        low = dctn(field, axes=axes, norm="ortho")[(slice(None), *(slice(_SLOW + 1),) * ndim)]
        low = low.reshape(phases, -1)[:, 1:]
        slow += low @ low.T
        waves += low.shape[1]
    covariance = products / np.maximum(np.round(pairs), 1) + (slow / max(waves, 1) / blocks)[(..., *(None,) * ndim)]
    for axis, r in enumerate(reach, 2):
        away = np.abs(np.arange(-r, r + 1)) / (r + 1)
        taper = np.where(away <= 0.5, 1.0, np.cos(math.pi * (away - 0.5)) ** 2)
        covariance *= taper.reshape([-1 if a == axis else 1 for a in range(covariance.ndim)])
    return covariance
