"""From samples and real images to a comparison."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError
from dsdcli.evaluation.cache import Cache
from dsdcli.evaluation.compare import Ensemble, Row, alike, compare
from dsdcli.evaluation.crops import RealCrops, disjoint_boxes, fractions, matched_crops, random_crops
from dsdcli.evaluation.metrics import Vectors, every_metric
from dsdcli.evaluation.novelty import Novelty, diversity, memorisation
from dsdcli.evaluation.slices import cut_slices, needs_slices, orientation_remarks
from dsdcli.evaluation.workers import Workers, measure_all

_CROPS = 256  # real crops by default, more where there are many samples
_VOXELS = 2**23  # but not more than this many voxels


@dataclass(frozen=True)
class Spread:
    """Of a number over images."""

    mean: float
    deviation: float
    least: float
    most: float


@dataclass(frozen=True)
class Fractions:
    """Volume fraction of one phase over the samples and over real crops anywhere."""

    phase: str
    generated: Spread
    heldout: Spread
    train: Spread


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    ``ensembles`` and ``stacks`` hold the vectors and the images of the samples, the held-out and the training crops.
    ``real_crops`` counts the crops of each split; the residuals say how well they match in what is ``alike``.
    """

    rows: list[Row]
    memorisation: Novelty | None
    diversity: Novelty | None
    fractions: list[Fractions]
    samples: int
    size: tuple[int, ...]
    real_crops: int
    residual_heldout: float | None
    residual_train: float | None
    remarks: list[str]
    warnings: list[str]
    stacks: tuple[np.ndarray, np.ndarray, np.ndarray]
    ensembles: tuple[Ensemble, Ensemble, Ensemble]
    alike: str = "volume fractions"


def evaluate(
    stack: np.ndarray,
    dataset: Dataset,
    *,
    metrics: Sequence[str] | None = None,
    match: bool = True,
    crops: int | None = None,
    seed: int = 0,
    workers: Workers | None = None,
    cache: Cache | None = None,
    progress: Callable[[float, str], object] = lambda share, note: None,
) -> Evaluation:
    """Compare samples with the held-out part of a dataset, beside its training part.

    Args:
        stack: samples, phase indices of ``dataset.phases``, (n, *L). Of volumes beside a dataset of 2D images slices in
            three orientations are compared.
        dataset: the real images.
        metrics: which, of `METRICS`; by default `every_metric` of images or volumes.
        match: compare with real crops of like volume fractions.
        crops: real crops from each split, rounded up to a multiple of the samples; by default at least 256 and twice
            the samples.
        seed: of the choice of crops and of the bootstrap.
        workers: where to measure; by default in this process.
        cache: what was measured before, and where to keep what is measured now.
        progress: called with the share of the work that is done, and what that is.

    Raises:
        DataError: fewer than two samples, or larger ones than the real images.
    """
    volumes = len(stack) if needs_slices(stack, dataset) else 0
    stack = cut_slices(stack) if volumes else stack
    n, size = len(stack), stack.shape[1:]
    metrics = every_metric(len(size)) if metrics is None else metrics
    if n < 2:
        raise DataError("one sample says nothing about an ensemble; generate more (16 or better 64) and evaluate again")
    repeats = repeats_of(n, int(np.prod(size)), crops)
    rngs = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(6)]
    ensembles: dict[str, RealCrops] = {}
    for split, rng in zip(("heldout", "train"), rngs[:2], strict=True):
        if match:
            ensembles[split] = matched_crops(dataset, split, stack, repeats, rng)
        else:
            ensembles[split] = random_crops(dataset, split, size, n * repeats, rng)
    names = [phase.name for phase in dataset.phases]
    stacks = (stack, ensembles["heldout"].stack, ensembles["train"].stack)
    images = [image for part in stacks for image in part]
    measuring = 0.9 if "memorisation" in metrics else 1.0  # share of the work

    def report(done: int, total: int) -> None:
        progress(measuring * done / total, f"{done} of {total} images measured")

    vectors = measure_all(images, names, metrics, workers or Workers(jobs=1), cache, report)
    generated, heldout, train = ensembles_of(vectors, [len(part) for part in stacks])
    rows = compare(generated, heldout, train, len(size), match, rngs[2])
    memory = variety = None
    if "memorisation" in metrics:
        progress(measuring, "searching the training images for copies")
        memory = memorisation(stack, ensembles["heldout"].stack, dataset, rngs[4])
        rows.append(memory.row)
        progress(1.0, "all compared")
    if "diversity" in metrics:
        variety = diversity(stack, ensembles["heldout"].stack[::repeats], len(names), rngs[5])
        rows.append(variety.row)
    return Evaluation(
        rows=rows,
        memorisation=memory,
        diversity=variety,
        fractions=_fractions(stack, dataset, n * repeats, rngs[3]),
        samples=n,
        size=size,
        real_crops=n * repeats,
        residual_heldout=ensembles["heldout"].residual,
        residual_train=ensembles["train"].residual,
        remarks=[
            *(orientation_remarks(volumes, generated, heldout) if volumes else []),
            *_independence(dataset, size, n * repeats),
            *_remarks(stack, vectors),
        ],
        warnings=_unmatched(stacks, names) if match else [],
        stacks=stacks,
        ensembles=(generated, heldout, train),
    )


