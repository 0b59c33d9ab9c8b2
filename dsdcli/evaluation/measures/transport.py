"""Connectivity and diffusion through one phase: percolating fraction, relative diffusivity, tortuosity factor."""

import contextlib
import sys

import numpy as np

_TOLERANCE = 1e-5  # of the residual; the error of the diffusivity is of the order of its square
_CONVERGED = 1e-3  # of taufactor: relative spread of the flux through the layers


def relative_diffusivity(through: np.ndarray, axis: int, device: str = "cpu") -> float:
    """D_eff / D_0 along ``axis`` for steady diffusion in a phase, no flux into the others and across the sides.

    Finite volumes with the concentration fixed on the two end faces, as taufactor's ``Solver`` does it, but solved as a
    sparse linear system: directly in 2D, by conjugate gradients in 3D. The diffusivity is taken from the dissipation,
    which is stationary at the solution.

    Args:
        through: bool (*L), from `dsdcli.flow.clusters.through_clusters`.
        axis: direction of the flux.
        device: "cpu", or a CUDA device, on which taufactor solves to about 1e-4.

    Returns:
        0 if nothing connects the faces, NaN if the solver did not converge; phi / D is the tortuosity factor.
    """
    if not through.any():
        return 0.0
    through = np.moveaxis(through, axis, 0)
    return _sparse(through) if device == "cpu" else taufactor_diffusivity(through, device)


def taufactor_diffusivity(through: np.ndarray, device: str) -> float:
    """`relative_diffusivity` along the first axis by ``taufactor.Solver``; NaN if it did not converge.

    What taufactor prints goes to stderr.
    """
    import taufactor

    image = through.astype(np.uint8)
    with contextlib.redirect_stdout(sys.stderr):
        solver = taufactor.Solver(image, device=device)
        solver.solve(verbose=False, conv_crit=_CONVERGED)
    return float(np.squeeze(solver.D_eff)) if solver.converged else np.nan


def _sparse(through: np.ndarray) -> float:
    from scipy import sparse
    from scipy.sparse import linalg

    number = np.full(through.shape, -1, np.int32)
    number[through] = np.arange(through.sum(), dtype=np.int32)
    bonds = [_bonds(number, a) for a in range(through.ndim)]
    here, there = (np.concatenate(ends) for ends in zip(*bonds, strict=True))
    inlet, outlet = number[0][through[0]], number[-1][through[-1]]
    n = int(through.sum())
    # Half a voxel lies between a face and the first centres: conductance 2. Concentration 1 at the inlet, 0 behind.
    diagonal = np.bincount(here, minlength=n) + np.bincount(there, minlength=n).astype(float)
    source = np.zeros(n)
    source[inlet] = 2
    diagonal[inlet] += 2
    diagonal[outlet] += 2
    everyone = np.arange(n, dtype=np.int32)
    rows, columns = np.concatenate([here, there, everyone]), np.concatenate([there, here, everyone])
    values = np.concatenate([np.full(2 * len(here), -1.0), diagonal])
    matrix = sparse.csr_array((values, (rows, columns)), shape=(n, n))
    if through.ndim == 2:
        solution = linalg.spsolve(matrix.tocsc(), source)
    else:
        linear = 1 - (np.nonzero(through)[0] + 0.5) / len(through)
        jacobi = sparse.diags_array(1 / diagonal)
        limit = 100 * max(number.shape)
        solution, failed = linalg.cg(matrix, source, x0=linear, rtol=_TOLERANCE, maxiter=limit, M=jacobi)
        if failed:
            return np.nan
    dissipation = solution @ (matrix @ solution) - 2 * (source @ solution) + source.sum()
    return float(dissipation * len(through) / through[0].size)


def _bonds(number: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of neighbours along ``axis`` that both carry a number."""
    moved = np.moveaxis(number, axis, 0)
    here, there = moved[:-1].ravel(), moved[1:].ravel()
    both = (here >= 0) & (there >= 0)
    return here[both], there[both]


def permeability_estimate(diffusivity: float, phi: float, surface: float, ndim: int) -> float:
    """Kozeny-Carman: k = (D_eff/D_0) (phi/S)^2 / c in voxel^2, c = 2 in 3D (tubes), 3 in 2D (slits).

    Exact for straight tubes and slits, an estimate for anything else: nothing here solves for a flow.

    Args:
        diffusivity: D_eff / D_0 along the flow.
        phi: volume fraction of the phase.
        surface: its interface per volume, 1/voxel.
        ndim: dimension of the image.

    Returns:
        0 if nothing connects the faces, NaN if nothing bounds the flow.
    """
    if not diffusivity:
        return 0.0
    return diffusivity * (phi / surface) ** 2 / (3 if ndim == 2 else 2) if surface else np.nan
