"""Gates: the largest ratios that a comparison may show."""

import math
from collections.abc import Mapping

from dsdcli.errors import UsageError
from dsdcli.evaluation.evaluate import Evaluation

_PASSED = ("indistinguishable", "novel", "diverse")  # whatever the ratio: it is more than a limit only by chance


def check_gates(gates: Mapping[str, float], chosen: tuple[str, ...]) -> None:
    for name, limit in gates.items():
        if name != "all" and name not in chosen:
            raise UsageError(f"`gates={name}`: this metric is not computed; there are all, {', '.join(chosen)}")
        if not limit > 0:
            raise UsageError(f"`gates={name}={limit:g}`: a ratio is larger than 0")


def failed_gates(gates: Mapping[str, float], found: Evaluation) -> tuple[str, ...]:
    limits = [(row, gates.get(row.metric, gates.get("all", math.inf))) for row in found.rows]
    missed = (
        f"{row.metric} {row.subject} {row.verdict}"
        for row, at in limits
        if row.verdict == "unmatched" and at < math.inf
    )
    high = (
        f"{row.metric} {row.subject} {row.ratio:.2f} > {limit:g}"
        for row, limit in limits
        if row.ratio > limit and row.verdict not in (*_PASSED, "unmatched")
    )
    return (*missed, *high)
