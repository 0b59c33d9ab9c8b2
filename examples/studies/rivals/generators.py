"""porespy's random generators, at the wanted voxel counts and with the length scale that fits the data best."""

from collections.abc import Callable

import numpy as np
import porespy
from scipy.ndimage import distance_transform_edt

from dsdcli.data.phases import Phase
from dsdcli.evaluation.compare import mean_vector
from dsdcli.evaluation.metrics import measure
from dsdcli.evaluation.statistics import Correlation
from dsdcli.process.image import assign

# A score (*L) for one phase, positive where the generator itself puts it: of the size, fraction, scale, name and seed.
Generator = Callable[[tuple[int, ...], float, float, str, int], np.ndarray]

FIT_CROPS = 48


def blobs(size: tuple[int, ...], fraction: float, scale: float, name: str, seed: int) -> np.ndarray:
    """Smoothed noise; ``scale`` is the standard deviation of the filter in voxels."""
    blobiness = float(np.mean(size)) / (40 * scale)
    return fraction - porespy.generators.blobs(list(size), porosity=None, blobiness=blobiness, seed=seed)


def overlapping_spheres(size: tuple[int, ...], fraction: float, scale: float, name: str, seed: int) -> np.ndarray:
    """Spheres of radius ``scale`` voxels, the pore being what they leave: signed distance to the surface."""
    void = name == "pore"
    share = fraction if void else 1 - fraction
    outside = porespy.generators.overlapping_spheres(list(size), r=scale, porosity=share, seed=seed)
    inside = outside if void else ~outside
    return distance_transform_edt(inside) - distance_transform_edt(~inside)


SCALES: dict[Generator, tuple[float, ...]] = {
    blobs: (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 10),
    overlapping_spheres: (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16),
}


def fit_scale(generator: Generator, crops: np.ndarray, phase: int, name: str) -> float:
    """The scale whose two-point correlation is the nearest to that of crops (n, *L), at the same volume fractions."""
    names, kind = ("pore", "rest"), Correlation()
    masks = [crop == phase for crop in crops[:FIT_CROPS]]

    def curve(images: list[np.ndarray]) -> np.ndarray:
        vectors = [measure((~image).astype(np.uint8), names, ("two-point",)) for image in images]
        return mean_vector(np.array([found["two-point", "pore"] for found in vectors]))

    real = curve(masks)

    def distance(scale: float) -> float:
        made = [generator(m.shape, float(m.mean()), scale, name, seed) > 0 for seed, m in enumerate(masks)]
        return float(kind.distance(curve(made), real))

    return min(SCALES[generator], key=distance)


def sample(
    generator: Generator,
    totals: np.ndarray,
    size: tuple[int, ...],
    phases: tuple[Phase, ...],
    background: int,
    scales: dict[int, float],
    seed: int,
) -> tuple[np.ndarray, float]:
    """Images (n, *L) with exactly ``totals`` (n, K), and the share of voxels that had to change for them.

    Args:
        scales: of all phases but the background, by index; each has a field of its own, and the background is the rest.
    """
    rng = np.random.default_rng(seed)
    images, changed = [], []
    for counts in totals:
        score = np.zeros((len(phases), int(counts.sum())))
        for phase, scale in scales.items():
            fraction = counts[phase] / counts.sum()
            field = generator(size, fraction, scale, phases[phase].name, int(rng.integers(2**31)))
            score[phase] = field.ravel() + 1e-6 * rng.random(field.size)  # equal distances in random order
        score[background] = 0.0
        image = assign(score, counts)
        images.append(image.astype(np.uint8).reshape(size))
        changed.append(float((image != score.argmax(0)).mean()))
    return np.stack(images), float(np.mean(changed))
