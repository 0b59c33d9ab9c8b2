"""Curves and distributions of the report, as SVG."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsdcli.evaluation.compare import mean_vector, resampling_weights
from dsdcli.evaluation.evaluate import Evaluation
from dsdcli.evaluation.metrics import INTENSITY, METRICS, Key
from dsdcli.evaluation.novelty import Novelty
from dsdcli.evaluation.statistics import Correlation, LinealPath, Number, Sizes, Spectrum
from dsdcli.view.table import unit_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GENERATED, REAL, TRAIN = "#c8511b", "#2b5c8a", "#7f7f7f"
_WIDTH, _HEIGHT = 3.4, 2.5  # inches, of one panel
_COLUMNS = 3
_X = {  # where it is no length
    "coordination": "neighbours",
    "histogram": "count",
    "power-spectrum": "half-waves along the shortest side",
}
_RADII = ("pore-size", "throat-size")


def metric_figure(found: Evaluation, metric: str, voxel_size: float | None, unit: str) -> str | None:
    """SVG with a panel for each subject of one metric; None if it has none.

    Curves and cumulated sizes: means of the samples and of the held-out crops with 95 % bands for as many images as
    there are samples; below, the difference of the two within the band of as many training crops (the noise floor).
    Plain numbers: their distribution over images.
    """
    keys = [key for key in found.ensembles[0] if key[0] == metric]
    if not keys:
        return None
    kind = METRICS[metric].kind(len(found.size))
    scale = voxel_size or 1.0
    if isinstance(kind, Number):
        panels, _, figure = new_panels(len(keys))
        for axes, key in zip(panels, keys, strict=True):
            ours, theirs = (ensemble[key][:, 0] * scale**kind.length for ensemble in found.ensembles[:2])
            _histograms(axes, ours[np.isfinite(ours)], theirs[np.isfinite(theirs)], "held-out crops")
            axes.set_xlabel(unit_name(kind.length, unit))
    else:
        panels, lower, figure = new_panels(len(keys), below=True)
        for axes, below, key in zip(panels, lower, keys, strict=True):
            _curves(axes, below, found, key, 1.0 if metric in _X else scale)
            below.set_xlabel(_X.get(metric, f"{'radius' if metric in _RADII else 'length'} ({unit})"))
    for axes, key in zip(panels, keys, strict=True):
        axes.set_title(key[1], fontsize=9)
    _legend(panels)
    return _svg(figure)


def fraction_figure(found: Evaluation, natural: np.ndarray, phases: Sequence[str]) -> str:
    """SVG: volume fractions of the samples and of held-out crops anywhere, ``natural`` (m, K)."""
    panels, _, figure = new_panels(len(phases))
    for index, (axes, name) in enumerate(zip(panels, phases, strict=True)):
        ours = found.ensembles[0]["volume-fraction", name][:, 0]
        _histograms(axes, ours, natural[:, index], "held-out crops anywhere")
        axes.set_title(name, fontsize=9)
    _legend(panels)
    return _svg(figure)


def novelty_figure(novelty: Novelty, what: str) -> str:
    """SVG: distances of the samples and of held-out crops."""
    (axes,), _, figure = new_panels(1)
    _histograms(axes, novelty.distances.ravel(), novelty.real.ravel(), "held-out crops")
    axes.set_xlabel(what)
    _legend([axes])
    return _svg(figure)


def new_panels(count: int, below: bool = False) -> tuple[list["Axes"], list["Axes"], "Figure"]:
    """Panels in rows, and with ``below`` a smaller one under each."""
    from matplotlib.figure import Figure

    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    height = _HEIGHT * (1.45 if below else 1)
    figure = Figure(figsize=(_WIDTH * columns, height * rows))
    panels: list[Axes] = []
    lower: list[Axes] = []
    for number in range(count):
        row, column = divmod(number, columns)
        # Placed by hand: matplotlib's own layout takes longer than all measuring.
        left, bottom = (column + 0.17) / columns, 1 - (row + 1 - 0.18 / (1.45 if below else 1)) / rows
        width, tall = 0.79 / columns, (height - 0.78) / height / rows
        small = 0.3 * tall if below else 0.0
        axes = figure.add_axes((left, bottom + 1.15 * small, width, tall - 1.15 * small))
        panels.append(axes)
        if below:
            lower.append(figure.add_axes((left, bottom, width, small), sharex=axes))
            lower[-1].locator_params(axis="y", nbins=3)
            axes.tick_params(labelbottom=False)
    for axes in figure.axes:
        axes.locator_params(axis="x", nbins=6)
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_fontsize(8)
        axes.yaxis.label.set_fontsize(8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return panels, lower, figure


def _curves(axes: "Axes", below: "Axes", found: Evaluation, key: Key, scale: float) -> None:
    generated, heldout, train = (ensemble[key] for ensemble in found.ensembles)
    n, rng = len(generated), np.random.default_rng(0)
    weights = resampling_weights(n, rng)
    one_each = np.eye(len(train) // n)[rng.integers(len(train) // n, size=weights.shape)]
    real = _curve(key[0], mean_vector(heldout), found.size)[1]
    for vectors, resample, colour, name in (
        (heldout, (weights[..., None] * one_each).reshape(len(weights), -1), REAL, "held-out crops"),
        (generated, weights, GENERATED, "samples"),
    ):
        x, y = _curve(key[0], mean_vector(vectors), found.size)
        _, many = _curve(key[0], mean_vector(vectors, resample), found.size)
        if np.isfinite(y).all():
            axes.fill_between(x * scale, *np.nanquantile(many, [0.025, 0.975], axis=0), color=colour, alpha=0.2, lw=0)
            axes.plot(x * scale, y, color=colour, lw=1.3, label=name)
            if vectors is generated:
                below.plot(x * scale, y - real, color=GENERATED, lw=1.3)
    _, floor = _curve(key[0], mean_vector(train, one_each.reshape(len(weights), -1)), found.size)
    if np.isfinite(floor).all() and np.isfinite(real).all():
        band = np.quantile(floor - real, [0.025, 0.975], axis=0)
        below.fill_between(x * scale, *band, color=TRAIN, alpha=0.3, lw=0)
        axes.fill_between([], [], [], color=TRAIN, alpha=0.3, lw=0, label="below: difference, noise floor")
    below.axhline(0, color=REAL, lw=0.8)
    axes.set_ylabel(_ordinate(key[0], len(found.size)))


def _ordinate(metric: str, axes: int) -> str:
    kind = METRICS[metric].kind(axes)
    if isinstance(kind, Correlation):
        return "mean product" if metric in INTENSITY else "S2"
    return {LinealPath: "L", Sizes: "cumulated", Spectrum: "power"}[type(kind)]


def _curve(metric: str, mean: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What is drawn of a mean vector (..., m): x in voxels (p,), y (..., p)."""
    kind = METRICS[metric].kind(len(size))
    if isinstance(kind, Correlation):
        lags = np.arange(mean.shape[-1] - 1.0)
        if metric in ("two-point-radial", "autocovariance-radial"):
            lags[1:] += 0.5  # middle of the bin
        return lags, mean[..., 1:]
    if isinstance(kind, LinealPath):
        ends = len(size) + np.cumsum([side - 1 for side in size])
        shortest = min(size) - 1
        curves = [mean[..., end - side + 1 : end - side + 1 + shortest] for end, side in zip(ends, size, strict=True)]
        phi = mean[..., : len(size)].mean(-1, keepdims=True)
        return np.arange(1.0, shortest + 2), np.concatenate([phi, np.mean(curves, axis=0)], axis=-1)
    if isinstance(kind, Spectrum):
        return np.arange(1.0, mean.shape[-1] + 1), mean
    assert isinstance(kind, Sizes)
    with np.errstate(invalid="ignore"):
        cumulated = np.cumsum(mean, axis=-1) / mean.sum(-1, keepdims=True)
    return np.arange(float(mean.shape[-1])), cumulated


def _histograms(axes: "Axes", ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    everything = np.concatenate([ours, theirs])
    if not len(everything):
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
        return
    low, high = everything.min(), everything.max()
    bins = np.linspace(low, high if high > low else low + 1, 21)
    for values, colour, label, fill in ((theirs, REAL, name, True), (ours, GENERATED, "samples", False)):
        if len(values):
            share = np.full(len(values), 1 / len(values))
            style: dict[str, Any] = {"alpha": 0.35, "lw": 0} if fill else {"histtype": "step", "lw": 1.4}
            axes.hist(values, bins.tolist(), weights=share, color=colour, label=label, **style)
            axes.axvline(values.mean(), color=colour, lw=0.8, ls=":")
    axes.set_ylabel("share")


def _legend(panels: Sequence["Axes"]) -> None:
    """In the first panel that shows something."""
    for axes in panels:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, frameon=False)
            return


def _svg(figure: "Figure") -> str:
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dsd", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
