"""The metrics: what is measured on one image, under which name, and how ensembles of it are compared."""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.evaluation.measures import correlation, curvature, lines, network, surfaces, thickness, transport
from dsdcli.evaluation.measures.permeabilities import permeabilities
from dsdcli.evaluation.statistics import Correlation, Kind, LinealPath, Number, Sizes, Spectrum
from dsdcli.flow.clusters import through_clusters

Key = tuple[str, str]  # name of the metric, subject: a phase, a pair of phases, a phase and an axis
Vectors = dict[Key, np.ndarray]


@dataclass(frozen=True)
class Probe:
    """One measurement, which may serve several metrics.

    ``measure`` maps phase indices, the names of the phases, the wanted metrics and the device to vectors; it may give
    unwanted ones where they cost nothing.
    """

    metrics: tuple[str, ...]
    measure: Callable[[np.ndarray, Sequence[str], Collection[str], str], Vectors]


@dataclass(frozen=True)
class Metric:
    """``title`` for people; ``value`` names the summary number shown in tables."""

    title: str
    value: str
    kind: Callable[[int], Kind]  # of the number of axes


# Memorisation and diversity belong to ensembles, not to images: `novelty` finds them, all others have a probe.
METRICS: dict[str, Metric] = {
    "volume-fraction": Metric("Volume fraction", "fraction", lambda axes: Number()),
    "two-point": Metric("Two-point correlation, mean of the axes", "correlation length", lambda axes: Correlation()),
    "two-point-axis": Metric("Two-point correlation, axis by axis", "correlation length", lambda axes: Correlation()),
    "two-point-radial": Metric("Two-point correlation, radial", "correlation length", lambda axes: Correlation()),
    "lineal-path": Metric("Lineal path", "mean path", LinealPath),
    "chords": Metric("Chord lengths", "mean chord", lambda axes: Sizes()),
    "pore-size": Metric("Pore size by local thickness", "mean radius", lambda axes: Sizes()),
    "interface": Metric("Interface between two phases", "per volume", lambda axes: Number(length=-1)),
    "triple-junction": Metric("Where three phases meet", "per volume", lambda axes: Number(length=-2)),
    "mean-curvature": Metric(
        "Mean curvature, integrated over the surface", "per volume", lambda axes: Number(length=1 - axes)
    ),
    "euler": Metric("Euler number", "per volume", lambda axes: Number(length=-axes)),
    "percolation": Metric("Share of the phase that connects opposite faces", "share", lambda axes: Number()),
    "diffusivity": Metric("Relative diffusivity D_eff / D_0", "mean", lambda axes: Number()),
    "tortuosity": Metric("Tortuosity factor of images that percolate", "mean", lambda axes: Number()),
    "permeability": Metric("Permeability, by Stokes flow", "mean", lambda axes: Number(length=2)),
    "coordination": Metric("Neighbours of a pore in the pore network", "mean number", lambda axes: Sizes(length=0)),
    "throat-size": Metric("Radius of the throats of the pore network", "mean radius", lambda axes: Sizes()),
    "memorisation": Metric("Distance to the nearest training crop", "median share", lambda axes: Number()),
    "diversity": Metric("Distance between samples", "mean share", lambda axes: Number()),
    "permeability-estimate": Metric("Permeability, Kozeny-Carman ESTIMATE", "mean", lambda axes: Number(length=2)),
    "mean": Metric("Mean count of a voxel", "mean", lambda axes: Number()),
    "variance": Metric("Variance of the counts", "variance", lambda axes: Number()),
    "histogram": Metric("Histogram of the counts", "mean bin", lambda axes: Sizes(length=0)),
    "autocovariance": Metric("Autocovariance, mean of the axes", "correlation length", lambda axes: Correlation()),
    "autocovariance-axis": Metric("Autocovariance, axis by axis", "correlation length", lambda axes: Correlation()),
    "autocovariance-radial": Metric("Autocovariance, radial", "correlation length", lambda axes: Correlation()),
    "cross-covariance": Metric("Covariance of two channels", "covariance", lambda axes: Number()),
    "power-spectrum": Metric("Power spectrum", "sum", lambda axes: Spectrum()),
}
_MOMENTS = ("mean", "variance", "histogram", "cross-covariance", "power-spectrum")
_COVARIANCES = ("autocovariance", "autocovariance-axis", "autocovariance-radial")
OF_COUNTS = (*_MOMENTS, *_COVARIANCES)  # of intensities
INTENSITY = (*OF_COUNTS, "memorisation", "diversity")
_VOLUMES = (
    "mean-curvature",
    "permeability",
)  # of images only on demand: few percolate, and curvature is Euler's number
_ON_DEMAND = ("permeability-estimate", "coordination", "throat-size")
_SLOW = ("pore-size", "diffusivity", "tortuosity", "permeability", "memorisation")
VOLUME_ALL = tuple(name for name in METRICS if name not in (*_ON_DEMAND, *OF_COUNTS))
ALL = tuple(name for name in VOLUME_ALL if name not in _VOLUMES)
FAST = tuple(name for name in ALL if name not in _SLOW)


