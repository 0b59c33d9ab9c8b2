"""The comparison as a table of text and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dsdcli.data.voxel import convert, sides
from dsdcli.evaluation.compare import Row
from dsdcli.evaluation.metrics import METRICS
from dsdcli.flow.permeability import in_millidarcy, in_um2

if TYPE_CHECKING:
    from dsdcli.evaluation.evaluate import Evaluation
    from dsdcli.evaluation.novelty import Novelty

COLUMNS = ("metric", "phase", "generated", "real", "unit", "distance", "floor", "ratio", "95 %", "verdict")
RIGHT = frozenset({"generated", "real", "distance", "floor", "ratio", "95 %"})
COLOURS = {
    "indistinguishable": "green",
    "novel": "green",
    "diverse": "green",
    "close": "yellow",
    "closer than real": "yellow",
    "less than real": "yellow",
    "off": "red",
    "unmatched": "red",
    "memorised": "red",
    "repetitive": "red",
}


def cells(row: Row, axes: int, voxel_size: float | None, unit: str | None) -> tuple[str, ...]:
    """One row as text, in the order of `COLUMNS`; ``axes`` is the dimension of the images."""
    power = METRICS[row.metric].kind(axes).length
    factor = voxel_size**power if voxel_size else 1.0
    name = (unit if voxel_size else None) or "voxel"
    return (
        row.metric,
        row.subject,
        _number(row.generated * factor),
        _number(row.real * factor),
        unit_name(power, name),
        _percent(row.distance),
        _percent(row.floor),
        _ratio(row.ratio),
        "" if math.isnan(row.low) else f"{_ratio(row.low)} .. {_ratio(row.high)}",
        row.verdict,
    )


def unit_name(power: int, unit: str) -> str:
    """A power of a unit of length in letters: "", "um", "1/um^2"."""
    raised = unit if abs(power) == 1 else f"{unit}^{abs(power)}"
    return "" if power == 0 else raised if power > 0 else f"1/{raised}"


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


def print_rich(rows: Sequence[Sequence[str]]) -> None:
    """The table on a terminal, in colours; without frame and colours on one too narrow for it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    lines = plain(rows)
    if console.width < max(map(len, lines)) + 2 * len(COLUMNS):
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in RIGHT else "left", no_wrap=True)
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        styled = [*map(Text, row[:-1]), Text(row[-1], style=COLOURS.get(row[-1], ""))]
        table.add_row(*styled, end_section=after is not None and after[0] != row[0])
    console.print(table)


def summary(found: "Evaluation") -> str:
    """What was compared with what, in one line."""
    size = sides(found.size)
    text = f"{found.samples} samples of {size} against {found.real_crops} crops of the held-out part"
    if found.residual_heldout is not None:
        likeness = f"the most similar {found.alike} there are" if found.warnings else f"like {found.alike}"
        text += f" of {likeness} (they differ by {found.residual_heldout:.4f} on average)"
    return f"{text}; floor: as many training crops as samples"


def novelty_lines(found: "Evaluation") -> list[str]:
    """What the counts of copies and twins say, as sentences."""
    lines = []
    if (memory := found.memorisation) is not None:
        lines.append(
            f"memorisation: {memory.counted} of {len(memory.distances)} samples lie less than half as far from the "
            f"training images as like held-out crops do (by chance: {memory.expected:.1f})"
        )
    if (variety := found.diversity) is not None:
        lines.append(
            f"diversity: {variety.counted} of {found.samples} samples have a near twin (real crops: "
            f"{variety.expected:.0f})"
        )
    return lines


def permeability_lines(found: "Evaluation", voxel_size: float | None, unit: str | None) -> list[str]:
    """The permeabilities in um^2 and mD, where the voxel size is known."""
    if not voxel_size or not unit:
        return []
    micrometres = convert(voxel_size, unit, "um")
    lines = []
    for row in found.rows:
        if row.metric == "permeability":
            ours, theirs = (
                f"{in_um2(value, micrometres):.4g} um^2 = {in_millidarcy(value, micrometres):.4g} mD"
                for value in (row.generated, row.real)
            )
            lines.append(f"permeability {row.subject}: generated {ours}, real {theirs}")
    return lines


def as_json(found: "Evaluation", context: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison as JSON values: null for what does not exist; lengths in voxels, whatever the voxel size."""
    return {
        **context,
        "samples": found.samples,
        "size": list(found.size),
        "largest_lag": min(found.size) // 2,
        "real_crops": found.real_crops,
        "matching_residual": {"heldout": found.residual_heldout, "train": found.residual_train},
        "remarks": found.remarks,
        "warnings": found.warnings,
        "volume_fractions": [asdict(fractions) for fractions in found.fractions],
        "memorisation": _novelty(found.memorisation),
        "diversity": _novelty(found.diversity),
        "permeability": permeability_lines(found, context.get("voxel_size"), context.get("voxel_unit")),
        "metrics": [
            {key: _finite(value) for key, value in asdict(row).items()} | {"value": METRICS[row.metric].value}
            for row in found.rows
        ],
    }


def _novelty(novelty: "Novelty | None") -> dict[str, Any] | None:
    if novelty is None:
        return None
    return {
        "verdict": novelty.row.verdict,
        "counted": novelty.counted,
        "expected": novelty.expected,
        "closest_sample": novelty.pair[0],
        "least": float(novelty.distances.min()),
        "typical": novelty.row.generated,
        "typical_real": novelty.row.real,
    }


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
