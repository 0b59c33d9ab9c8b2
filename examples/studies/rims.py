"""What does a network expect beside known voxels? Unlike neighbours across rims, over those that there are.

    python examples/studies/rims.py berea-2d rock.dsd.h5 -n 64

Held-out crops walk to each dose in holes, boxes and free-form ones as in the training, and on whole lattices where the
network is told points, lines, planes or one side. At every site beside what is known its guess gives the number of
unlike neighbours to expect: the columns are these, summed over the crops, over the true number, without and with the
calibration of the model (`dsdcli.network.neighbours`), and standard errors over groups of crops. 1 is right.
"""

from pathlib import Path

import numpy as np
import torch
from shared import options, print_row, print_table

from dsdcli.data.dataset import Dataset
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.network.model import UndoNet
from dsdcli.training.beside import CutCrops

DOSES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 800.0)
KINDS = ("in holes", "told voxels")


def expected(model: UndoNet, crops: CutCrops, dose: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Unlike neighbours across rims, expected and true, of every group of crops; in holes and beside told voxels."""
    groups: tuple[list[np.ndarray], ...] = ([], [])
    for kind, logits, near, truth in crops.beside(model, dose):
        p, own = logits.double().softmax(1), torch.nn.functional.one_hot(truth, logits.shape[1])
        groups[kind].append(np.array([float((near * (1 - p)).sum()), float((near * (1 - own)).sum())]))
    return [tuple(np.array(each).T) for each in groups]


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
    model = load_model(find_model(chosen.model))
    crops = CutCrops.draw(model.config, Dataset.open(chosen.dataset), "heldout", chosen.n, chosen.seed)
    table = model.neighbours
    print_table(["dose", *(f"{kind}, {word}" for kind in KINDS for word in ("network alone", "calibrated"))])
    for dose in DOSES:
        if dose > model.config.dose_max:
            break
        cells = []
        for neighbours in (None, table):
            model.neighbours = neighbours
            crops.generator.manual_seed(chosen.seed)  # the same walks for both
            cells.append([ratio(*each) for each in expected(model, crops, dose)])
        print_row([f"{dose:g}", *(cell for pair in zip(*cells, strict=True) for cell in pair)])


if __name__ == "__main__":
    main()
