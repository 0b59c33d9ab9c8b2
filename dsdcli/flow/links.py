"""Which population meets which: neighbours, walls, mirrors and the other side of a periodic image."""

from dataclasses import dataclass

import numpy as np

from dsdcli.flow.lattice import Lattice


@dataclass(frozen=True)
class Links:
    """The exchange of populations along links, for N pore sites and Q velocities.

    ``partner``: int32 (Q * N,): the population that leaves site x with velocity i arrives at the place of its partner,
    turned round; a wall makes it its own partner. ``negative``: int64, the places where the sign changes on the way.
    The exchange undoes itself.
    """

    partner: np.ndarray
    negative: np.ndarray


def find_links(pores: np.ndarray, axis: int, periodic: bool) -> Links:
    """The exchange between the pore sites of an image.

    Walls lie half-way between pore and solid sites, and turn round what hits them. At the border the image goes on
    periodically, or as its mirror image. There the flow along ``axis`` mirrored at one of its ends is the flow of a
    reversed force, and with its sign changed the flow itself: the pressure at the two ends is constant and the
    liquid crosses them at right angles. At the other sides it slips along the mirror.

    Args:
        pores: bool (*L), 2D or 3D.
        axis: of the flow.
        periodic: whether the image goes on periodically.
    """
    lattice = Lattice(pores.ndim)
    sites = np.stack(np.nonzero(pores))
    count = sites.shape[1]
    number = np.full(pores.shape, -1, np.int32)
    number[pores] = np.arange(count, dtype=np.int32)
    partner = np.arange(len(lattice.velocities) * count, dtype=np.int32).reshape(-1, count)
    negative = np.zeros(partner.shape, bool)
    for place, velocity in enumerate(lattice.velocities):
        target, direction, sign = sites + velocity[:, None], np.repeat(velocity[:, None], count, axis=1), False
        for a, side in enumerate(pores.shape):
            if periodic:
                target[a] %= side
                continue
            outside = (target[a] < 0) | (target[a] >= side)
            target[a] = target[a].clip(0, side - 1)
            direction[a] = np.where(outside, -direction[a], direction[a])
            sign = outside if a == axis else sign
        there = number[tuple(target)]
        back = lattice.find(-direction.T)
        open_ = there >= 0
        partner[place, open_] = (back * count + there)[open_]
        negative[place] = open_ & sign
    return Links(partner.ravel(), np.flatnonzero(negative))
