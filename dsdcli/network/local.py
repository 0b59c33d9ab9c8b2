"""A network whose outputs depend on a bounded neighbourhood alone, for any dimension and for CPUs above all."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from dsdcli.network.config import Architecture

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}
CONDITION_WIDTH = 128
NARROW = 32  # features of a site, up to which products with a matrix standardise them faster on a GPU
EPSILON = 1e-5  # of their variance
SLAB_SITES = {"cpu": 2**16, "cuda": 2**22}  # of a block that are computed at a time: they stay in the cache


class Depthwise(torch.autograd.Function):
    """Convolution of every channel by itself; in 3D on a CPU its way back is several times as fast as PyTorch's own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _depthwise(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        axes = tuple(range(2, x.ndim))
        grad = grad.contiguous(memory_format=LAYOUT.get(len(axes), torch.contiguous_format))
        reach = weight.shape[-1] // 2
        wide = F.pad(x, (reach,) * 2 * len(axes))
        taps = []
        for offset in itertools.product(range(2 * reach + 1), repeat=len(axes)):
            seen = (slice(a, a + side) for a, side in zip(offset, x.shape[2:], strict=True))
            taps.append((wide[(slice(None), slice(None), *seen)] * grad).sum((0, *axes)))
        return (
            _depthwise(grad, weight.to(grad.dtype).flip(axes), None),  # autocast does not reach the way back
            torch.stack(taps, 1).view_as(weight).to(weight.dtype),
            grad.sum((0, *axes)).to(weight.dtype),
        )


