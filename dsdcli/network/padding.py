"""Sides that a network takes: multiples of its coarsest blocks."""

import torch
import torch.nn.functional as F


def pad(field: torch.Tensor, multiple: int, periodic: bool) -> tuple[torch.Tensor, tuple[slice, ...], bool]:
    """Bring the sides of (B, C, *L) to multiples of ``multiple``.

    No-flux: zeros, which read as "no site here". Periodic: sides that already fit stay, and the net pads around the
    ring; otherwise every side grows by copies of the far side, at least two coarse cells wide, so that the sites that
    count see their true surroundings.

    Returns:
        the padded field, the slices that undo it, and whether the net must pad around the ring.
    """
    sides = field.shape[2:]
    over = [-side % multiple for side in sides]
    if not any(over):
        return field, (slice(None),) * len(sides), periodic
    if not periodic:
        padding = [n for extra in reversed(over) for n in (0, extra)]
        return F.pad(field, padding), tuple(slice(0, side) for side in sides), False
    crop = []
    for axis, (side, extra) in enumerate(zip(sides, over, strict=True)):
        before, after = 2 * multiple, 2 * multiple + extra
        index = torch.arange(-before, side + after, device=field.device) % side
        field = field.index_select(axis + 2, index)
        crop.append(slice(before, before + side))
    return field, tuple(crop), False
