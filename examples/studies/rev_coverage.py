"""How often the interval of one image holds the volume fraction of its material: a Boolean model, windows of images.

The Boolean model, discs or spheres of one radius around Poisson points, has a known fraction and integral range. Of an
image, far larger than the windows, the fraction of the whole stands for that of the material.

    python examples/studies/rev_coverage.py
    python examples/studies/rev_coverage.py --image rock.tif
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.integrate import quad
from scipy.spatial import KDTree
from shared import options, print_row, print_table, slashed

from dsdcli.data.split import independent_images
from dsdcli.evaluation.representative import phase_fractions
from dsdcli.pipeline.inputs import read_real

RADIUS = {2: 6.0, 3: 4.0}  # voxels
SIDES = {2: (24, 48, 96, 192), 3: (16, 32, 48)}
HEAD = ("material", "window", "say something", "holds the truth (%)", "half width (%)", "integral range", "true")


def boolean(shape: tuple[int, ...], fraction: float, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A realisation: phase indices, 0 in the discs or spheres, which fill ``fraction`` of the material."""
    ndim = len(shape)
    volume = math.pi * radius**2 if ndim == 2 else 4 / 3 * math.pi * radius**3
    box = np.array(shape) + 2 * radius
    number = rng.poisson(-math.log(1 - fraction) / volume * box.prod())
    if not number:
        return np.ones(shape, np.uint8)
    tree = KDTree(rng.random((number, ndim)) * box - radius)
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) + 0.5
    distance, _ = tree.query(voxels.reshape(-1, ndim), distance_upper_bound=radius)
    return np.isinf(distance).reshape(shape).astype(np.uint8)


def true_range(fraction: float, radius: float, ndim: int) -> float:
    """Integral range of the Boolean model, from its covariance (1 - f)^2 (exp(theta K(r)) - 1), where K is the overlap
    of two grains at distance r (Matheron 1975)."""
    volume = math.pi * radius**2 if ndim == 2 else 4 / 3 * math.pi * radius**3
    theta = -math.log(1 - fraction) / volume

    def overlap(r: float) -> float:
        if ndim == 3:
            return math.pi / 12 * (4 * radius + r) * (2 * radius - r) ** 2
        return 2 * radius**2 * math.acos(r / 2 / radius) - r / 2 * math.sqrt(4 * radius**2 - r**2)

    shell = (lambda r: 2 * math.pi * r) if ndim == 2 else (lambda r: 4 * math.pi * r**2)
    integral, _ = quad(lambda r: shell(r) * math.expm1(theta * overlap(r)), 0, 2 * radius)
    return (1 - fraction) / fraction * integral


def windows(images: Sequence[np.ndarray], size: tuple[int, ...], number: int, rng: np.random.Generator) -> Iterator:
    """Windows anywhere in the images, or in slices of volumes."""
    for _ in range(number):
        image = images[rng.integers(len(images))]
        if image.ndim > len(size):
            image = image[rng.integers(len(image))]
        corner = [rng.integers(full - side + 1) for full, side in zip(image.shape, size, strict=True)]
        yield np.ascontiguousarray(image[tuple(slice(a, a + side) for a, side in zip(corner, size, strict=True))])


def coverage(name: str, size: tuple[int, ...], some: Iterable[np.ndarray], truth: Sequence[float], true: float) -> None:
    """Print how often the intervals of some images hold the true fractions; slashes part the phases."""
    found = [phase_fractions([image], [str(index) for index in range(len(truth))]) for image in some]
    spoken, held, width = [], [], []
    for index, fraction in enumerate(truth):
        of_phase = [each[index] for each in found if each[index].speaks]
        spoken.append(len(of_phase))
        held.append(100 * np.mean([each.low <= fraction <= each.high for each in of_phase]) if of_phase else math.nan)
        width.append(100 * np.median([each.error for each in of_phase]) if of_phase else math.nan)
    ranges = [[each[index].integral_range for each in found if each[index].volumes] for index in range(len(truth))]
    medians = [float(np.median(values)) if values else math.nan for values in ranges]
    cells = slashed(spoken, "d"), slashed(held), slashed(width, ".0f"), slashed(medians, ".0f")
    print_row([name, "x".join(map(str, size)), *cells, "-" if math.isnan(true) else f"{true:.0f}"])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = options(__doc__, "seed")
    parser.add_argument("--image", help="a large segmented image, instead of the Boolean model")
    parser.add_argument("--windows", type=int, default=200, help="windows, or realisations")
    parser.add_argument("--sides", type=int, nargs="+", help="sides of the windows, in 2D and 3D")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    print_table(HEAD)
    if args.image:
        dataset, _, _ = read_real(Path(args.image))
        images, truth = independent_images(dataset), dataset.fractions().tolist()
        for ndim in range(2, images[0].ndim + 1):
            for side in args.sides or SIDES[ndim]:
                size = (side,) * ndim
                some = windows(images, size, args.windows, rng)
                coverage(Path(args.image).stem, size, some, truth, math.nan)
        return
    for ndim, radius in RADIUS.items():
        for fraction in (0.15, 0.4):
            true = true_range(fraction, radius, ndim)
            for side in args.sides or SIDES[ndim]:
                size = (side,) * ndim
                some = (boolean(size, fraction, radius, rng) for _ in range(args.windows))
                coverage(
                    f"{'discs' if ndim == 2 else 'spheres'} {fraction:g}", size, some, (fraction, 1 - fraction), true
                )


if __name__ == "__main__":
    main()
