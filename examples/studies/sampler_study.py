"""Is there a better way back? The sampler beside its variants, and beside the published tau-leaping.

    python examples/studies/sampler_study.py                                (the oracle: exact rates, no network)
    python examples/studies/sampler_study.py berea.dsd.h5 -o sampling.png   (and the network, against real crops)
    python examples/studies/sampler_study.py berea.dsd.h5 --part leaps -n 256

Prints a Markdown table for each part: `oracle`, `leaps` (rates, doses, hops, stages, bridge, corrector), `decoding`,
`curve` (error against evaluations) and `cfl` (tau-leaping, the slowest). The picture is drawn from these tables; those
of parts that are not run again are taken from the file .json beside it. Samples have the voxel counts of the training
fractions, and are compared with held-out crops of like fractions.
"""

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.metrics import measure
from dsdcli.evaluation.statistics import Correlation
from dsdcli.files import atomic, write_json
from dsdcli.network.catalogue import find_model
from dsdcli.pipeline.job import Job, make_totals
from dsdcli.process.dose import dose_grid
from dsdcli.process.image import assign
from dsdcli.process.kernel import axis_kernel
from dsdcli.process.lattice import Lattice
from dsdcli.process.prior import slow_waves
from dsdcli.process.walk import Particles, diffuse, leap, scatter
from dsdcli.sampling.blocks import InBlocks
from dsdcli.sampling.generate import START, TIE_BREAK, sample_seed
from dsdcli.sampling.rates import Rates, at_particles
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.tau_leaping import TauLeaping
from dsdcli.sampling.trapezoidal import Trapezoidal

PARTS = ("oracle", "leaps", "decoding", "curve", "cfl")
STEPS = (4, 8, 16, 31, 64, 128)  # leaps of two evaluations
DOSE_END = Trapezoidal().dose_end
BATCH = 64
TRIES = 64  # of the bridge to find where a particle came from

