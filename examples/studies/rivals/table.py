"""The samples of all methods, scored and laid out as a Markdown table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.evaluation.evaluate import Evaluation

METRICS = ("two-point", "interface", "pore-size", "percolation")
COLUMNS = (
    "two-point error",
    "interface, share of real",
    "pore-size error",
    "percolating share",
    "sampling, s",
    "training, min",
    "evaluations",
    "changed for the count",
    "dsd at equal error, s",
)


@dataclass(frozen=True)
class Method:
    """Samples (n, *L) of one method, and what they cost; ``changed``: share of the voxels moved to meet the counts."""

    name: str
    stack: np.ndarray
    seconds: float
    changed: float = 0.0
    minutes: str = "0"
    evaluations: float = 0
    rival: bool = True


@dataclass(frozen=True)
class Scores:
    """Of an ensemble against matched real crops, one number for each phase or pair of phases.

    ``interface`` is relative to the real one, ``percolating`` the share of a phase that connects opposite faces, mean
    of the axes; the errors are the relative distances of `dsdcli.evaluation`.
    """

    two_point: np.ndarray
    interface: np.ndarray
    pore_size: np.ndarray
    percolating: np.ndarray

    @classmethod
    def of(cls, found: Evaluation, values: dict[str, str]) -> "Scores":
        """From the named field of the rows of each metric."""
        two_point, interface, pore_size, through = (
            np.array([getattr(row, values[metric]) for row in found.rows if row.metric == metric]) for metric in METRICS
        )
        return cls(two_point, interface, pore_size, through.reshape(-1, len(found.size)).mean(1))


def scores(found: Evaluation) -> Scores:
    """Of the samples."""
    made = Scores.of(found, dict(zip(METRICS, ("distance", "generated", "distance", "generated"), strict=True)))
    real = Scores.of(found, dict(zip(METRICS, ("distance", "real", "distance", "real"), strict=True)))
    return Scores(made.two_point, made.interface / real.interface, made.pore_size, made.percolating)


def floor(found: Evaluation) -> Scores:
    """What real crops of the training part score, the share of the held-out ones that percolates being the real one."""
    return Scores.of(found, dict(zip(METRICS, ("floor", "floor", "floor", "real"), strict=True)))


def quality(score: Scores, interface: str = "") -> tuple[str, ...]:
    """The first cells of a line."""
    return (
        slashed(100 * score.two_point) + " %",
        interface + slashed(score.interface, 2),
        slashed(100 * score.pore_size) + " %",
        slashed(score.percolating, 3),
    )


def cost(method: Method) -> tuple[str, ...]:
    """The other cells of a line."""
    changed = f"{100 * method.changed:.2g} %"
    return (f"{method.seconds:.3g}", method.minutes, f"{method.evaluations:.4g}", changed)


def equal(score: Scores, found: Sequence[tuple[Method, Scores]]) -> str:
    """Seconds of the fastest row of dsd that is nowhere further from the data than these scores; "-" if none is."""
    worst = errors(score)
    fast = [m.seconds for m, s in found if not m.rival and all(a <= b for a, b in zip(errors(s), worst, strict=True))]
    return f"{min(fast):.3g}" if fast else "-"


def errors(score: Scores) -> tuple[float, float, float]:
    """Of the two-point correlation, the interface and the pore size, means of the phases or pairs."""
    return float(score.two_point.mean()), float(np.abs(score.interface - 1).mean()), float(score.pore_size.mean())


def slashed(values: Sequence[float], digits: int = 1) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def losses(found: Sequence[tuple[Method, Scores]], real: Scores) -> list[str]:
    """In what each rival is better than the first method, one line a rival."""

    def judged(method: Method, score: Scores) -> dict[str, float]:
        return {
            **dict(zip(("two-point error", "interface", "pore-size error"), errors(score), strict=True)),
            "percolating share": float(np.abs(score.percolating - real.percolating).mean()),
            "sampling time": method.seconds,
            "voxels changed for the count": method.changed,
        }

    ours = judged(*found[0])
    lines = []
    for method, score in found:
        better = [name for name, value in judged(method, score).items() if value < ours[name]]
        if method.rival:
            lines.append(f"- {method.name} beats {found[0][0].name} in: {', '.join(better) or 'nothing'}")
    return lines
