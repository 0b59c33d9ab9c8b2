"""How representative images are, as tables and as a figure."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsdcli.evaluation.metrics import METRICS
from dsdcli.evaluation.representative import PhaseFraction
from dsdcli.evaluation.window_sizes import Spread
from dsdcli.view.plots import REAL, TRAIN, new_panels
from dsdcli.view.table import unit_name
from dsdcli.view.text import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def fraction_lines(
    found: Sequence[PhaseFraction], error: float, voxel_size: float | None, unit: str | None
) -> list[str]:
    """A table of what is known of each phase, and of the side that takes."""
    axes = len(found[0].lengths)
    head = ["phase", "fraction", "95 %", "volumes", "integral range", "95 %", f"side for {100 * error:g} %"]
    rows = []
    for about in found:
        if not about.volumes:
            rows.append([about.phase, f"{about.fraction:.4f}", *["-"] * 5])
            continue
        power = f"voxel^{axes}"
        rows.append(
            [
                about.phase,
                f"{about.fraction:.4f}",
                f"{about.low:.4f} .. {about.high:.4f}" if about.speaks else "too small to say",
                f"{about.volumes:.4g}",
                f"{about.integral_range:.4g} {power}",
                f"{about.integral_low:.3g} .. {about.integral_high:.3g}",
                _length(about.side_for(error), voxel_size, unit),
            ]
        )
    return table(head, rows, left=1)


def spread_lines(spreads: Sequence[Spread], axes: int, voxel_size: float | None, unit: str | None) -> list[str]:
    """A table of mean and spread against the size of windows, which have so many axes."""
    if not spreads:
        return []
    known = [_scaled(spread.metric, axes, voxel_size, unit) for spread in spreads]
    rows = [
        [
            spread.metric,
            spread.subject,
            str(spread.side),
            str(spread.windows),
            f"{spread.mean * factor:.4g}",
            f"{spread.deviation * factor:.3g}",
            "-" if math.isnan(spread.expected) else f"{spread.expected * factor:.3g}",
            name,
        ]
        for spread, (factor, name) in zip(spreads, known, strict=True)
    ]
    return table(["metric", "phase", "side", "windows", "mean", "deviation", "expected", "unit"], rows, left=2)


def crop_lines(size: Sequence[int], reach: int, needed: int, chosen: bool) -> list[str]:
    """Whether a training crop is large enough, as a sentence."""
    what = f"training crops of {'x'.join(map(str, size))}" + (" (the default)" if chosen else "")
    if min(size) >= needed:
        return [f"{what} are large enough: structure reaches {reach} voxels, and {needed} would do"]
    return [f"{what} are too small: structure reaches {reach} voxels or more, and crops should be {needed} wide"]


def save_figure(
    path: Path, found: Sequence[PhaseFraction], spreads: Sequence[Spread], voxel_size: float | None, unit: str | None
) -> None:
    """A panel for each property and phase: mean and spread against the size of windows; for fractions the interval of
    the material as well."""
    keys = list(dict.fromkeys((spread.metric, spread.subject) for spread in spreads))
    shown, _, figure = new_panels(len(keys))
    scale = voxel_size or 1.0
    about = {("volume-fraction", phase.phase): phase for phase in found}
    for axes, key in zip(shown, keys, strict=True):
        own = [spread for spread in spreads if (spread.metric, spread.subject) == key]
        factor, name = _scaled(key[0], len(found[0].lengths), voxel_size, unit)
        _panel(axes, own, scale, factor)
        if key in about and about[key].speaks:
            axes.axhspan(about[key].low, about[key].high, color=TRAIN, alpha=0.3, lw=0, label="material, 95 %")
        title = f"{METRICS[key[0]].title}: {key[1]}" + (f" ({name})" if name else "")
        axes.set_title(key[1] if key in about else title, fontsize=8)
        axes.set_xlabel(f"side of the window ({unit if voxel_size else 'voxels'})")
    shown[0].legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=120)


def _panel(axes: "Axes", own: Sequence[Spread], scale: float, factor: float) -> None:
    sides = [spread.side * scale for spread in own]
    means = [spread.mean * factor for spread in own]
    bars = [spread.deviation * factor for spread in own]
    axes.errorbar(sides, means, bars, color=REAL, fmt="o", ms=3, lw=1.2, capsize=2, label="windows, mean and deviation")
    if not math.isnan(own[0].expected):
        for sign in (-1, 1):
            law = [spread.mean * factor + sign * spread.expected for spread in own]
            axes.plot(sides, law, color=REAL, lw=0.8, ls=":", label="integral range" if sign > 0 else None)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sides, [f"{side:.4g}" for side in sides])


def _scaled(metric: str, axes: int, voxel_size: float | None, unit: str | None) -> tuple[float, str]:
    """What a number of a metric is multiplied with for its unit, and the unit."""
    power = METRICS[metric].kind(axes).length
    return (voxel_size or 1.0) ** power, unit_name(power, (unit if voxel_size else None) or "voxel")


def _length(side: float, voxel_size: float | None, unit: str | None) -> str:
    voxels = f"{math.ceil(side)} voxels"
    return voxels if not voxel_size else f"{voxels} = {math.ceil(side) * voxel_size:.4g} {unit}"