def repeats_of(n: int, voxels: int, crops: int | None) -> int:
    """Real crops for every one of n samples."""
    if crops is not None:
        return max(1, -(-crops // n))
    affordable = max(2, _VOXELS // (n * voxels))
    return min(max(2, -(-_CROPS // n)), affordable)


def ensembles_of(vectors: Sequence[Vectors], sizes: Sequence[int]) -> list[Ensemble]:
    """Cut the vectors of all images into ensembles of the given sizes."""
    ends = np.cumsum(sizes)
    return [
        {key: np.array([image[key] for image in vectors[end - size : end]], float) for key in vectors[0]}
        for end, size in zip(ends, sizes, strict=True)
    ]


def _fractions(stack: np.ndarray, dataset: Dataset, n: int, rng: np.random.Generator) -> list[Fractions]:
    names = [phase.name for phase in dataset.phases]
    found = [fractions(stack, len(names))]
    for split in ("heldout", "train"):
        crops = dataset.crops(split, n, stack.shape[1:], rng)
        found.append(fractions(crops, len(names)))
    spreads = [
        [Spread(float(v.mean()), float(v.std()), float(v.min()), float(v.max())) for v in values.T] for values in found
    ]
    return [Fractions(name, *of_phase) for name, *of_phase in zip(names, *spreads, strict=True)]


def _unmatched(stacks: tuple[np.ndarray, np.ndarray, np.ndarray], names: Sequence[str]) -> list[str]:
    """A warning for each phase of which no real crops have as much as the samples."""
    found = [fractions(stack, len(names)) for stack in stacks]
    warnings = []
    for index, name in enumerate(names):
        samples, *real = (values[:, index] for values in found)
        for part, crops in zip(("held-out", "training"), real, strict=True):
            if not alike(samples, crops):
                warnings.append(
                    f"the volume fraction of {name} could not be matched: {samples.mean():.3f} in the samples, "
                    f"{crops.mean():.3f} in the most similar {part} crops; so all other rows compare unlike materials"
                )
                break
    return warnings


def _independence(dataset: Dataset, size: tuple[int, ...], crops: int) -> list[str]:
    """What overlapping crops of a volume do not say."""
    counts = {split: disjoint_boxes(dataset, split, size) for split in ("heldout", "train")}
    if len(size) < 3 or min(counts.values()) >= crops:
        return []
    box = sides(size)
    return [
        f"the {crops} real crops of each part overlap: only {counts['heldout']} boxes of {box} lie side by side in the "
        f"held-out part and {counts['train']} in the training part. Intervals and p take them for independent, and are "
        "too narrow; the floor knows how much these two parts differ, not how much others would"
    ]


def _remarks(stack: np.ndarray, vectors: Sequence[Vectors]) -> list[str]:
    remarks = []
    single = int((stack.reshape(len(stack), -1).min(1) == stack.reshape(len(stack), -1).max(1)).sum())
    if single:
        remarks.append(
            f"{single} of {len(stack)} samples hold a single phase: pore sizes and chords do not exist for them "
            "and are taken from the others"
        )
    unsolved = sum(np.isnan(v).any() for image in vectors for key, v in image.items() if key[0] == "diffusivity")
    if unsolved:
        remarks.append(f"{unsolved} diffusion problems did not converge and are left out")
    unsolved = sum(np.isnan(v).any() for image in vectors for key, v in image.items() if key[0] == "permeability")
    if unsolved:
        remarks.append(f"{unsolved} flow problems did not converge and are left out")
    if len(stack) < 16:
        remarks.append(f"{len(stack)} samples are few: the noise floor is high, and only gross differences show")
    return remarks
