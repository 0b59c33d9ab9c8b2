"""Volumes beside 2D images: their slices in the three orientations."""

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.compare import Ensemble

_PER_VOLUME = 4  # slices of each orientation: neighbouring ones are nearly copies of each other


def needs_slices(stack: np.ndarray, dataset: Dataset) -> bool:
    """Whether samples (n, *L) are volumes and the dataset holds 2D images alone."""
    return stack.ndim == 4 and all(image.axes != "ZYX" for image in dataset.train + dataset.heldout)


def cut_slices(stack: np.ndarray) -> np.ndarray:
    """Slices of volumes across z, y and x, evenly spaced, as wide as the shortest side.

    Args:
        stack: phase indices (n, Z, Y, X).

    Returns:
        uint8 (3 * n * m, s, s), those across z first, then y, then x.
    """
    side = min(stack.shape[1:])
    planes = []
    for axis in (1, 2, 3):
        moved = np.moveaxis(stack, axis, 1)
        depth, count = moved.shape[1], min(_PER_VOLUME, moved.shape[1])
        at = (np.arange(count) + 0.5) * depth / count
        low = [(full - side) // 2 for full in moved.shape[2:]]
        window = moved[:, at.astype(int), low[0] : low[0] + side, low[1] : low[1] + side]
        planes.append(window.reshape(-1, side, side))
    return np.concatenate(planes)


def orientation_remarks(volumes: int, generated: Ensemble, heldout: Ensemble) -> list[str]:
    """What was cut, and how the orientations differ by their interface.

    Args:
        volumes: their number.
        generated: vectors of the slices, in the order of `cut_slices`.
        heldout: vectors of the real crops.
    """
    remarks: list[str] = []
    for key, vectors in generated.items():
        slices = len(vectors) // (3 * volumes)
        if not remarks:
            remarks.append(
                f"the real images are 2D: {slices} slices of each of {volumes} volumes across each of z, y and x are "
                "compared with them, which takes the material for isotropic; slices of one volume are not independent"
            )
        if key[0] == "interface":
            real = heldout[key][:, 0].mean()
            shares = [part[:, 0].mean() / real if real else np.nan for part in np.split(vectors, 3)]
            across = ", ".join(f"{share:.2f} across {axis}" for share, axis in zip(shares, "zyx", strict=True))
            remarks.append(f"interface {key[1]}, relative to the real images: {across}")
    return remarks
