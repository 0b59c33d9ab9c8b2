"""A small U-Net for any dimension, built for two CPU cores as much as for a GPU."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from dsdcli.network.config import Architecture

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Conv(nn.Module):
    """Convolution 3 sites wide that pads with zeros, or around the ring when the call says periodic."""

    def __init__(self, ndim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.ndim = ndim
        self.conv = CONV[ndim](inputs, outputs, 3, padding=1)

    def forward(self, x: torch.Tensor, periodic: bool) -> torch.Tensor:
        if not periodic:
            return self.conv(x)
        for axis in range(2, x.ndim):  # unlike F.pad, this keeps the memory layout
            x = torch.cat([x.narrow(axis, x.shape[axis] - 1, 1), x, x.narrow(axis, 0, 1)], dim=axis)
        return CONVOLVE[self.ndim](x, self.conv.weight, self.conv.bias)


class Block(nn.Module):
    """Residual block: two convolutions, the second modulated by the condition (scale and shift per channel)."""

    def __init__(self, ndim: int, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inputs)
        self.conv1 = Conv(ndim, inputs, outputs)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.film = nn.Linear(condition, 2 * outputs)
        self.conv2 = Conv(ndim, outputs, outputs)
        self.skip = CONV[ndim](inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor, condition: torch.Tensor, periodic: bool) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)), periodic)
        scale, shift = self.film(condition)[(..., *(None,) * (x.ndim - 2))].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h), periodic)


def fold_patches(x: torch.Tensor, patch: int) -> torch.Tensor:
    """Move blocks of patch^d voxels into channels: (B, C, *L) -> (B, C patch^d, *(L / patch))."""
    ndim = x.ndim - 2
    split = [n for side in x.shape[2:] for n in (side // patch, patch)]
    x = x.reshape(*x.shape[:2], *split)  # (B, C, L1, p, L2, p, ...)
    inner = [3 + 2 * a for a in range(ndim)]
    outer = [2 + 2 * a for a in range(ndim)]
    return x.permute(0, 1, *inner, *outer).flatten(1, 1 + ndim)


def unfold_patches(x: torch.Tensor, patch: int) -> torch.Tensor:
    """Inverse of `fold_patches`."""
    ndim = x.ndim - 2
    coarse = x.shape[2:]
    x = x.reshape(x.shape[0], -1, *(patch,) * ndim, *coarse)
    order = [n for a in range(ndim) for n in (2 + ndim + a, 2 + a)]
    return x.permute(0, 1, *order).reshape(x.shape[0], -1, *(patch * side for side in coarse))


class UNet(nn.Module):
    """Maps fields (B, inputs, *L) and a condition (B, K) to fields (B, outputs, *L); sides are multiples of
    ``architecture.multiple``. No attention: an output depends on its surroundings and, through the normalisation, on
    moments of the whole image, so that a net that has seen crops of a few sizes serves any. The last layer starts at
    zero."""

    def __init__(self, ndim: int, inputs: int, outputs: int, condition: int, architecture: Architecture) -> None:
        super().__init__()
        channels, blocks, self.patch = architecture.channels, architecture.blocks, architecture.patch
        fold = self.patch**ndim
        width = 4 * channels[0]
        self.condition = nn.Sequential(nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.first = Conv(ndim, inputs * fold, channels[0])
        self.down = nn.ModuleList(nn.ModuleList(Block(ndim, c, c, width) for _ in range(blocks)) for c in channels)
        self.shrink = nn.ModuleList(CONV[ndim](a, b, 2, stride=2) for a, b in pairwise(channels))
        self.grow = nn.ModuleList(CONV[ndim](b, a, 1) for a, b in pairwise(channels))
        self.up = nn.ModuleList(
            nn.ModuleList(Block(ndim, c if i else 2 * c, c, width) for i in range(blocks + 1)) for c in channels[:-1]
        )
        self.norm = nn.GroupNorm(8, channels[0])
        self.last = Conv(ndim, channels[0], outputs * fold)
        nn.init.zeros_(self.last.conv.weight)
        nn.init.zeros_(self.last.conv.bias)  # type: ignore[arg-type]  # it has one
        if ndim == 2:  # faster on CPUs (docs/studies/speed.md); in 3D it makes no difference
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to torch's types

    def forward(self, x: torch.Tensor, condition: torch.Tensor, periodic: bool) -> torch.Tensor:
        condition = self.condition(condition)
        x = self.first(fold_patches(x, self.patch), periodic)
        skips = []
        for level, level_blocks in enumerate(self.down):
            for block in level_blocks:  # type: ignore[attr-defined]  # a list of modules
                x = block(x, condition, periodic)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.grow[level](x), scale_factor=2, mode="nearest")
            x = torch.cat([x, skips[level]], dim=1)
            for block in self.up[level]:  # type: ignore[attr-defined]  # a list of modules
                x = block(x, condition, periodic)
        return unfold_patches(self.last(F.silu(self.norm(x)), periodic), self.patch)
