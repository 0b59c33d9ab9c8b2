"""What does a network expect beside known voxels? Unlike neighbours across rims, over those that there are.

    python examples/studies/rims.py berea-2d rock.dsd.h5 -n 64

Held-out crops walk to each dose in holes, boxes and free-form ones as in the training, and on whole lattices where the
network is told points, lines, planes or one side. At every site beside what is known its guess gives the number of
unlike neighbours to expect: the columns are these, summed over the crops, over the true number, and the entropy of the
phases there in nats a site; without and with the second look of the model (`dsdcli.network.near`), and standard errors
over groups of crops. Of ratios 1 is right, of entropies the lowest.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from shared import options, print_row, print_table

from dsdcli.data.dataset import Dataset
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.network.model import Given, UndoNet
from dsdcli.process.hole import Hole
from dsdcli.process.image import beside, one_hot, place
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import forward
from dsdcli.training.holes import random_blobs, random_boxes
from dsdcli.training.known import random_known

DOSES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 800.0)
GROUP = 8  # crops that share a hole


@torch.no_grad()
def expected(model: UndoNet, images: torch.Tensor, domain: Lattice, told: torch.Tensor | None, dose: float, seed: int):
    """Of crops (B, *L) at a dose: unlike neighbours across rims that the network expects and true ones, entropy of the
    sites there, and their number."""
    phases = len(model.config.phases)
    clean = one_hot(images, phases)
    walkable = domain.walkable(images.device)
    doses = torch.full((len(images),), dose, dtype=torch.float64)
    walked, _ = forward(place(clean & walkable), doses, domain, torch.Generator().manual_seed(seed))
    counts = walked.occupancy(domain, len(images), phases) + (clean & ~walkable)
    sure = clean & ~walkable if told is None else clean & told[:, None]
    given = Given(None if told is None else sure)
    logits = model(counts, doses, [(len(images), domain)], given).logits.double()
    near = beside(sure, model.config.boundary == "periodic")
    where = (near.sum(1) > 0) & ~sure.any(1)
    near, p, truth = (each.movedim(1, -1)[where] for each in (near, logits.softmax(1), clean.double()))
    entropy = F.cross_entropy(logits.movedim(1, -1)[where], images[where], reduction="sum")
    return float((near * (1 - p)).sum()), float((near * (1 - truth)).sum()), float(entropy), int(where.sum())


def ratio(found: np.ndarray, real: np.ndarray) -> str:
    """Of the sums, with its standard error."""
    value = found.sum() / real.sum()
    error = np.sqrt(len(real) * (found - value * real).var(ddof=1)) / real.sum()
    return f"{value:.2f} ({error:.2f})"


def main() -> None:
    parser = options(__doc__, "seed")
    parser.add_argument("model", help="shipped model, run or folder")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-n", type=int, default=64, help="held-out crops (default 64)")
    chosen = parser.parse_args()
    model, dataset = load_model(find_model(chosen.model)), Dataset.open(chosen.dataset)
    near, rng, lattice = (
        model.near,
        np.random.default_rng(chosen.seed),
        Lattice(model.config.size, model.config.boundary),
    )
    crops = torch.from_numpy(dataset.crops("heldout", chosen.n, model.config.size, rng, augment=True)).long()
    told, holes = [], []
    for turn, images in enumerate(crops.split(GROUP)):
        hole: Hole = (random_blobs if turn % 2 else random_boxes)(lattice, rng)
        holes.append((images, hole, None))
        known = np.stack([random_known(lattice.shape, rng) for _ in images])
        told.append((images, lattice, torch.from_numpy(known)))
    ways = {"in holes": holes, "told voxels": told}
    words = ("network alone", "second look")
    print_table(["dose", *(f"{way}, {what}" for way in ways for what in (*words, *(f"entropy, {w}" for w in words)))])
    for dose in DOSES:
        if dose > model.config.dose_max:
            break
        row = [f"{dose:g}"]
        for groups in ways.values():
            ratios, entropies = [], []
            for look in (None, near):
                model.near = look
                found = np.array([expected(model, *group, dose, chosen.seed + i) for i, group in enumerate(groups)])
                ratios.append(ratio(found[:, 0], found[:, 1]))
                entropies.append(f"{found[:, 2].sum() / found[:, 3].sum():.4f}")
            row += ratios + entropies
        print_row(row)


if __name__ == "__main__":
    main()
