"""The comparison as a table of text and as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dsdcli.evaluation.compare import Row
from dsdcli.evaluation.metrics import METRICS

COLUMNS = ("metric", "phase", "generated", "real", "unit", "distance", "floor", "ratio", "95 %", "verdict")
RIGHT = frozenset({"generated", "real", "distance", "floor", "ratio", "95 %"})


def cells(row: Row, axes: int, voxel_size: float | None, unit: str | None) -> tuple[str, ...]:
    """One row as text, in the order of `COLUMNS`; ``axes`` is the dimension of the images."""
    power = METRICS[row.metric].kind(axes).length
    factor = voxel_size**power if voxel_size else 1.0
    name = (unit if voxel_size else "voxel") or "?"
    return (
        row.metric,
        row.subject,
        _number(row.generated * factor),
        _number(row.real * factor),
        {0: "", 1: name, -1: f"1/{name}"}.get(power, f"{name}^{power}"),
        _percent(row.distance),
        _percent(row.floor),
        _ratio(row.ratio),
        f"{_ratio(row.low)} .. {_ratio(row.high)}" if not math.isnan(row.low) else "",
        row.verdict,
    )


def plain(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines, never cut, with a head line: for files, pipes and narrow terminals."""
    table = [COLUMNS, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(COLUMNS))]
    return [
        "  ".join(
            text.rjust(width) if name in RIGHT else text.ljust(width)
            for text, width, name in zip(row, widths, COLUMNS, strict=True)
        ).rstrip()
        for row in table
    ]


def as_json(row: Row) -> dict[str, Any]:
    """One row as JSON values; null for what does not exist, lengths in voxels."""
    values = {key: _finite(value) for key, value in asdict(row).items()}
    return values | {"verdict": row.verdict, "value": METRICS[row.metric].value}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinite"
    return value


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f} %"


def _ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
