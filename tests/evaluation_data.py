"""Small real-looking datasets for the tests of the evaluation."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from dsdcli.data.dataset import Dataset, LabelledImage
from dsdcli.data.phases import Phase

TWO = (Phase("pore", 0), Phase("solid", 255))
THREE = (Phase("pore", 0), Phase("grain", 85), Phase("binder", 170))


def volume(seed: int, shape: tuple[int, ...] = (48, 64, 64), phases: int = 2) -> np.ndarray:
    """Blobs of about 5 voxels; the first phase is the rarest."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2, mode="wrap")
    return np.digitize(field, np.quantile(field, [0.3, 0.7][: phases - 1])).astype(np.uint8)


def make_dataset(folder: Path, phases: tuple[Phase, ...] = TWO) -> Dataset:
    """A dataset of two independent volumes of the same statistics, written to ``folder``."""
    dataset = Dataset(
        path=folder / "rock.dsd.h5",
        phases=phases,
        voxel_size=2.0,
        voxel_unit="um",
        slice_axes="z",
        downsample=1,
        provenance={},
        train=(LabelledImage(volume(1, phases=len(phases)), "ZYX"),),
        heldout=(LabelledImage(volume(2, phases=len(phases)), "ZYX"),),
    )
    dataset.write(dataset.path)
    return dataset


def shuffled(stack: np.ndarray) -> np.ndarray:
    """Every image with its voxels in random order."""
    flat = stack.reshape(len(stack), -1).copy()
    rng = np.random.default_rng(0)
    for image in flat:
        rng.shuffle(image)
    return flat.reshape(stack.shape)
