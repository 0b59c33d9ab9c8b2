"""Real crops, walked to a dose and back: at which doses does the walk back leave the real statistics?

    python examples/studies/round_trip.py berea-2d berea.dsd.h5

Each crop is compared with itself, so that a few of them show a bias of one per cent. `decoded` rows walk to a dose and
decode there and then: how near the decoding is to the identity. The others walk back from it in as many leaps as
`dsd generate` takes over these doses. A posterior sample differs from its crop, but not on average. The last rows,
`start`, are samples with the counts of the crops: beside a walk back from the largest dose they show what is wrong with
the waves that samples start from.

- differ: voxels of another phase than in the crop;
- two-point: distance of the mean two-point correlations, of each phase;
- lineal path, pore size, interface: mean path and mean radius of each phase, interface of each pair, relative to
  those of the crops.

Crops come from the training part, so that what is chosen by this table can be judged on the held-out part.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from shared import counts_of, mean_vectors, options, print_row, print_table, samples, slashed, to_model

from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.evaluation.metrics import METRICS, Vectors
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.network.model import UndoNet
from dsdcli.process.image import decode, one_hot, place
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import forward
from dsdcli.sampling.blocks import InBlocks
from dsdcli.sampling.generate import START, sample_seed
from dsdcli.sampling.trapezoidal import Trapezoidal

BATCH = 64
COMPARED = ("two-point", "lineal-path", "pore-size", "interface")


def leaps(dose: float, top: float, settings: Trapezoidal) -> int:
    """How many of the leaps from ``top`` lie below a dose."""
    low, here, high = (s ** (1 / settings.rho) for s in (settings.dose_end, dose, top))
    return max(1, math.ceil(settings.steps * (here - low) / (high - low)))


def there_and_back(
    model: UndoNet, crops: np.ndarray, dose: float, steps: int, dose_end: float, seed: int
) -> Iterator[np.ndarray]:
    """Images with the counts of the crops, from their particles after a dose; ``steps`` 0: decoded at that dose."""
    config, device = model.config, next(model.parameters()).device
    lattice = Lattice(crops.shape[1:], config.boundary)
    for first in range(0, len(crops), BATCH):
        images = torch.from_numpy(crops[first : first + BATCH]).to(device)
        seeds = [sample_seed(seed, first + i) for i in range(len(images))]
        generators = [torch.Generator(device).manual_seed(s) for s in seeds]
        start = place(one_hot(images, model.phases))
        doses = torch.full((len(images),), dose, dtype=torch.float64, device=device)
        walkers, _ = forward(start, doses, lattice, torch.Generator(device).manual_seed(seeds[0]))
        undo, clean = InBlocks(model.undo, first), InBlocks(model.clean, first)
        if steps:
            sampler = Trapezoidal(steps, dose_end=dose_end)
            *_, walkers = sampler.walk(walkers, model.phases, undo, lattice, dose, generators)
        occupied = walkers.occupancy(lattice, len(images), model.phases)
        end = torch.full_like(doses, dose_end if steps else dose)
        probability = clean(occupied, end, lattice).cpu().numpy()
        for image, p, n in zip(crops[first : first + BATCH], probability, occupied.cpu().numpy(), strict=True):
            wanted = np.bincount(image.ravel(), minlength=len(config.phases))
            yield decode(p, n, wanted[None], lattice).image


def compared(made: Vectors, real: Vectors, ndim: int) -> list[str]:
    """The last cells of a line."""
    cells = []
    for metric in COMPARED:
        kind = METRICS[metric].kind(ndim)
        pairs = [(made[key], real[key]) for key in real if key[0] == metric]
        if metric == "two-point":
            cells.append(slashed(100 * kind.distance(a, b) for a, b in pairs))
        else:
            cells.append(slashed((kind.summary(a) / kind.summary(b) for a, b in pairs), ".3f"))
    return cells


def main() -> None:
    parser = options(__doc__, "steps", "seed", "device")
    parser.add_argument("model", help="name or path of a model")
    parser.add_argument("dataset", type=Path, help="the dataset it was trained on")
    parser.add_argument("-n", type=int, default=64, help="crops (default 64)")
    parser.add_argument("--doses", type=float, nargs="*", default=[0.5, 2, 10, 40, 150], help="to walk back from")
    parser.add_argument(
        "--ends", type=float, nargs="+", default=[Trapezoidal().dose_end], help="doses at which to decode"
    )
    chosen = parser.parse_args()
    dataset = Dataset.open(chosen.dataset)
    model = load_model(find_model(chosen.model), pick_device(chosen.device))
    config = model.config
    names = [phase.name for phase in config.phases]
    crops = to_model(dataset, config)[dataset.crops("train", chosen.n, config.size, np.random.default_rng(chosen.seed))]
    real = mean_vectors(crops, names, COMPARED)
    subjects = {metric: " / ".join(key[1].replace("|", "-") for key in real if key[0] == metric) for metric in COMPARED}
    head = [f"{METRICS[m].title.split(' by ')[0].split(',')[0].lower()}: {subjects[m]}" for m in COMPARED]
    print(f"{chosen.n} crops of {config.dataset}, {chosen.model}; two-point in %, the others made / real\n")
    print_table(["from dose", "leaps", "decoded at", "differ", *head])
    top = START * config.dose_max
    trips = [(end, 0, end) for end in chosen.ends]
    for dose in chosen.doses:
        for end in chosen.ends:
            trips.append((dose, leaps(dose, top, Trapezoidal(chosen.steps, dose_end=end)), end))

    def show(stack: np.ndarray, dose: str, steps: int, end: float) -> None:
        cells = [dose, f"{steps or ''}", f"{end:g}", f"{100 * (stack != crops).mean():.2f} %"]
        print_row([*cells, *compared(mean_vectors(stack, names, COMPARED), real, len(config.size))])

    for dose, steps, end in trips:
        show(np.stack(list(there_and_back(model, crops, dose, steps, end, chosen.seed))), f"{dose:g}", steps, end)
    lattice, totals = Lattice(config.size, config.boundary), counts_of(crops, len(names))
    for end in chosen.ends:
        sampler = Trapezoidal(chosen.steps, dose_end=end)
        show(samples(model, totals, lattice, sampler, chosen.seed), "start", chosen.steps, end)


if __name__ == "__main__":
    main()
