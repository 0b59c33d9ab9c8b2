"""From samples and real images to a comparison."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.errors import DataError
from dsdcli.evaluation.compare import Ensemble, Row, compare
from dsdcli.evaluation.crops import RealCrops, fractions, matched_crops, random_crops
from dsdcli.evaluation.metrics import METRICS, measure

_CROPS = 256  # real crops by default, more where there are many samples
_VOXELS = 2**24  # but not more than this many voxels


@dataclass(frozen=True)
class Fractions:
    """Volume fraction of one phase over images: mean, standard deviation between images, least and greatest."""

    phase: str
    generated: tuple[float, float, float, float]
    heldout: tuple[float, float, float, float]
    train: tuple[float, float, float, float]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. ``real_crops`` counts those of each split; the residuals say how well they match."""

    rows: list[Row]
    fractions: list[Fractions]
    samples: int
    size: tuple[int, ...]
    real_crops: int
    residual_heldout: float | None
    residual_train: float | None
    remarks: list[str]


def evaluate(
    stack: np.ndarray,
    dataset: Dataset,
    *,
    metrics: Sequence[str] = tuple(METRICS),
    match: bool = True,
    crops: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare samples with the held-out part of a dataset, beside its training part.

    Args:
        stack: samples, phase indices of ``dataset.phases``, (n, *L).
        dataset: the real images.
        metrics: which, of `METRICS`.
        match: compare with real crops of like volume fractions.
        crops: real crops from each split, rounded up to a multiple of the samples; by default at least 256 and twice
            the samples.
        seed: of the choice of crops and of the bootstrap.
        progress: called with the images done and their number.

    Raises:
        DataError: fewer than two samples, or larger ones than the real images.
    """
    n, size = len(stack), stack.shape[1:]
    if n < 2:
        raise DataError("one sample says nothing about an ensemble; generate more (16 or better 64) and evaluate again")
    repeats = _repeats(n, int(np.prod(size)), crops)
    seeds = np.random.SeedSequence(seed).spawn(4)
    ensembles: dict[str, RealCrops] = {}
    for split, child in zip(("heldout", "train"), seeds[:2], strict=True):
        rng = np.random.default_rng(child)
        if match:
            ensembles[split] = matched_crops(dataset, split, stack, repeats, rng)
        else:
            ensembles[split] = random_crops(dataset, split, size, n * repeats, rng)
    names = [phase.name for phase in dataset.phases]
    stacks = [stack, ensembles["heldout"].stack, ensembles["train"].stack]
    generated, heldout, train = _measure_all(stacks, names, metrics, progress)
    rows = compare(generated, heldout, train, len(size), match, np.random.default_rng(seeds[2]))
    natural = np.random.default_rng(seeds[3])
    return Evaluation(
        rows=rows,
        fractions=_fractions(stack, dataset, n * repeats, natural),
        samples=n,
        size=size,
        real_crops=n * repeats,
        residual_heldout=ensembles["heldout"].residual,
        residual_train=ensembles["train"].residual,
        remarks=_remarks(stack),
    )


def _repeats(n: int, voxels: int, crops: int | None) -> int:
    if crops is not None:
        return max(1, -(-crops // n))
    affordable = max(2, _VOXELS // (n * voxels))
    return min(max(2, -(-_CROPS // n)), affordable)


def _measure_all(
    stacks: Sequence[np.ndarray], names: Sequence[str], metrics: Sequence[str], progress: Callable[[int, int], None]
) -> list[Ensemble]:
    total, done = sum(map(len, stacks)), 0
    ensembles = []
    for stack in stacks:
        vectors = []
        for image in stack:
            vectors.append(measure(image, names, metrics))
            done += 1
            progress(done, total)
        ensembles.append({key: np.array([image[key] for image in vectors], float) for key in vectors[0]})
    return ensembles


def _fractions(stack: np.ndarray, dataset: Dataset, n: int, rng: np.random.Generator) -> list[Fractions]:
    names = [phase.name for phase in dataset.phases]
    found = [fractions(stack, len(names))]
    for split in ("heldout", "train"):
        crops = dataset.crops(split, n, stack.shape[1:], rng)
        found.append(fractions(crops, len(names)))
    spreads = [
        list(zip(f.mean(0).tolist(), f.std(0).tolist(), f.min(0).tolist(), f.max(0).tolist(), strict=True))
        for f in found
    ]
    return [Fractions(name, *values) for name, *values in zip(names, *spreads, strict=True)]


def _remarks(stack: np.ndarray) -> list[str]:
    remarks = []
    single = int((stack.reshape(len(stack), -1).min(1) == stack.reshape(len(stack), -1).max(1)).sum())
    if single:
        remarks.append(
            f"{single} of {len(stack)} samples hold a single phase: pore sizes and chords do not exist for them "
            "and are taken from the others"
        )
    if len(stack) < 16:
        remarks.append(f"{len(stack)} samples are few: the noise floor is high, and only gross differences show")
    return remarks
