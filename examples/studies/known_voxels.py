"""Given some voxels of a held-out crop, how right is the rest, and how well does the ensemble know it?

    python examples/studies/known_voxels.py berea-3d berea.dsd.h5

For every share of known voxels and every crop, an ensemble honours them, with the counts of the crop. Beside it stand
ordinary indicator kriging from the 16 nearest known voxels, with the covariance of the training crops, and the nearest
known voxel. Columns:

- right: share of the unknown voxels whose most frequent (most probable, nearest) phase is the real one;
- Brier: mean squared error of the probability of the first phase, in 10^-3: lower is better;
- real share by forecast: of the voxels to which the probability of the first phase is given as 10 to 30 %, 30 to 50 %,
  and so on, the share that has it. Calibrated is the middle of each.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from shared import options, print_row, print_table, to_model

from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.pipeline.load import load
from dsdcli.training.recipes import structure_reach

NEAREST = 16
EDGES = (0.1, 0.3, 0.5, 0.7, 0.9)


def covariance_length(dataset: Dataset, side: int, ndim: int) -> float:
    """Of an exponential covariance that falls to a tenth where that of the images does, in voxels."""
    return structure_reach(dataset, side, ndim) / np.log(10)


def kriged(known: np.ndarray, crop: np.ndarray, length: float) -> np.ndarray:
    """Probability of the first phase everywhere, by ordinary indicator kriging with an exponential covariance."""
    at, value = np.argwhere(known), (crop[known] == 0).astype(float)
    targets = np.argwhere(np.ones_like(known))
    number = min(NEAREST, len(at))
    distance, index = cKDTree(at).query(targets, number)
    distance, index = distance.reshape(len(targets), number), index.reshape(len(targets), number)
    between = np.linalg.norm(at[index][:, :, None] - at[index][:, None], axis=-1)
    system = np.ones((len(targets), number + 1, number + 1))
    system[:, :-1, :-1] = np.exp(-between / length)
    system[:, -1, -1] = 0
    right = np.ones((len(targets), number + 1, 1))
    right[:, :-1, 0] = np.exp(-distance / length)
    weight = np.linalg.solve(system, right)[:, :-1, 0]
    return np.clip((weight * value[index]).sum(1), 0, 1).reshape(known.shape)


def nearest(known: np.ndarray, crop: np.ndarray) -> np.ndarray:
    at = np.argwhere(known)
    _, index = cKDTree(at).query(np.argwhere(np.ones_like(known)))
    return (crop[known] == 0).astype(float)[index].reshape(known.shape)


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("model", help="name or path of a model")
    parser.add_argument("dataset", type=Path, help="the dataset it was trained on")
    parser.add_argument("-n", type=int, default=16, help="samples of an ensemble (default 16)")
    parser.add_argument("--crops", type=int, default=4, help="held-out crops (default 4)")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05, 0.25], help="of known voxels")
    chosen = parser.parse_args()
    dataset, rng = Dataset.open(chosen.dataset), np.random.default_rng(chosen.seed)
    model = load(chosen.model, str(pick_device(chosen.device)))
    config = model.config
    crops = to_model(dataset, config)[dataset.crops("heldout", chosen.crops, config.size, rng)]
    length = covariance_length(dataset, min(config.size), config.ndim)
    names = [phase.name for phase in config.phases]
    labels = np.array([phase.label for phase in config.phases])
    unknown = int(labels.max()) + 1
    print(f"{chosen.crops} held-out crops of {config.size}, ensembles of {chosen.n}, probability of {names[0]}\n")
    bins = [f"{100 * a:.0f} to {100 * b:.0f} %" for a, b in pairwise(EDGES)]
    print_table(["known", "by", "right", "Brier, 1e-3", *bins])
    for share in chosen.shares:
        truth: list[np.ndarray] = []
        said: dict[str, list[np.ndarray]] = {f"{chosen.model}": [], "kriging": [], "nearest": []}
        for number, crop in enumerate(crops):
            known = rng.random(crop.shape) < share
            counts = {name: int((crop == k).sum()) for k, name in enumerate(names)}
            samples = model.generate(
                chosen.n,
                known=np.where(known, labels[crop], unknown),
                unknown=unknown,
                counts=counts,
                steps=chosen.steps,
                seed=chosen.seed + number,
            )
            ways = (samples.stack == 0).mean(0), kriged(known, crop, length), nearest(known, crop)
            truth.append((crop == 0)[~known])
            for found, way in zip(said.values(), ways, strict=True):
                found.append(way[~known])
        real = np.concatenate(truth)
        for name, found in said.items():
            p = np.concatenate(found)
            inside = [(p >= a) & (p < b) for a, b in pairwise(EDGES)]
            cells = [f"{100 * real[i].mean():.0f} %" if i.sum() >= 50 else "" for i in inside]
            right = 100 * ((p > 0.5) == real).mean()
            print_row([f"{100 * share:g} %", name, f"{right:.2f} %", f"{1000 * ((p - real) ** 2).mean():.1f}", *cells])


if __name__ == "__main__":
    main()
