"""Permeability from Stokes flow through the pores of a segmented image, by a lattice Boltzmann method.

Two relaxation times, half-way bounce-back at the walls, and only pore sites are kept (docs/guide/evaluate.md). The
steady state of the method is a linear system, which is solved as such instead of stepping towards it in time.
"""

from dataclasses import dataclass

import numpy as np

from dsdcli.errors import UsageError

_MILLIDARCY = 9.869233e-16  # m^2
ENDS = ("mirrored", "periodic")
MAGIC = 1 / 8  # the flux through a slit along an axis is exact however narrow it is; 3/16 makes exact the velocities
_CORRECTION = 2e-3  # of the permeability, in its own last correction; what stays is smaller
_RESIDUAL = 1e-3  # and of the residual: a correction may be small by chance
_PATIENCE = 200  # evaluations for each voxel of the longest side, after which the iteration is given up
_STALLED = 1e-6  # of the residual, where rounding ends what float32 can do


@dataclass(frozen=True)
class Flow:
    """``permeability`` along an axis, in voxel^2; NaN where the iteration did not converge.

    ``correction``: relative size of the last correction by which it was improved; ``residual``: of the linear system,
    relative to the force; ``steps``: how often all populations were streamed and collided.
    """

    permeability: float
    correction: float
    residual: float
    steps: int


def in_um2(permeability: float, voxel_um: float) -> float:
    """A permeability given in voxel^2, for voxels of ``voxel_um`` um."""
    return permeability * voxel_um**2


def in_millidarcy(permeability: float, voxel_um: float) -> float:
    """A permeability given in voxel^2, in mD for voxels of ``voxel_um`` um."""
    return in_um2(permeability, voxel_um) * 1e-12 / _MILLIDARCY


def permeability(
    pores: np.ndarray,
    axis: int,
    ends: str = "mirrored",
    device: str = "cpu",
    precision: str = "float32",
    magic: float = MAGIC,
) -> Flow:
    """Permeability of an image along one axis: k = viscosity * mean velocity / pressure gradient.

    The flow is driven by a uniform force, the same as a pressure drop between the ends. The mean velocity is taken over
    the whole image, walls and all. It is improved by the residual: the system is symmetric once every population is
    turned round, so that the error of the mean is of second order in that of the flow.

    Args:
        pores: bool (*L), True where the liquid is, 2D or 3D.
        axis: direction of the flow.
        ends: "mirrored" for images cut from something larger: constant pressure at the two ends, no flow across the
            other sides; "periodic" for images that go on periodically.
        device: "cpu" or a CUDA device.
        precision: "float32" or "float64"; they differ by less than the tolerance.
        magic: product of the two relaxation times, each less 1/2.

    Returns:
        zero permeability, at once, where no pore leads through.

    Raises:
        UsageError: no such ends, or an image that is not 2D or 3D.
    """
    if ends not in ENDS:
        raise UsageError(f"there are no ends '{ends}'; they are one of {', '.join(ENDS)}")
    if pores.ndim not in (2, 3):
        raise UsageError(f"flow is computed in images of two or three axes, not {pores.ndim}")
    from dsdcli.flow.clusters import endless_clusters, through_clusters

    conducting = (endless_clusters if ends == "periodic" else through_clusters)(pores, axis)
    if not conducting.any():
        return Flow(0.0, 0.0, 0.0, 0)
    return _solve(conducting, axis, ends == "periodic", device, precision, magic)


def _solve(pores: np.ndarray, axis: int, periodic: bool, device: str, precision: str, magic: float) -> Flow:
    import torch

    from dsdcli.flow.krylov import bicgstab
    from dsdcli.flow.lattice import VISCOSITY, Lattice
    from dsdcli.flow.links import find_links

    lattice = Lattice(pores.ndim)
    links = find_links(pores, axis, periodic)
    partner, negative = (torch.from_numpy(array).to(device) for array in (links.partner, links.negative))
    options = {"dtype": getattr(torch, precision), "device": device}
    collide = torch.tensor(lattice.collide_and_turn(magic), **options)
    momentum = torch.tensor(lattice.momentum(axis), **options)
    collided = torch.empty(len(momentum), int(pores.sum()), **options)
    arrived = torch.empty_like(collided)

    def exchange(populations: torch.Tensor, out: torch.Tensor) -> None:
        torch.index_select(populations.view(-1), 0, partner, out=out.view(-1))
        out.view(-1)[negative] *= -1

    def deviation_of_a_step(populations: torch.Tensor, out: torch.Tensor) -> None:
        torch.mm(collide, populations, out=collided)
        exchange(collided, out)
        torch.sub(populations, out, out=out)

    force = (-3 * momentum)[:, None].expand_as(collided).contiguous()  # turned round, of strength 1
    source = torch.empty_like(force)
    exchange(force, source)
    norm = float(source.norm())
    sites, limit = collided.shape[1], _PATIENCE * max(pores.shape)
    steps = 0
    for populations, residual in bicgstab(deviation_of_a_step, source):
        steps += 4
        left = float(residual.norm()) / norm
        exchange(residual, arrived)
        # Half of the force of this step belongs to the velocity; the correction is minus a third of <f, K f - r>.
        mean = (float((momentum @ populations).sum(dtype=torch.float64)) + sites / 2) / pores.size
        change = -float(torch.dot(populations.view(-1), arrived.view(-1))) / (3 * pores.size)
        relative = abs(change / mean) if mean else np.inf
        if (relative < _CORRECTION and left < _RESIDUAL) or left < _STALLED:
            return Flow(VISCOSITY * (mean + change), relative, left, steps)
        if steps > limit or not np.isfinite(left):
            return Flow(float("nan"), relative, left, steps)
    raise AssertionError("the iteration never ends by itself")