# (particles, phases, undo, clean, lattice, dose_max, generators) -> the particles after every evaluation
Walk = Callable[..., Iterator[Particles]]
# (probabilities (K, S), totals (K,), random numbers) -> phase of every site (S,)
Decoder = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Leaps:
    """The reverse walk with every choice open; as it stands it is `dsdcli.sampling.trapezoidal.Trapezoidal.walk`.

    Attributes:
        steps: leaps, of two evaluations, or of one where ``stages`` is "euler".
        eta: share of balanced hops at a dose.
        stages: "trapezoidal", "midpoint" or "euler".
        hops: "rounded", "poisson" or "binomial" directed hops.
        drift: factor on the mean number of directed hops.
        corrector: dose to which the particles diffuse again at the end, and the leaps that bring them back.
    """

    steps: int = 31
    eta: Callable[[float], float] = lambda dose: 0.0
    rho: float = 7.0
    dose_end: float = DOSE_END
    stages: str = "trapezoidal"
    hops: str = "rounded"
    drift: float = 1.0
    corrector: tuple[float, int] | None = None

    def __call__(
        self,
        particles: Particles,
        phases: int,
        undo: Rates,
        clean: Rates,
        lattice: Lattice,
        dose_max: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        bonds = lattice.open_bonds(particles.site.device)

        def rates(at: Particles, s: float) -> tuple[torch.Tensor, torch.Tensor]:
            h = undo(at.occupancy(lattice, len(generators), phases), doses(s, generators), lattice)
            directed = at_particles(torch.relu(h - s) * bonds, at, lattice)
            return self.drift * directed, at_particles(self.eta(s) * h.clamp_max(s), at, lattice)

        def move(at: Particles, directed: torch.Tensor, balanced: torch.Tensor, length: float) -> Particles:
            """Leap over ``length`` of log-dose."""
            directed, balanced = directed * length, balanced * length
            if self.hops == "poisson":
                return leap(at, torch.zeros_like(directed), directed + balanced, lattice, generators)
            if self.hops == "binomial":  # a whole number of hops to undo, each of which falls into the leap or not
                share = torch.tensor(1 - math.exp(-length), dtype=directed.dtype)
                whole = torch.floor(directed / share + uniform(directed, generators[0]))
                directed = torch.binomial(whole, share.expand_as(whole).contiguous(), generator=generators[0])
            return leap(at, directed, balanced, lattice, generators)

        grid = dose_grid(self.steps, dose_max, self.dose_end, self.rho)
        legs = [grid]
        if self.corrector:
            legs.append(dose_grid(self.corrector[1], self.corrector[0], self.dose_end, self.rho))
        for leg in legs:
            if leg is not grid:
                back = doses(leg[0] - self.dose_end, generators)
                particles = diffuse(particles, back, lattice, generators[0])
            for now, then in pairwise(leg):
                length = math.log(now / then)
                first, balanced = rates(particles, now)
                if self.stages == "euler":
                    particles = move(particles, first, balanced, length)
                    yield particles
                    continue
                half = move(particles, first, balanced, length / 2)
                yield half
                second, balanced = rates(half, math.sqrt(now * then))
                if self.stages == "midpoint":
                    particles = move(particles, second, balanced, length)
                else:
                    particles = move(half, torch.relu(2 * second - first), balanced, length / 2)
                yield particles


def bridge(
    particles: Particles,
    phases: int,
    undo: Rates,
    clean: Rates,
    lattice: Lattice,
    dose_max: float,
    generators: Sequence[torch.Generator],
    steps: int,
    carried: tuple[int, ...],
) -> Iterator[Particles]:
    """Guess where each particle came from, then undo the hops that fall into the step: the exact bridge.

    An origin is drawn from the kernel times the clean image, by rejection: the walk is symmetric, so that a forward
    draw from the particle proposes an origin together with the hops that lead there. Of these each falls into the step
    from s to s' with probability 1 - s'/s. One evaluation a step.
    """
    g = generators[0]
    still = torch.zeros(len(particles), lattice.directions)
    for now, then in pairwise(dose_grid(steps, dose_max, DOSE_END)):
        occupied = particles.occupancy(lattice, len(generators), phases)
        there = clean(occupied, doses(now, generators), lattice)[:, list(carried), None]  # (B, C, 1, *L)
        path, searching = still.clone(), torch.ones(len(particles), 1, dtype=torch.bool)
        for _ in range(TRIES):
            hops = torch.poisson(torch.full_like(still, now), generator=g)
            origin = leap(particles, hops, still, lattice, generators)
            found = searching & (uniform(searching, g) < at_particles(there, origin, lattice))
            path, searching = torch.where(found, hops, path), searching & ~found
            if not searching.any():
                break
        undone = torch.binomial(path, torch.full_like(path, 1 - then / now), generator=g)
        particles = leap(particles, undone, still, lattice, generators)
        yield particles


def shipped(
    particles: Particles,
    phases: int,
    undo: Rates,
    clean: Rates,
    lattice: Lattice,
    dose_max: float,
    generators: Sequence[torch.Generator],
    settings: Sampler,
) -> Iterator[Particles]:
    """The samplers of the library."""
    return settings.walk(particles, phases, undo, lattice, dose_max, generators)


def doses(dose: float, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """The same dose for every image."""
    return torch.full((len(generators),), dose, dtype=torch.float64)


def uniform(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(like.shape, generator=generator)


# --- the oracle ---------------------------------------------------------------------------------------------------

SIDE = 64


def comb() -> torch.Tensor:
    """A density on 64 sites with blocks, a narrow one, teeth and a little everywhere."""
    density = torch.full((SIDE,), 0.02, dtype=torch.float64)
    density[5:12] = density[20:22] = density[50:58] = 1.0
    density[30:45:2] = 0.7
    return density / density.sum()


def oracle_error(walk: Walk, particles: int, dose_max: float) -> tuple[int, float]:
    """Evaluations, and total variation between where the particles end and the exact density there."""
    lattice, p0 = Lattice((SIDE,)), comb()

    def at(dose: torch.Tensor) -> torch.Tensor:
        return axis_kernel(SIDE, "noflux", dose) @ p0  # (B, N)

    def exact(counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
        p = at(dose)
        h = dose[:, None, None] * torch.stack([p.roll(-1, 1) / p, p.roll(1, 1) / p], dim=1)
        return (h * lattice.open_bonds())[:, None]  # (B, 1, 2, N)

    generators = [torch.Generator().manual_seed(0)]
    walkers = scatter(torch.tensor([[particles]]), lattice, generators, at(doses(dose_max, generators))[None])
    evaluations = 0
    for state in walk(walkers, 1, exact, exact, lattice, dose_max, generators):
        walkers = state
        evaluations += 1
    found = walkers.occupancy(lattice, 1, 1).flatten() / particles
    return evaluations, 0.5 * (found - at(doses(DOSE_END, generators))[0]).abs().sum().item()


def noise_floor(particles: int) -> float:
    """Expected total variation of that many particles drawn from the exact density."""
    p = axis_kernel(SIDE, "noflux", doses(DOSE_END, [None]))[0] @ comb()
    return (0.5 * (2 / math.pi * p * (1 - p) / particles).sqrt().sum()).item()


def oracle(quick: bool) -> dict:
    """Total variation of every variant at 8 to 256 evaluations, and of tau-leaping."""
    particles, steps, bounds = (2_000, STEPS[:2], (1.0,)) if quick else (100_000, STEPS, (1.0, 0.5))
    dose_max = 10.0 if quick else Lattice((SIDE,)).mixing_dose()
    variants = {
        "default (eta 0, rho 7, rounded hops, trapezoidal)": Leaps,
        "eta 0.05": partial(Leaps, eta=lambda s: 0.05),
        "eta 1": partial(Leaps, eta=lambda s: 1.0),
        "eta 1 / (1 + s)": partial(Leaps, eta=lambda s: 1 / (1 + s)),
        "rho 4": partial(Leaps, rho=4.0),
        "rho 20": partial(Leaps, rho=20.0),
        "Poisson hops": partial(Leaps, hops="poisson"),
        "binomial hops": partial(Leaps, hops="binomial"),
        "one stage (Euler)": partial(Leaps, stages="euler"),
        "one stage (Euler), Poisson hops": partial(Leaps, stages="euler", hops="poisson"),
        "midpoint": partial(Leaps, stages="midpoint"),
    }
    rows = {}
    for name, make in variants.items():
        say(f"oracle: {name}")
        single = 2 if "Euler" in name else 1  # so that all have the same evaluations
        rows[name] = [oracle_error(make(steps=single * n), particles, dose_max) for n in steps]
    for bound in bounds:
        say(f"oracle: tau-leaping, bound {bound}")
        walk = partial(shipped, settings=TauLeaping(bound, DOSE_END))
        rows[f"tau-leaping, bound {bound:g}"] = [oracle_error(walk, particles, dose_max)]
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
            [name, f"{n}", f"{error:.4f}", f"{fewer:.0f}", f"{n / fewer:.0f}"]
            for (name, n, error), fewer in zip(single, equal, strict=True)
        ],
    )


# --- the trained network ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """How near the samples of one variant come to real crops: relative to these, whose own value is 1 (error: 0)."""

    name: str
    evaluations: int
    two_point: float
    interface: float
    clusters: float
    seconds: float
    samples: int


def most_probable(probability: np.ndarray, totals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the library decodes to."""
    return assign(probability + TIE_BREAK * rng.random(probability.shape), totals)


class Bench:
    """A model, the counts that it is asked for, and what real crops of these counts measure."""

    def __init__(self, dataset: Dataset, model: str, n: int, seed: int, only: str) -> None:
        self.job = Job.prepare(find_model(model), None, None, Trapezoidal(), seed, BATCH, torch.device("cpu"))
        config = self.job.model.config
        self.n, self.only = n, re.compile(only)
        self.names = [phase.name for phase in config.phases]
        self.subject = "pore" if "pore" in self.names else self.names[0]
        order = [[p.name for p in dataset.phases].index(name) for name in self.names]
        totals = make_totals(self.job, 1, {}, {}, None)[0]
        like = np.repeat(np.array(order, np.uint8), totals).reshape(1, *self.job.lattice.shape).repeat(n, 0)
        self.real, self.train = (
            self._vectors(matched_crops(dataset, split, like, repeats, np.random.default_rng(seed)).stack, order)
            for split, repeats in (("heldout", 2), ("train", 1))
        )

    def _vectors(self, stack: np.ndarray, order: Sequence[int] | None = None) -> tuple[np.ndarray, float, float]:
        """Mean two-point vector, interface per volume and clusters per image of the subject phase."""
        index = self.names.index(self.subject)
        if order is not None:  # the dataset's phase indices
            index = order[index]
        masks = [(image != index).astype(np.uint8) for image in stack]
        found = [measure(mask, (self.subject, "rest"), ("two-point", "interface")) for mask in masks]
        two_point, interface = (
            np.mean([f[key] for f in found], axis=0)
            for key in (("two-point", self.subject), ("interface", f"{self.subject}|rest"))
        )
        return two_point, float(interface[0]), float(np.mean([scipy.ndimage.label(mask == 0)[1] for mask in masks]))

    def judge(self, name: str, found: tuple, evaluations: int, seconds: float, samples: int) -> Result:
        error = float(Correlation().distance(found[0], self.real[0]))
        ratios = found[1] / self.real[1], found[2] / self.real[2]
        return Result(name, evaluations, error, *ratios, round(seconds, 1), samples)

    def floor(self) -> Result:
        """What as many real crops of the training slab come to."""
        return self.judge("real crops (noise floor)", self.train, 0, 0.0, self.n)

    def run(
        self, name: str, walk: Walk, dose_end: float = DOSE_END, decoder: Decoder = most_probable, n: int | None = None
    ) -> Result:
        """Sample as `dsdcli.sampling.generate.generate` does, with any walk and any decoder."""
        model, lattice, n = self.job.model, self.job.lattice, n or self.n
        config = model.config
        totals = make_totals(self.job, n, {}, {}, None)
        spectrum, high = torch.tensor(config.integral_range, dtype=torch.float64), START * config.dose_max
        began, stack, evaluations = time.perf_counter(), [], 0
        for start in range(0, n, BATCH):
            wanted = totals[start : start + BATCH]
            undo, clean = InBlocks(model.undo, start), InBlocks(model.clean, start)
            seeds = [sample_seed(self.job.seed, start + i) for i in range(len(wanted))]
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            counts = torch.from_numpy(wanted[:, config.carried])
            waves = slow_waves(counts / lattice.sites, spectrum, high, lattice, generators)
            walkers = scatter(counts, lattice, generators, waves)
            count = 1  # the decoding
            for state in walk(walkers, model.phases, undo, clean, lattice, high, generators):
                walkers = state
                count += 1
                if count % 500 == 0:
                    say(f"{name}: {count} evaluations, {time.perf_counter() - began:.0f} s")
            occupied = walkers.occupancy(lattice, len(wanted), model.phases)
            probability = clean(occupied, doses(dose_end, generators), lattice).flatten(2).numpy()
            rng = np.random.default_rng(seeds[0])
            for image, total in zip(probability, wanted, strict=True):
                stack.append(decoder(image, total, rng).reshape(lattice.shape))
            evaluations = max(evaluations, count)
        seconds = time.perf_counter() - began
        result = self.judge(name, self._vectors(np.stack(stack)), evaluations, seconds, n)
        say(f"{name}: {evaluations} evaluations, {n} samples, {seconds:.0f} s")
        say(f"  two-point {result.two_point:.3f}, interface {result.interface:.3f}, clusters {result.clusters:.3f}")
        return result


def draw_fixed_size(probability: np.ndarray, totals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random two-phase image with the wanted totals instead of the most probable one: systematic sampling.

    The logits are shifted until the probabilities add up to the total; laid end to end in random order, those that a
    comb of unit spacing meets are taken, so that each site is taken with just its probability.
    """
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    odds = logit(np.clip(probability[0], 1e-9, 1 - 1e-9))
    shift = brentq(lambda x: expit(odds + x).sum() - totals[0], -50, 50)
    order = rng.permutation(len(odds))
    reach = np.cumsum(expit(odds + shift)[order])
    taken = np.diff(np.floor(reach * totals[0] / reach[-1] + rng.random()), prepend=0) > 0
    image = np.ones(len(odds), np.int64)
    image[order[taken]] = 0
    return image


def leaps(bench: Bench, quick: bool) -> list[Result]:
    """Everything that can be chosen about the leaps, at 63 evaluations."""
    n = 2 if quick else 31
    carried = bench.job.model.config.carried
    variants: dict[str, Walk] = {
        "default": partial(shipped, settings=Trapezoidal(steps=n)),
        "eta 0.05": Leaps(n, eta=lambda s: 0.05),
        "eta 0.2": Leaps(n, eta=lambda s: 0.2),
        "eta 1": Leaps(n, eta=lambda s: 1.0),
        "eta 0.2 / (1 + s)": Leaps(n, eta=lambda s: 0.2 / (1 + s)),
        "eta 1 / (1 + s)": Leaps(n, eta=lambda s: 1 / (1 + s)),
        "rho 4": Leaps(n, rho=4.0),
        "rho 20": Leaps(n, rho=20.0),
        "Poisson hops": Leaps(n, hops="poisson"),
        "binomial hops": Leaps(n, hops="binomial"),
        "one stage (Euler)": Leaps(2 * n, stages="euler"),
        "one stage (Euler), Poisson hops": Leaps(2 * n, stages="euler", hops="poisson"),
        "midpoint": Leaps(n, stages="midpoint"),
        "drift 2 % stronger": Leaps(n, drift=1.02),
        "drift 5 % stronger": Leaps(n, drift=1.05),
        "bridge from predicted origins": partial(bridge, steps=2 * n, carried=carried),
        "corrector from dose 0.3": Leaps(n - n // 4, corrector=(0.3, max(1, n // 4))),
        "corrector from dose 3": Leaps(n - n // 3, corrector=(3.0, max(1, n // 3))),
    }
    return [bench.floor(), *(bench.run(name, walk) for name, walk in variants.items() if bench.only.search(name))]


def decoding(bench: Bench, quick: bool) -> list[Result]:
    """Where the leaps stop, and how the image is taken from the clean head."""
    n = 2 if quick else 31
    found = [
        bench.run(f"dose_end {end:g}", partial(shipped, settings=Trapezoidal(steps=n, dose_end=end)), end)
        for end in (0.015, 0.03, DOSE_END, 0.12, 0.3)
    ]
    if len(bench.names) == 2:
        walk = partial(shipped, settings=Trapezoidal(steps=n))
        found.append(bench.run(f"dose_end {DOSE_END:g}, random image of fixed size", walk, decoder=draw_fixed_size))
    return found


def curve(bench: Bench, quick: bool) -> list[Result]:
    """The default at 9 to 257 evaluations."""
    runs = [(f"{n} leaps", partial(shipped, settings=Trapezoidal(steps=n))) for n in STEPS[: 2 if quick else None]]
    return [bench.floor(), *(bench.run(name, walk) for name, walk in runs)]


def tau_leaping(bench: Bench, bound: float, n: int) -> list[Result]:
    """The published sampler, and the default on as few samples."""
    how = TauLeaping(bound, DOSE_END)
    return [
        bench.run("default", partial(shipped, settings=Trapezoidal()), n=n),
        bench.run(f"tau-leaping, bound {bound:g}", partial(shipped, settings=how), n=n),
    ]


# --- tables and the picture ---------------------------------------------------------------------------------------


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")


def print_results(title: str, results: Sequence[dict]) -> None:
    print(f"\n{title}, {results[-1]['samples']} samples\n")
    head = ["", "evaluations", "two-point error", "interface / real", "clusters / real", "seconds"]
    print_table(
        head,
        [
            [
                r["name"],
                f"{r['evaluations']}" if r["evaluations"] else "",
                f"{100 * r['two_point']:.1f} %",
                f"{r['interface']:.3f}",
                f"{r['clusters']:.2f}",
                f"{r['seconds']:.0f}" if r["evaluations"] else "",
            ]
            for r in results
        ],
    )


def print_ratio(found: dict) -> None:
    """With how few evaluations the default comes as near to real crops as tau-leaping does."""
    tau, points = found["cfl"][-1], found["curve"][1:]
    print()
    for key, real, what in (("two_point", 0, "two-point error"), ("interface", 1, "interface length")):
        enough = [p["evaluations"] for p in points if abs(p[key] - real) <= abs(tau[key] - real)]
        least = f"{min(enough)}: {tau['evaluations'] / min(enough):.0f} times fewer" if enough else "none of these"
        print(f"{what} as near as that of {tau['evaluations']} evaluations of tau-leaping: {least}")


def draw(found: dict, out: Path) -> None:
    """Error against evaluations: the oracle, and the network where a dataset was given."""
    from matplotlib.figure import Figure

    panels = [part for part in ("oracle", "curve") if part in found]
    if not panels:
        return
    figure = Figure(figsize=(4.2 * (len(panels) + ("curve" in panels)), 3.4), layout="constrained")
    grid = list(figure.subplots(1, len(panels) + ("curve" in panels), squeeze=False)[0])
    if "oracle" in found:
        axes, rows = grid.pop(0), found["oracle"]["rows"]
        styles = {"default": "o-", "eta 1": "s:", "one stage (Euler), Poisson hops": "^:", "midpoint": "v:"}
        for start, style in styles.items():
            name = next(name for name in rows if name == start or name.startswith(start + " ("))
            axes.plot(*zip(*rows[name], strict=True), style, ms=4, lw=1, label=name.partition(" (eta")[0])
        points = [point for name, row in rows.items() if name.startswith("tau-leaping") for point in row]
        axes.plot(*zip(*points, strict=True), "kD--", ms=5, lw=1, label="tau-leaping")
        axes.axhline(found["oracle"]["floor"], color="0.7", lw=1, label="noise floor")
        axes.set(xscale="log", yscale="log", title="oracle", ylabel="total variation")
    if "curve" in found:
        for axes, key, title, real in (
            (grid[0], "two_point", "two-point error", None),
            (grid[1], "interface", "interface length / real", 1.0),
        ):
            floor, *results = found["curve"]
            axes.plot([r["evaluations"] for r in results], [r[key] for r in results], "o-", ms=4, lw=1, label="default")
            for r in found.get("cfl", [])[1:]:
                axes.plot(r["evaluations"], r[key], "kD", ms=5, label=f"tau-leaping, {r['samples']} samples")
            axes.axhline(floor[key], color="0.7", lw=1, label="real crops")
            if real is not None:
                axes.axhline(real, color="0.9", lw=1, zorder=0)
            axes.set(xscale="log", title=title)
    for axes in figure.axes:
        axes.set_xlabel("network evaluations")
        axes.legend(fontsize=7, frameon=False)
    with atomic(out) as temporary:
        figure.savefig(temporary, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", type=Path, help="real images; without them the oracle alone")
    parser.add_argument("--model", default="berea-2d", help="name or path (default berea-2d)")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable (default: all)")
    parser.add_argument("--only", default="", metavar="REGEX", help="variants of the part `leaps` (default: all)")
    parser.add_argument("-n", type=int, default=64, help="samples of each variant (default 64)")
    parser.add_argument("--cfl-samples", type=int, default=8, help="samples of tau-leaping (default 8)")
    parser.add_argument(
        "--bound", type=float, default=TauLeaping().bound, help="largest hop probability of tau-leaping"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few samples and leaps: does it run?")
    parser.add_argument("-o", "--out", type=Path, default=Path("sampling.png"), help="picture (default sampling.png)")
    options = parser.parse_args()
    if options.quick:
        options.n, options.cfl_samples, options.bound = 2, 2, 1.0
    parts = options.part or PARTS[: None if options.dataset else 1]
    if options.dataset is None and parts != PARTS[:1] and parts != ["oracle"]:
        parser.error("only the oracle goes without a dataset")
    began, kept = time.perf_counter(), options.out.with_suffix(".json")
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    if "oracle" in parts:
        found["oracle"] = oracle(options.quick)
        print_oracle(found["oracle"])
    if options.dataset is not None:
        bench = Bench(Dataset.open(options.dataset), options.model, options.n, options.seed, options.only)
        runs = {
            "leaps": partial(leaps, bench, options.quick),
            "decoding": partial(decoding, bench, options.quick),
            "curve": partial(curve, bench, options.quick),
            "cfl": partial(tau_leaping, bench, options.bound, options.cfl_samples),
        }
        for part in parts:
            if part in runs:
                found[part] = [asdict(result) for result in runs[part]()]
                print_results(f"{part}: {Path(options.model).name}", found[part])
        if "curve" in found and "cfl" in found:
            print_ratio(found)
    write_json(kept, found)
    draw(found, options.out)
    print(f"\n{options.out}, {time.perf_counter() - began:.0f} s on {torch.get_num_threads()} CPU threads")


if __name__ == "__main__":
    main()
