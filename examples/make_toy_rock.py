"""Write a small segmented volume to try dsd on: thresholded smooth noise, as an ImageJ TIFF with a voxel size.

python examples/make_toy_rock.py rock.tif
python examples/make_toy_rock.py cell.tif --fractions 0.45 0.40 0.15
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter


def toy_rock(shape: tuple[int, ...], fractions: tuple[float, ...], grain: float, seed: int) -> np.ndarray:
    """Labels, uint8 (*shape): 0 is the pore, the last phase 255, others in between.

    Args:
        fractions: volume fraction of each phase; they add up to 1.
        grain: blur of the noise in voxels, which sets the size of the pores.
    """
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), grain, mode="wrap")
    levels = np.quantile(field, np.cumsum(fractions)[:-1])
    labels = np.linspace(0, 255, len(fractions)).astype(np.uint8)
    return labels[np.searchsorted(levels, field)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(60, 96, 96), metavar=("Z", "Y", "X"))
    parser.add_argument("--fractions", type=float, nargs="+", default=(0.25, 0.75), metavar="V")
    parser.add_argument("--grain", type=float, default=2.5, help="blur of the noise in voxels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if len(options.fractions) < 2 or abs(sum(options.fractions) - 1) > 1e-6:
        parser.error("--fractions: give two or more that add up to 1")
    volume = toy_rock(tuple(options.shape), tuple(options.fractions), options.grain, options.seed)
    tifffile.imwrite(
        options.out,
        volume,
        imagej=True,
        resolution=(1 / 2.5, 1 / 2.5),
        metadata={"axes": "ZYX", "spacing": 2.5, "unit": "um"},
        compression="zlib",
    )
    print(options.out)


if __name__ == "__main__":
    main()
