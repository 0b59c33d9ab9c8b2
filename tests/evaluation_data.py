"""Small real-looking datasets for the tests of the evaluation."""

from pathlib import Path

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.phases import Phase
from tests.conftest import blobs, write_dataset

TWO = (Phase("pore", 0), Phase("solid", 255))
THREE = (Phase("pore", 0), Phase("grain", 85), Phase("binder", 170))


def volume(seed: int, shape: tuple[int, ...] = (48, 64, 64), phases: int = 2) -> np.ndarray:
    """Blobs of about 5 voxels; the first phase is the rarest."""
    return blobs(shape, [0.3, 0.7][: phases - 1], seed, width=2)


def make_dataset(folder: Path, phases: tuple[Phase, ...] = TWO) -> Dataset:
    """A dataset of two independent volumes of the same statistics, written to ``folder``."""
    return write_dataset(folder / "rock.dsd.h5", phases, *(volume(seed, phases=len(phases)) for seed in (1, 2)))


def shuffled(stack: np.ndarray) -> np.ndarray:
    """Every image with its voxels in random order."""
    flat = stack.reshape(len(stack), -1).copy()
    rng = np.random.default_rng(0)
    for image in flat:
        rng.shuffle(image)
    return flat.reshape(stack.shape)