def every_metric(axes: int) -> tuple[str, ...]:
    """What "all" stands for: the metrics of 2D images, or those and flow and curvature of volumes."""
    return VOLUME_ALL if axes == 3 else ALL


def axis_names(ndim: int) -> str:
    """ "zyx", or "yx" for images."""
    return "zyx"[3 - ndim :]


def _volume_fraction(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    counts = np.bincount(image.ravel(), minlength=len(phases))
    return {("volume-fraction", name): _number(c / image.size) for name, c in zip(phases, counts, strict=True)}


def _two_point(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
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
    return [flowing(phases)]


def _lines(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
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


def _pore_size(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    return {("pore-size", name): thickness.local_thickness(image == index) for index, name in enumerate(phases)}


def _interface(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    densities = surfaces.interfaces(image, len(phases))
    return {
        ("interface", f"{phases[a]}|{phases[b]}"): _number(densities[a, b])
        for a, b in itertools.combinations(range(len(phases)), 2)
    }


def _triple_junction(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    return {
        ("triple-junction", "|".join(phases[i] for i in members)): _number(surfaces.triple_junctions(image, members))
        for members in itertools.combinations(range(len(phases)), 3)
    }


def _euler(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    return {("euler", name): _number(surfaces.euler_density(image == index)) for index, name in enumerate(phases)}


def _transport(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    vectors = {}
    solve = not {"diffusivity", "tortuosity", "permeability-estimate"}.isdisjoint(wanted)
    for index, name in enumerate(phases):
        mask = image == index
        phi = mask.mean()
        for axis, letter in enumerate(axis_names(image.ndim)):
            subject = f"{name} {letter}"
            through = through_clusters(mask, axis)
            vectors["percolation", subject] = _number(through.mean() / phi if phi else 0.0)
            if solve:
                diffusivity = transport.relative_diffusivity(through, axis, device)
                vectors["diffusivity", subject] = _number(diffusivity)
                vectors["tortuosity", subject] = _number(phi / diffusivity if diffusivity else np.nan)
                if "permeability-estimate" in wanted:
                    surface = surfaces.interfaces(mask.astype(np.uint8), 2)[0, 1]
                    estimate = transport.permeability_estimate(diffusivity, phi, surface, image.ndim)
                    vectors["permeability-estimate", subject] = _number(estimate)
    return vectors


def _mean_curvature(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    return {
        ("mean-curvature", name): _number(curvature.mean_curvature_density(image == index))
        for index, name in enumerate(phases)
    }


def _permeability(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    index, name = flowing(phases)
    found = permeabilities(image == index, device)
    letters = axis_names(image.ndim)
    return {("permeability", f"{name} {axis}"): _number(k) for axis, k in zip(letters, found, strict=True)}


def _network(image: np.ndarray, phases: Sequence[str], wanted: Collection[str], device: str) -> Vectors:
    index, name = flowing(phases)
    neighbours, throats = network.pore_network(image == index)
    return {("coordination", name): neighbours, ("throat-size", name): throats}


def flowing(phases: Sequence[str]) -> tuple[int, str]:
    """The phase through which a liquid flows, with its index: the one called pore, else the first."""
    index = phases.index("pore") if "pore" in phases else 0
    return index, phases[index]


def _number(value: float) -> np.ndarray:
    return np.array([value, abs(value)])


PROBES: tuple[Probe, ...] = (
    Probe(("volume-fraction",), _volume_fraction),
    Probe(("two-point", "two-point-axis", "two-point-radial"), _two_point),
    Probe(("lineal-path", "chords"), _lines),
    Probe(("pore-size",), _pore_size),
    Probe(("interface",), _interface),
    Probe(("triple-junction",), _triple_junction),
    Probe(("euler",), _euler),
    Probe(("percolation", "diffusivity", "tortuosity", "permeability-estimate"), _transport),
    Probe(("mean-curvature",), _mean_curvature),
    Probe(("permeability",), _permeability),
    Probe(("coordination", "throat-size"), _network),
)


def measure(image: np.ndarray, phases: Sequence[str], metrics: Sequence[str], device: str = "cpu") -> Vectors:
    """Measure one image.

    Args:
        image: phase indices (*L), 2D or 3D.
        phases: their names.
        metrics: names, of `METRICS`.
        device: "cpu" or a CUDA device, for diffusivity and permeability.

    Returns:
        for each metric and subject a vector as its kind describes; NaN or all zeros where the image has no such thing.
    """
    vectors: Vectors = {}
    for probe in PROBES:
        if not set(probe.metrics).isdisjoint(metrics):
            vectors |= probe.measure(image, phases, metrics, device)
    return {key: vector for key, vector in vectors.items() if key[0] in metrics}
