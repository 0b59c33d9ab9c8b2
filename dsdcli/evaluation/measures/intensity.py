"""What is measured on intensities: histogram, moments, covariances and spectrum of every channel."""

import itertools
from collections.abc import Sequence

import numpy as np
import scipy.fft

from dsdcli.data.species import Species
from dsdcli.evaluation.measures.correlation import two_point

BINS = 256  # of a histogram at most


def measure_counts(image: np.ndarray, species: Sequence[Species]) -> dict[tuple[str, str], np.ndarray]:
    """Vectors of one image, as the kinds of `dsdcli.evaluation.metrics.METRICS` take them.

    Args:
        image: counts (C, *L).
    """
    vectors: dict[tuple[str, str], np.ndarray] = {}
    names, ndim = [each.name for each in species], image.ndim - 1
    for field, each in zip(image, species, strict=True):
        name, mean, square = each.name, float(field.mean()), float(np.square(field, dtype=float).mean())
        width = -(-(each.cap + 1) // BINS)
        vectors["mean", name] = np.array([mean, mean])
        vectors["variance", name] = np.array([square - mean**2] * 2)
        vectors["histogram", name] = np.bincount(field.ravel() // width, minlength=each.cap // width + 1)
        along, radial = two_point(field)
        head = [mean**2, square]
        vectors["autocovariance", name] = np.array([*head, *along.mean(0)[1:]])
        for axis, curve in zip("zyx"[3 - ndim :], along, strict=True):
            vectors["autocovariance-axis", f"{name} {axis}"] = np.array([*head, *curve[1:]])
        vectors["autocovariance-radial", name] = np.array([*head, *radial[1:]])
        vectors["power-spectrum", name] = spectrum(field)
    for a, b in itertools.combinations(range(len(species)), 2):
        covariance = float((image[a].astype(float) * image[b]).mean() - image[a].mean() * image[b].mean())
        vectors["cross-covariance", f"{names[a]}|{names[b]}"] = np.array([covariance, abs(covariance)])
    return vectors


def spectrum(field: np.ndarray) -> np.ndarray:
    """Power of the cosine waves of an image (*L), over its sites, in shells of wavenumbers: entry i holds those of
    between i - 1/2 and i + 1/2 half-waves along the shortest side, from 1 on."""
    shortest = min(field.shape)
    power = np.square(scipy.fft.dctn(field.astype(float), norm="ortho")) / field.size
    grids = np.meshgrid(*(np.arange(side) * shortest / side for side in field.shape), indexing="ij", sparse=True)
    shell = np.rint(np.sqrt(sum(grid**2 for grid in grids))).astype(int)
    return np.bincount(shell.ravel(), power.ravel(), minlength=shortest)[1:shortest]
