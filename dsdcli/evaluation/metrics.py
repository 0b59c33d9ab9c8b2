"""The metrics: what is measured on one image, under which name, and how ensembles of it are compared."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.evaluation import correlation, lines, surfaces, thickness
from dsdcli.evaluation.kinds import Correlation, Kind, Number, Path, Sizes

Key = tuple[str, str]  # name of the metric, subject: a phase, a pair of phases, a phase and an axis
Vectors = dict[Key, np.ndarray]


@dataclass(frozen=True)
class Probe:
    """One measurement; it may serve several metrics. ``measure`` maps phase indices and phase names to vectors."""

    metrics: tuple[str, ...]
    measure: Callable[[np.ndarray, Sequence[str]], Vectors]


@dataclass(frozen=True)
class Metric:
    """``title`` for people; ``value`` names the summary number shown in tables."""

    title: str
    value: str
    kind: Callable[[int], Kind]  # of the number of axes


METRICS: dict[str, Metric] = {
    "volume-fraction": Metric("Volume fraction", "fraction", lambda axes: Number()),
    "two-point": Metric("Two-point correlation, mean of the axes", "correlation length", lambda axes: Correlation()),
    "two-point-axis": Metric("Two-point correlation, axis by axis", "correlation length", lambda axes: Correlation()),
    "two-point-radial": Metric("Two-point correlation, radial", "correlation length", lambda axes: Correlation()),
    "lineal-path": Metric("Lineal path", "mean path", Path),
    "chords": Metric("Chord lengths", "mean chord", lambda axes: Sizes()),
    "pore-size": Metric("Pore size by local thickness", "mean radius", lambda axes: Sizes()),
    "interface": Metric("Interface", "per volume", lambda axes: Number(length=-1)),
}


def axis_names(ndim: int) -> str:
    """ "zyx", or "yx" for images."""
    return "zyx"[3 - ndim :]


def _volume_fraction(image: np.ndarray, phases: Sequence[str]) -> Vectors:
    counts = np.bincount(image.ravel(), minlength=len(phases))
    return {("volume-fraction", name): _number(c / image.size) for name, c in zip(phases, counts, strict=True)}


def _two_point(image: np.ndarray, phases: Sequence[str]) -> Vectors:
    vectors = {}
    for index, name in _distinct(phases):
        along, radial = correlation.two_point(image == index)
        phi = along[0, 0]
        vectors["two-point", name] = np.array([phi**2, phi, *along.mean(axis=0)[1:]])
        for axis, curve in zip(axis_names(image.ndim), along, strict=True):
            vectors["two-point-axis", f"{name} {axis}"] = np.array([phi**2, phi, *curve[1:]])
        vectors["two-point-radial", name] = np.array([phi**2, phi, *radial[1:]])
    return vectors


def _distinct(phases: Sequence[str]) -> list[tuple[int, str]]:
    """Phases, with their indices, whose correlations differ: of two phases both have the same covariance."""
    if len(phases) != 2:
        return list(enumerate(phases))
    first = phases.index("pore") if "pore" in phases else 0
    return [(first, phases[first])]


def _lines(image: np.ndarray, phases: Sequence[str]) -> Vectors:
    vectors = {}
    for index, name in enumerate(phases):
        mask = image == index
        paths, chords = [], np.zeros(max(image.shape) + 1, np.int64)
        for axis, side in enumerate(image.shape):
            runs, whole = lines.run_lengths(mask, axis)
            paths.append(lines.lineal_path(runs, mask.size // side))
            chords[: side + 1] += whole
        vectors["lineal-path", name] = np.concatenate([[path[0] for path in paths], *(path[1:] for path in paths)])
        vectors["chords", name] = chords
    return vectors


def _pore_size(image: np.ndarray, phases: Sequence[str]) -> Vectors:
    return {("pore-size", name): thickness.local_thickness(image == index) for index, name in enumerate(phases)}


def _interface(image: np.ndarray, phases: Sequence[str]) -> Vectors:
    densities = surfaces.interfaces(image, len(phases))
    return {
        ("interface", f"{phases[a]}|{phases[b]}"): _number(densities[a, b])
        for a, b in itertools.combinations(range(len(phases)), 2)
    }


def _number(value: float) -> np.ndarray:
    return np.array([value, abs(value)])


PROBES: tuple[Probe, ...] = (
    Probe(("volume-fraction",), _volume_fraction),
    Probe(("two-point", "two-point-axis", "two-point-radial"), _two_point),
    Probe(("lineal-path", "chords"), _lines),
    Probe(("pore-size",), _pore_size),
    Probe(("interface",), _interface),
)


def measure(image: np.ndarray, phases: Sequence[str], metrics: Sequence[str]) -> Vectors:
    """Measure one image.

    Args:
        image: phase indices (*L), 2D or 3D.
        phases: their names.
        metrics: names, of `METRICS`.

    Returns:
        for each metric and subject a vector as its kind describes; NaN or all zeros where the image has no such thing.
    """
    vectors: Vectors = {}
    for probe in PROBES:
        if not set(probe.metrics).isdisjoint(metrics):
            vectors |= {key: vector for key, vector in probe.measure(image, phases).items() if key[0] in metrics}
    return vectors
