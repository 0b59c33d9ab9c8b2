"""The oracle of `sampler_study.py`: particles driven by exact rates must reproduce a known density."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from sampler_variants import BinomialHops, Euler, FallingEta, Midpoint, PoissonEuler, PoissonHops, same
from shared import print_table, say

from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import scatter
from dsdcli.sampling.adaptive import Adaptive
from dsdcli.sampling.corrector import Corrector
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.tau_leaping import TauLeaping
from dsdcli.sampling.trapezoidal import Trapezoidal

SIDE = 64
STEPS = (4, 8, 16, 31, 64, 128)  # leaps of two evaluations
TOLERANCES = (0.3, 0.1, 0.05, 0.02, 0.01)
DOSE_END = Trapezoidal().dose_end


def comb() -> torch.Tensor:
    """A density on 64 sites with blocks, a narrow one, teeth and a little everywhere."""
    density = torch.full((SIDE,), 0.02, dtype=torch.float64)
    density[5:12] = density[20:22] = density[50:58] = 1.0
    density[30:45:2] = 0.7
    return density / density.sum()


def oracle_error(sampler: Sampler, particles: int, dose_max: float) -> tuple[int, float]:
    """Evaluations, and total variation between where the particles end and the exact density there."""
    lattice, p0 = Lattice((SIDE,)), comb()

    def at(dose: torch.Tensor) -> torch.Tensor:
        return axis_kernel(SIDE, "noflux", dose) @ p0  # (B, N)

    def exact(counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        p = at(dose)
        h = dose[:, None, None] * torch.stack([p.roll(-1, 1) / p, p.roll(1, 1) / p], dim=1)
        return (h * lattice.open_bonds())[:, None]  # (B, 1, 2, N)

    generators = [torch.Generator().manual_seed(0)]
    walkers = scatter(torch.tensor([[particles]]), lattice, generators, at(same(dose_max, generators))[None])
    evaluations = 0
    for state in sampler.walk(walkers, 1, exact, lattice, dose_max, generators):
        walkers = state
        evaluations += 1
    found = walkers.occupancy(lattice, 1, 1).flatten() / particles
    return evaluations, 0.5 * (found - at(same(DOSE_END, generators))[0]).abs().sum().item()


def noise_floor(particles: int) -> float:
    """Expected total variation of that many particles drawn from the exact density."""
    p = axis_kernel(SIDE, "noflux", torch.tensor([DOSE_END], dtype=torch.float64))[0] @ comb()
    return (0.5 * (2 / math.pi * p * (1 - p) / particles).sqrt().sum()).item()


def oracle(quick: bool) -> dict:
    """Total variation of every variant at 8 to 256 evaluations, and of tolerances and tau-leaping."""
    particles, steps, bounds = (2_000, STEPS[:2], (1.0,)) if quick else (100_000, STEPS, (1.0, 0.5))
    dose_max = 10.0 if quick else Lattice((SIDE,)).mixing_dose()
    variants: dict[str, Callable[..., Sampler]] = {
        "default (eta 0, rho 7, rounded hops, trapezoidal)": Trapezoidal,
        "eta 0.05": partial(Trapezoidal, eta=0.05),
        "eta 1": partial(Trapezoidal, eta=1.0),
        "eta 1 / (1 + s)": partial(FallingEta, eta=1.0),
        "rho 4": partial(Trapezoidal, rho=4.0),
        "rho 20": partial(Trapezoidal, rho=20.0),
        "linear grid": partial(Trapezoidal, grid="linear"),
        "exponential grid": partial(Trapezoidal, grid="exponential"),
        "cosine grid": partial(Trapezoidal, grid="cosine"),
        "Poisson hops": PoissonHops,
        "binomial hops": BinomialHops,
        "one stage (Euler)": Euler,
        "one stage (Euler), Poisson hops": PoissonEuler,
        "midpoint": Midpoint,
        "corrector from dose 0.3": lambda steps: Corrector(steps - steps // 4, corrections=steps // 4),
    }
    rows = {}
    for name, make in variants.items():
        say(f"oracle: {name}")
        single = 2 if "Euler" in name else 1  # so that all have the same evaluations
        rows[name] = [oracle_error(make(steps=single * n), particles, dose_max) for n in steps]
    for tolerance in TOLERANCES[: 1 if quick else None]:
        say(f"oracle: tolerance {tolerance:g}")
        rows[f"tolerance {tolerance:g}"] = [oracle_error(Adaptive(tolerance), particles, dose_max)]
    for bound in bounds:
        say(f"oracle: tau-leaping, bound {bound}")
        rows[f"tau-leaping, bound {bound:g}"] = [oracle_error(TauLeaping(bound, DOSE_END), particles, dose_max)]
    return {"rows": rows, "floor": noise_floor(particles), "particles": particles}


def print_oracle(found: dict) -> None:
    rows = {name: row for name, row in found["rows"].items() if len(row) > 1}
    evaluations = [n for n, _ in next(iter(rows.values()))]
    print(f"\nOracle, {found['particles']} particles, noise floor {found['floor']:.4f}: total variation\n")
    print_table(
        ["evaluations", *map(str, evaluations)],
        [[name, *(f"{error:.4f}" for _, error in row)] for name, row in rows.items()],
    )
    print()
    default = np.log(next(iter(rows.values())))  # (points, 2)
    default[:, 1] = np.minimum.accumulate(default[:, 1])  # what is left at the floor is noise
    single = [(name, *row[0]) for name, row in found["rows"].items() if len(row) == 1]
    # From the smallest error to the largest; beyond the ends of the curve their evaluations count.
    equal = [math.exp(np.interp(math.log(error), default[::-1, 1], default[::-1, 0])) for _, _, error in single]
    print_table(
        ["", "evaluations", "total variation", "evaluations of the default for that", "ratio"],
        [
            [name, f"{n}", f"{error:.4f}", f"{fewer:.0f}", f"{n / fewer:.{0 if n > 10 * fewer else 2}f}"]
            for (name, n, error), fewer in zip(single, equal, strict=True)
        ],
    )
