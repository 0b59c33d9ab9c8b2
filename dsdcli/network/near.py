"""A second look beside what is known: a small network at full resolution, which corrects what the first one says there.

A voxel beside a known one nearly always has its phase, and where an interface ends at what is known, it goes on. Such
places are few beside all voxels of all doses, and a network that works on blocks of voxels learns them too faintly: it
lets many interfaces that reach the last known layer end there. This one sees single voxels, is trained on such places
alone once the weights are finished (`dsdcli.training.near`), and changes nothing further away (method.md, section 8).
"""

import torch
from torch import nn

from dsdcli.network.local import CONDITION_WIDTH, Block, Whole, standardised
from dsdcli.process.image import within

WIDTH = 32
BLOCKS = 3
KERNEL = 3
EXPANSION = 2
REACH = BLOCKS * (KERNEL // 2)  # voxels along every axis, in which known and unknown ones must lie for a correction


class Near(nn.Module):
    """Corrects the outputs (B, O, *L) of a network beside known voxels. The last layer starts at zero.

    Args:
        ndim: of the images.
        inputs: channels that say what is known, and what the network saw besides.
        outputs: O.
        condition: numbers that the network was told.
    """

    def __init__(self, ndim: int, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.condition = nn.Sequential(nn.Linear(condition, CONDITION_WIDTH), nn.SiLU())
        self.stem = nn.Linear(inputs + outputs, WIDTH)
        self.blocks = nn.ModuleList(Block(ndim, WIDTH, KERNEL, EXPANSION) for _ in range(BLOCKS))
        self.last = nn.Linear(WIDTH, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self, out: torch.Tensor, known: torch.Tensor, seen: torch.Tensor, condition: torch.Tensor, periodic: bool
    ) -> torch.Tensor:
        """
        Args:
            out: of the network, (B, O, *L).
            known: True for the phase that a voxel is known to have, bool (B, K, *L).
            seen: by the network besides, (B, inputs - K, *L).
            condition: what it was told, (B, condition).
            periodic: whether an image goes on at its other side.

        Returns:
            (B, O, *L), float32; as it was but for sites within `REACH` of a known one and of one that is not.
        """
        somewhere = known.any(1, keepdim=True)
        rim = within(somewhere, REACH, periodic) & within(~somewhere, REACH, periodic)
        if not rim.any():
            return out
        part = _surroundings(rim, periodic)
        full = self.last.weight.dtype
        told = self.condition(condition)
        x = torch.cat([known[part].to(out.dtype), seen[part], out[part]], dim=1).movedim(1, -1)
        x = self.stem(x).to(full)
        for block in self.blocks:
            x = block(x, told, Whole(periodic))
        change = self.last(standardised(x)).movedim(-1, 1).float() * rim[part]
        result = out.clone()
        result[part] += change
        return result


def _surroundings(rim: torch.Tensor, periodic: bool) -> tuple[slice, ...]:
    """The box of all sites that matter for a correction at some sites (B, 1, *L): all of a periodic image."""
    box = [slice(None)] * 2
    if periodic:
        return (slice(None),) * rim.ndim
    for axis in range(2, rim.ndim):
        where = rim.movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0]
        box.append(slice(max(0, int(where[0]) - REACH), int(where[-1]) + REACH + 1))
    return tuple(box)
