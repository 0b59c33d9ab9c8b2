"""Curves and distributions of the report, as SVG."""

import io
from collections.abc import Sequence

import numpy as np

from dsdcli.evaluation.compare import Ensemble, mean_vector, resampling_weights
from dsdcli.evaluation.evaluate import Evaluation
from dsdcli.evaluation.kinds import Correlation, Number, Path, Sizes
from dsdcli.evaluation.metrics import METRICS, Key
from dsdcli.evaluation.novelty import Novelty

GENERATED, REAL, TRAIN = "#c8511b", "#2b5c8a", "#7f7f7f"
_WIDTH, _HEIGHT = 3.4, 2.5  # inches, of one panel
_COLUMNS = 3


def metric_figure(found: Evaluation, metric: str, voxel_size: float | None, unit: str) -> str | None:
    """SVG with a panel for each subject of one metric; None if it has none.

    Curves and cumulated sizes: mean of the samples and of the held-out crops with 95 % bands for as many images as
    there are samples, and the band of as many training crops (the noise floor). Plain numbers: their distribution over
    images.
    """
    keys = [key for key in found.ensembles[0] if key[0] == metric]
    if not keys:
        return None
    panels, figure = _panels(len(keys))
    scale = voxel_size or 1.0
    rng = np.random.default_rng(0)
    for axes, key in zip(panels, keys, strict=True):
        kind = METRICS[metric].kind(len(found.size))
        if isinstance(kind, Number):
            _distribution(axes, found.ensembles, key, scale**kind.length)
        else:
            _bands(axes, found, key, scale, rng)
            axes.set_xlabel(f"{'radius' if metric == 'pore-size' else 'length'} ({unit})")
        axes.set_title(key[1], fontsize=9)
    panels[0].legend(fontsize=7, frameon=False)
    return _svg(figure)


def fraction_figure(found: Evaluation, natural: np.ndarray, phases: Sequence[str]) -> str:
    """SVG: volume fractions of the samples and of held-out crops anywhere, ``natural`` (m, K)."""
    panels, figure = _panels(len(phases))
    for index, (axes, name) in enumerate(zip(panels, phases, strict=True)):
        ours = found.ensembles[0]["volume-fraction", name][:, 0]
        _histograms(axes, ours, natural[:, index], "held-out crops anywhere")
        axes.set_title(name, fontsize=9)
    panels[0].legend(fontsize=7, frameon=False)
    return _svg(figure)


def novelty_figure(novelty: Novelty, what: str) -> str:
    """SVG: distances of the samples and of held-out crops."""
    (axes,), figure = _panels(1)
    _histograms(axes, novelty.distances.ravel(), novelty.real.ravel(), "held-out crops")
    axes.set_xlabel(what)
    axes.legend(fontsize=7, frameon=False)
    return _svg(figure)


def _panels(count: int):
    from matplotlib.figure import Figure

    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
    panels = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for axes in panels:
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return panels, figure


def _bands(axes, found: Evaluation, key: Key, scale: float, rng: np.random.Generator) -> None:
    generated, heldout, train = (ensemble[key] for ensemble in found.ensembles)
    n = len(generated)
    weights = resampling_weights(n, rng)
    one_each = np.eye(len(train) // n)[rng.integers(len(train) // n, size=weights.shape)]
    spread = (weights[..., None] * one_each).reshape(len(weights), -1)
    for vectors, resample, colour, name in (
        (train, one_each.reshape(len(weights), -1), TRAIN, "noise floor (training crops)"),
        (heldout, spread, REAL, "held-out crops"),
        (generated, weights, GENERATED, "samples"),
    ):
        x, y = _curve(key[0], mean_vector(vectors), found.size)
        _, many = _curve(key[0], mean_vector(vectors, resample), found.size)
        if np.isnan(y).all():
            continue
        low, high = np.nanquantile(many, [0.025, 0.975], axis=0)
        if colour is TRAIN:
            axes.fill_between(x * scale, low, high, color=TRAIN, alpha=0.25, lw=0, label=name)
            continue
        axes.fill_between(x * scale, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(x * scale, y, color=colour, lw=1.3, label=name)


def _curve(metric: str, mean: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What is drawn of a mean vector (..., m): x in voxels (p,), y (..., p)."""
    kind = METRICS[metric].kind(len(size))
    if isinstance(kind, Correlation):
        lags = np.arange(mean.shape[-1] - 1.0)
        if metric == "two-point-radial":
            lags[1:] += 0.5  # middle of the bin
        return lags, mean[..., 1:]
    if isinstance(kind, Path):
        ends = len(size) + np.cumsum([side - 1 for side in size])
        shortest = min(size) - 1
        curves = [mean[..., end - side + 1 : end - side + 1 + shortest] for end, side in zip(ends, size, strict=True)]
        phi = mean[..., : len(size)].mean(-1, keepdims=True)
        return np.arange(1.0, shortest + 2), np.concatenate([phi, np.mean(curves, axis=0)], axis=-1)
    assert isinstance(kind, Sizes)
    with np.errstate(invalid="ignore"):
        cumulated = np.cumsum(mean, axis=-1) / mean.sum(-1, keepdims=True)
    last = int(np.flatnonzero(np.atleast_2d(mean).any(axis=0)).max(initial=1)) + 1
    return np.arange(float(last)), cumulated[..., :last]


def _distribution(axes, ensembles: Sequence[Ensemble], key: Key, scale: float) -> None:
    ours, theirs = (ensemble[key][:, 0] * scale for ensemble in ensembles[:2])
    _histograms(axes, ours[np.isfinite(ours)], theirs[np.isfinite(theirs)], "held-out crops")


def _histograms(axes, ours: np.ndarray, theirs: np.ndarray, name: str) -> None:
    everything = np.concatenate([ours, theirs])
    if not len(everything):
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
        return
    low, high = everything.min(), everything.max()
    bins = np.linspace(low, high if high > low else low + 1, 21)
    for values, colour, label, fill in ((theirs, REAL, name, True), (ours, GENERATED, "samples", False)):
        if len(values):
            share = np.full(len(values), 1 / len(values))
            style = {"alpha": 0.35, "lw": 0} if fill else {"histtype": "step", "lw": 1.4}
            axes.hist(values, bins, weights=share, color=colour, label=label, **style)
            axes.axvline(values.mean(), color=colour, lw=0.8, ls=":")
    axes.set_ylabel("share of images", fontsize=8)


def _svg(figure) -> str:
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dsd", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