def _depthwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pad: bool = True) -> torch.Tensor:
    """Convolution of every channel of (B, C, *L) by itself, with zeros around or none."""
    return CONVOLVE[x.ndim - 2](x, weight, bias, padding=weight.shape[-1] // 2 if pad else 0, groups=x.shape[1])


class Extent(Protocol):
    """How much of an image the features (B, rows, ..., C) are that blocks work on, along its first axis."""

    @property
    def periodic(self) -> bool: ...

    def each(self, work: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """What ``work`` makes of the features, which looks at rows of one place only."""
        ...

    def spans(self, x: torch.Tensor, training: bool) -> list[tuple[int, int]]:
        """Rows that are computed one after another."""
        ...

    def beyond(self, x: torch.Tensor, reach: int) -> Any:
        """What `around` needs to know of the rows that lie elsewhere."""
        ...

    def around(self, x: torch.Tensor, span: tuple[int, int], reach: int, beyond: Any) -> torch.Tensor | None:
        """The rows of a span with ``reach`` more on both sides; None where the span is the whole image."""
        ...


@dataclass(frozen=True)
class Whole:
    """All rows of an image."""

    periodic: bool

    def each(self, work: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return work(x)

    def spans(self, x: torch.Tensor, training: bool) -> list[tuple[int, int]]:
        return slabs(x, training)

    def beyond(self, x: torch.Tensor, reach: int) -> None:
        return None

    def around(self, x: torch.Tensor, span: tuple[int, int], reach: int, beyond: None) -> torch.Tensor | None:
        rows, (start, stop) = x.shape[1], span
        if stop - start == rows:
            return None
        if self.periodic:
            return x.index_select(1, torch.arange(start - reach, stop + reach, device=x.device) % rows)
        low, high = max(0, start - reach), min(rows, stop + reach)
        return F.pad(x[:, low:high], (0, 0) * (x.ndim - 2) + (low - start + reach, stop + reach - high))


class Block(nn.Module):
    """Residual block on (B, *L, C): a convolution of every channel by itself, then two layers at every site.

    Normalised over the channels of a site, so that nothing but the convolution looks beyond it; the condition scales
    and shifts. Of the kind of ConvNeXt (Liu et al. 2022): a tenth of the work of two full convolutions in 3D.
    """

    def __init__(self, ndim: int, channels: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.around = CONV[ndim](channels, channels, kernel, padding=kernel // 2, groups=channels)
        if ndim in LAYOUT:
            self.around.to(memory_format=LAYOUT[ndim])  # type: ignore[call-overload]  # unknown to torch's types
        self.film = nn.Linear(CONDITION_WIDTH, 2 * channels)
        self.widen = nn.Linear(channels, expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)

    def forward(
        self,
        x: torch.Tensor,
        condition: torch.Tensor,
        extent: Extent,
        then: Callable[[torch.Tensor], torch.Tensor] = lambda features: features,
    ) -> torch.Tensor:
        """Features of every site after the block, or what ``then`` makes of them."""
        result: torch.Tensor | None = None
        beyond = extent.beyond(x, self.around.kernel_size[0] // 2)
        for start, stop in extent.spans(x, self.training):
            part = then(self._changed(x, condition, extent, (start, stop), beyond))
            if part.shape[1] == x.shape[1]:
                return part
            if result is None:
                result = part.new_empty(*x.shape[:-1], part.shape[-1])
            result[:, start:stop] = part
        assert result is not None  # there are rows
        return result

    def _changed(
        self, x: torch.Tensor, condition: torch.Tensor, extent: Extent, span: tuple[int, int], beyond: Any
    ) -> torch.Tensor:
        """The rows of a span along the first axis after the block; those alone, so that a large volume takes little
        more memory than its features."""
        reach = self.around.kernel_size[0] // 2
        wider = extent.around(x, span, reach, beyond)
        part = wider is not None
        h = (x if wider is None else wider).movedim(-1, 1)
        if extent.periodic:
            for axis in range(3 if part else 2, h.ndim):
                side = h.shape[axis]
                h = h.index_select(axis, torch.arange(-reach, side + reach, device=h.device) % side)
            h = h.contiguous(memory_format=LAYOUT.get(h.ndim - 2, torch.contiguous_format))
            h = _depthwise(h, self.around.weight, self.around.bias, pad=False)
        elif part:
            h = _depthwise(h, self.around.weight, self.around.bias)[:, :, reach : reach + span[1] - span[0]]
        elif self.training and h.ndim == 5 and h.device.type == "cpu":
            h = Depthwise.apply(h, self.around.weight, self.around.bias)
        elif h.ndim == 5 and h.device.type == "cuda":  # ten times as fast there, channels first
            h = _depthwise(h.contiguous(), self.around.weight.flatten().view_as(self.around.weight), self.around.bias)
        else:
            h = self.around(h)
        scale, shift = self.film(condition)[(slice(None), *(None,) * (x.ndim - 2))].chunk(2, dim=-1)
        h = torch.addcmul(shift, standardised(h.movedim(1, -1)), 1 + scale)
        return plus_linear(x[:, span[0] : span[1]], F.silu(self.widen(h)), self.narrow)


class LocalNet(nn.Module):
    """Maps fields (B, inputs, *L) and a condition (B, K) to fields (B, outputs, *L); sides are multiples of
    ``architecture.multiple``.

    A trunk on blocks of voxels, coarser from level to level, between a stem and a head at full resolution. Zeros around
    the image show its end. The last layer starts at zero.
    """

    def __init__(self, ndim: int, inputs: int, outputs: int, condition: int, architecture: Architecture) -> None:
        super().__init__()
        channels, fine, patch = architecture.channels, architecture.fine, architecture.patch
        self.patch, fold, halve = patch, patch**ndim, 2**ndim

        def blocks(width: int) -> nn.ModuleList:
            made = (Block(ndim, width, architecture.kernel, architecture.expansion) for _ in range(architecture.blocks))
            return nn.ModuleList(made)

        self.condition = nn.Sequential(
            nn.Linear(condition, CONDITION_WIDTH), nn.SiLU(), nn.Linear(CONDITION_WIDTH, CONDITION_WIDTH), nn.SiLU()
        )
        self.stem = nn.Linear(inputs, fine)
        self.first = nn.Linear(inputs * fold, channels[0])
        self.down = nn.ModuleList(blocks(width) for width in channels)
        self.shrink = nn.ModuleList(nn.Linear(a * halve, b) for a, b in pairwise(channels))
        self.grow = nn.ModuleList(nn.Linear(b, a) for a, b in pairwise(channels))
        self.up = nn.ModuleList(blocks(width) for width in channels[:-1])
        self.unfold = nn.Linear(channels[0], fine * fold)
        self.head = Block(ndim, fine, architecture.kernel, architecture.expansion)
        self.last = nn.Linear(fine, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor, periodic: bool) -> torch.Tensor:
        """``x`` may lack the last of the inputs, which then count as zero and cost nothing."""
        return self.over(x, condition, Whole(periodic))

    def over(self, x: torch.Tensor, condition: torch.Tensor, extent: Extent) -> torch.Tensor:
        """As `forward`, of as much of an image as ``x`` is."""
        full = self.last.weight.dtype  # of what blocks add to, under autocast too: sums in bfloat16 lose their detail
        condition = self.condition(condition)
        x = x.movedim(1, -1)
        given = x.shape[-1]
        fold = self.patch ** (x.ndim - 2)
        stem = extent.each(lambda part: F.linear(part, self.stem.weight[:, :given], self.stem.bias).to(full), x)
        first = self.first.weight[:, : given * fold]
        x = extent.each(lambda part: F.linear(fold_last(part, self.patch), first, self.first.bias).to(full), x)
        skips = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]  # a list of modules
                x = block(x, condition, extent)
            if level < len(self.shrink):
                skips.append(x)
                x = extent.each(partial(self._shrunk, level), x).to(full)
        for level in reversed(range(len(self.up))):
            x = skips.pop() + extent.each(partial(self._grown, level), x)
            for block in self.up[level]:  # type: ignore[attr-defined]  # a list of modules
                x = block(x, condition, extent)
        for start, stop in extent.spans(x, self.training):
            stem[:, start * self.patch : stop * self.patch] += unfold_last(self.unfold(x[:, start:stop]), self.patch)
        return self.head(stem, condition, extent, lambda h: self.last(standardised(h))).movedim(-1, 1)

    def _shrunk(self, level: int, x: torch.Tensor) -> torch.Tensor:
        return self.shrink[level](fold_last(x, 2))

    def _grown(self, level: int, x: torch.Tensor) -> torch.Tensor:
        return spread(self.grow[level](x))


def plus_linear(x: torch.Tensor, h: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """Features (..., C) plus a layer of others. Without gradients, on CPUs, in the pass of the product itself, which
    spares two of memory."""
    if torch.is_grad_enabled() or x.device.type != "cpu" or h.dtype != x.dtype:
        return x + layer(h)
    width = x.shape[-1]
    added = torch.addmm(x.reshape(-1, width), h.reshape(-1, h.shape[-1]), layer.weight.T)
    return added.add_(layer.bias).view(x.shape)


def standardised(x: torch.Tensor) -> torch.Tensor:
    """Features (..., C) less their mean over C, over the root of their variance."""
    width = x.shape[-1]
    if x.device.type == "cuda" and width <= NARROW:  # there PyTorch's kernel has a block of threads for every site
        with torch.autocast("cuda", enabled=False):
            x, mean = x.float(), torch.full((width, width), 1 / width, device=x.device)
            x = x - x @ mean
            return x * torch.rsqrt(x.square() @ mean + EPSILON)
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON)


def slabs(x: torch.Tensor, whole: bool) -> list[tuple[int, int]]:
    """Spans of rows along the first axis of (B, *L, C) that are computed one after another, or all at once."""
    rows = x.shape[1]
    slab = rows if whole else max(1, SLAB_SITES[x.device.type] * rows // max(1, x.shape[:-1].numel()))
    return [(start, min(start + slab, rows)) for start in range(0, rows, slab)]


def fold_last(x: torch.Tensor, patch: int) -> torch.Tensor:
    """Move blocks of patch^d voxels into channels: (B, *L, C) -> (B, *(L / patch), C patch^d)."""
    ndim = x.ndim - 2
    split = [n for side in x.shape[1:-1] for n in (side // patch, patch)]
    x = x.reshape(len(x), *split, x.shape[-1])  # (B, L1, p, L2, p, ..., C)
    outer, inner = [1 + 2 * a for a in range(ndim)], [2 + 2 * a for a in range(ndim)]
    return x.permute(0, *outer, x.ndim - 1, *inner).flatten(1 + ndim)


def unfold_last(x: torch.Tensor, patch: int) -> torch.Tensor:
    """Inverse of `fold_last`."""
    ndim = x.ndim - 2
    coarse = x.shape[1:-1]
    x = x.reshape(len(x), *coarse, -1, *(patch,) * ndim)
    order = [n for a in range(ndim) for n in (1 + a, 2 + ndim + a)]
    return x.permute(0, *order, 1 + ndim).reshape(len(x), *(patch * side for side in coarse), -1)


def spread(x: torch.Tensor) -> torch.Tensor:
    """Every site of (B, *L, C) becomes a block of 2^d."""
    ndim = x.ndim - 2
    doubled = [n for side in x.shape[1:-1] for n in (side, 1)]
    wide = [n for side in x.shape[1:-1] for n in (side, 2)]
    x = x.reshape(len(x), *doubled, x.shape[-1]).expand(len(x), *wide, x.shape[-1])
    return x.reshape(len(x), *(wide[2 * a] * 2 for a in range(ndim)), x.shape[-1])
