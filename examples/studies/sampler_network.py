"""The network's part of `sampler_study.py`: samples by every variant, beside real crops."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from sampler_oracle import STEPS, TOLERANCES
from sampler_variants import (
    BinomialHops,
    Bridge,
    Drift,
    Euler,
    FallingEta,
    FixedSize,
    Midpoint,
    PoissonEuler,
    PoissonHops,
)
from shared import mean_vectors, print_table, samples, say, to_model, typical_totals

from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.statistics import Correlation
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.network.model import UndoNet
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.adaptive import Adaptive
from dsdcli.sampling.corrector import Corrector
from dsdcli.sampling.generate import Progress
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.tau_leaping import TauLeaping
from dsdcli.sampling.trapezoidal import Trapezoidal


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


class Bench:
    """A model, the counts that it is asked for, and what real crops of these counts measure."""

    def __init__(self, dataset: Dataset, model: str, n: int, seed: int, only: str) -> None:
        self.path, self.n, self.seed, self.only = find_model(model), n, seed, re.compile(only)
        self.model = load_model(self.path)
        config = self.model.config
        self.lattice = Lattice(config.size, config.boundary)
        self.names = [phase.name for phase in config.phases]
        self.subject = "pore" if "pore" in self.names else self.names[0]
        order = to_model(dataset, config)
        totals = typical_totals(config, self.lattice, 1)[0]
        like = np.repeat(np.argsort(order).astype(np.uint8), totals).reshape(1, *config.size).repeat(n, 0)
        self.real, self.train = (
            self._measured(order[matched_crops(dataset, split, like, repeats, np.random.default_rng(seed)).stack])
            for split, repeats in (("heldout", 2), ("train", 1))
        )

    def _measured(self, stack: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Mean two-point vector, interface per volume and clusters per image of the subject phase."""
        masks = (stack != self.names.index(self.subject)).astype(np.uint8)
        found = mean_vectors(masks, (self.subject, "rest"), ("two-point", "interface"))
        clusters = np.mean([scipy.ndimage.label(mask == 0)[1] for mask in masks])
        return found["two-point", self.subject], float(found["interface", f"{self.subject}|rest"][0]), float(clusters)

    def judge(self, name: str, found: tuple, evaluations: int, seconds: float, number: int) -> Result:
        error = float(Correlation().distance(found[0], self.real[0]))
        ratios = found[1] / self.real[1], found[2] / self.real[2]
        return Result(name, evaluations, error, *ratios, round(seconds, 1), number)

    def floor(self) -> Result:
        """What as many real crops of the training slab come to."""
        return self.judge("real crops (noise floor)", self.train, 0, 0.0, self.n)

    def run(self, name: str, sampler: Sampler, n: int | None = None, model: UndoNet | None = None) -> Result:
        """Sample as `dsd generate` does; evaluations are those of the batch that takes most."""
        totals = typical_totals(self.model.config, self.lattice, n or self.n)
        began, before, evaluations = time.perf_counter(), 0, 0

        def follow(state: Progress) -> None:
            nonlocal before, evaluations
            if state.evaluations % 500 == 0:
                say(f"{name}: {state.evaluations} evaluations, {time.perf_counter() - began:.0f} s")
            if state.finished:
                evaluations, before = max(evaluations, state.evaluations - before), state.evaluations

        stack = samples(model or self.model, totals, self.lattice, sampler, self.seed, on_progress=follow)
        seconds = time.perf_counter() - began
        result = self.judge(name, self._measured(stack), evaluations, seconds, len(stack))
        say(f"{name}: {evaluations} evaluations, {len(stack)} samples, {seconds:.0f} s")
        say(f"  two-point {result.two_point:.3f}, interface {result.interface:.3f}, clusters {result.clusters:.3f}")
        return result


def leaps(bench: Bench, n: int) -> list[Result]:
    """Everything that can be chosen about the leaps, at 2 n + 1 evaluations but for those of a tolerance."""
    variants: dict[str, Sampler] = {
        "default": Trapezoidal(n),
        "eta 0.05": Trapezoidal(n, eta=0.05),
        "eta 0.2": Trapezoidal(n, eta=0.2),
        "eta 1": Trapezoidal(n, eta=1.0),
        "eta 0.2 / (1 + s)": FallingEta(n, eta=0.2),
        "eta 1 / (1 + s)": FallingEta(n, eta=1.0),
        "rho 4": Trapezoidal(n, rho=4.0),
        "rho 20": Trapezoidal(n, rho=20.0),
        "linear grid": Trapezoidal(n, grid="linear"),
        "exponential grid": Trapezoidal(n, grid="exponential"),
        "cosine grid": Trapezoidal(n, grid="cosine"),
        "Poisson hops": PoissonHops(n),
        "binomial hops": BinomialHops(n),
        "one stage (Euler)": Euler(2 * n),
        "one stage (Euler), Poisson hops": PoissonEuler(2 * n),
        "midpoint": Midpoint(n),
        "drift 2 % stronger": Drift(n, factor=1.02),
        "drift 5 % stronger": Drift(n, factor=1.05),
        "bridge from predicted origins": Bridge(2 * n, model=bench.model),
        "corrector from dose 0.3": Corrector(n - n // 4, corrections=max(1, n // 4)),
        "corrector from dose 3": Corrector(n - n // 3, dose_up=3.0, corrections=max(1, n // 3)),
        **{f"tolerance {t:g}": Adaptive(t) for t in TOLERANCES},
    }
    return [bench.floor(), *(bench.run(name, how) for name, how in variants.items() if bench.only.search(name))]


def decoding(bench: Bench, quick: bool) -> list[Result]:
    """Where the leaps stop, and how the image is taken from the clean head."""
    n, default = 2 if quick else 31, Trapezoidal().dose_end
    found = [bench.run(f"dose_end {end:g}", Trapezoidal(n, dose_end=end)) for end in (0.015, 0.03, default, 0.12, 0.3)]
    if len(bench.names) == 2:
        drawn = FixedSize(bench.model.config).eval()
        drawn.load_state_dict(bench.model.state_dict())
        found.append(bench.run(f"dose_end {default:g}, random image of fixed size", Trapezoidal(n), model=drawn))
    return found


def curve(bench: Bench, quick: bool) -> list[Result]:
    """The default at 9 to 257 evaluations."""
    return [bench.floor(), *(bench.run(f"{n} leaps", Trapezoidal(n)) for n in STEPS[: 2 if quick else None])]


def tau_leaping(bench: Bench, bound: float, n: int) -> list[Result]:
    """The published sampler, and the default on as few samples."""
    return [
        bench.run("default", Trapezoidal(), n),
        bench.run(f"tau-leaping, bound {bound:g}", TauLeaping(bound, Trapezoidal().dose_end), n),
    ]


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
