"""From samples and real images of intensities to a comparison."""

from collections.abc import Callable, Sequence

import numpy as np

from dsdcli.data.dataset import Dataset
from dsdcli.data.species import channels_first
from dsdcli.errors import DataError
from dsdcli.evaluation.compare import compare
from dsdcli.evaluation.crops import RealCrops
from dsdcli.evaluation.evaluate import Evaluation, Fractions, Spread, ensembles_of, repeats_of
from dsdcli.evaluation.measures.intensity import measure_counts
from dsdcli.evaluation.neighbours import Neighbour, training_views
from dsdcli.evaluation.novelty import diversity, memorisation

SPLITS = ("heldout", "train")
POOL = 4096  # random crops that the matched ones are chosen from
CANDIDATES = 2**15  # crops of the training images that a copy is looked for among


def evaluate_counts(
    stack: np.ndarray,
    dataset: Dataset,
    metrics: Sequence[str],
    match: bool = True,
    crops: int | None = None,
    seed: int = 0,
    progress: Callable[[float, str], object] = lambda share, note: None,
) -> Evaluation:
    """As `dsdcli.evaluation.evaluate.evaluate`, of intensities: real crops are matched by their means.

    Args:
        stack: counts int64 (n, C, *L).
        dataset: the real images, of the same species.

    Raises:
        DataError: fewer than two samples, or larger ones than the real images.
    """
    n, size, species = len(stack), stack.shape[2:], dataset.species
    if n < 2:
        raise DataError("one sample says nothing about an ensemble; generate more (16 or better 64) and evaluate again")
    repeats = repeats_of(n, int(np.prod(size)), crops)
    rngs = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(6)]
    real = {split: _crops(dataset, split, stack, repeats, match, rng) for split, rng in zip(SPLITS, rngs, strict=False)}
    stacks = (stack, real["heldout"].stack, real["train"].stack)
    vectors = []
    for done, image in enumerate(image for part in stacks for image in part):
        vectors.append({key: v for key, v in measure_counts(image, species).items() if key[0] in metrics})
        progress(0.9 * done / sum(map(len, stacks)), f"{done} images measured")
    generated, heldout, train = ensembles_of(vectors, [len(part) for part in stacks])
    rows = compare(generated, heldout, train, len(size), match, rngs[2])
    caps = np.array([each.cap for each in species])
    memory = variety = None
    if "memorisation" in metrics:
        memory = memorisation(stack, stacks[1], dataset, rngs[4], lambda images, data: _nearest(images, data, caps))
        rows.append(memory.row)
    if "diversity" in metrics:
        variety = diversity(stack, stacks[1][::repeats], 0, rngs[5], lambda images: _pairwise(images, caps))
        rows.append(variety.row)
    progress(1.0, "all compared")
    anywhere = {split: dataset.crops(split, n * repeats, size, rngs[3]) for split in SPLITS}
    spreads = [[_spread(values) for values in _means(part).T] for part in (stack, *anywhere.values())]
    return Evaluation(
        rows=rows,
        memorisation=memory,
        diversity=variety,
        fractions=[Fractions(each.name, *of) for each, *of in zip(species, *spreads, strict=True)],
        samples=n,
        size=size,
        real_crops=n * repeats,
        residual_heldout=real["heldout"].residual,
        residual_train=real["train"].residual,
        remarks=[f"{n} samples are few: the noise floor is high, and only gross differences show"] if n < 16 else [],
        warnings=[],
        stacks=stacks,
        ensembles=(generated, heldout, train),
        alike="means",
    )


def _means(stack: np.ndarray) -> np.ndarray:
    """Mean count of every species, (n, C)."""
    return stack.reshape(*stack.shape[:2], -1).mean(2)


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(values.mean()), float(values.std()), float(values.min()), float(values.max()))


def _crops(
    dataset: Dataset, split: str, stack: np.ndarray, repeats: int, match: bool, rng: np.random.Generator
) -> RealCrops:
    """Real crops (n * repeats, C, *L), those of sample i at [i * repeats, (i + 1) * repeats): the nearest by
    their means, each used once, or any."""
    wanted = np.repeat(_means(stack), repeats, axis=0)
    number = len(wanted)
    if not match:
        return RealCrops(dataset.crops(split, number, stack.shape[2:], rng).astype(np.int64), None)
    from scipy.optimize import linear_sum_assignment

    pool = dataset.crops(split, max(POOL, 2 * number), stack.shape[2:], rng)
    means, scale = _means(pool), np.maximum(dataset.fractions(), 1e-9)
    cost = (np.abs(wanted[:, None] - means) / scale).sum(2)
    chosen = linear_sum_assignment(cost)[1]
    return RealCrops(pool[chosen].astype(np.int64), float(np.abs(wanted - means[chosen]).max(1).mean()))


def _nearest(stack: np.ndarray, dataset: Dataset, caps: np.ndarray) -> list[Neighbour]:
    """The nearest of the training crops: of all of them, or on a grid where they are more than `CANDIDATES`."""
    size, parts = stack.shape[2:], []
    views = [v.items for v in training_views(dataset, len(size)) if all(np.less_equal(size, v.items.shape[1:]))]
    places = sum(len(v) * np.prod([n - s + 1 for n, s in zip(v.shape[1:], size, strict=True)]) for v in views)
    step = max(1, round((places / CANDIDATES) ** (1 / (len(size) + 1)) + 0.49))
    for view in views:
        windows = np.lib.stride_tricks.sliding_window_view(view, size, axis=tuple(range(1, view.ndim)))
        cut = windows[(slice(None, None, step if len(view) > 1 and dataset.slice_axes != "t" else 1),)]
        cut = cut[(slice(None), *(slice(None, None, step) for _ in size))]
        parts.append(channels_first(cut.reshape(-1, *size)))
    found = np.concatenate(parts)
    distance = _distances(_flat(stack, caps), _flat(found, caps))
    return [Neighbour(float(row.min()), found[row.argmin()]) for row in distance]


def _flat(stack: np.ndarray, caps: np.ndarray) -> np.ndarray:
    shares = stack / caps.reshape(-1, *(1,) * (stack.ndim - 2))
    return shares.reshape(len(stack), -1).astype(np.float32)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square difference as a share of the cap, (n, m)."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(square, 0) / a.shape[1])


def _pairwise(stack: np.ndarray, caps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of images, (n, n), and what unrelated ones have: the root of the sum of their variances."""
    flat = _flat(stack, caps)
    spread = np.sqrt(2 * flat.var(axis=0).mean())
    return _distances(flat, flat).astype(float), np.full((len(stack), len(stack)), float(spread))
