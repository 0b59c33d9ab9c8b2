"""Give an older model the law of its material's long waves, which `dsd train` measures when it begins.

    python examples/studies/long_waves.py berea-2d rock.dsd.h5 -o berea-2d-again

The weights stay as they are. Samples start from waves whose variance and skewness follow from their volume fractions
(`dsdcli.process.long_waves`). With `--show` nothing is written: the variance of the longest waves over f (1 - f), in
crops of little to much of each phase, beside that of what samples of like fractions start from with the law and
without, all at the dose of the start; and of three waves along y, x and both the skewness.
"""

import dataclasses
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from shared import options, print_row, print_table, training_data

from dsdcli.data.dataset import Dataset
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import locate, read_config, save_config
from dsdcli.network.config import ModelConfig
from dsdcli.process.image import one_hot
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.long_waves import amplitudes
from dsdcli.process.prior import slow_waves
from dsdcli.sampling.generate import START
from dsdcli.training.run import long_waves

SHARES = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)  # quantiles of the volume fraction between which crops are taken together


def show(config: ModelConfig, dataset: Dataset, number: int, seed: int) -> None:
    """The tables, of crops of the training part."""
    crops = dataset.crops("train", number, config.size, np.random.default_rng(seed + 1))
    lattice, dose = Lattice(config.size, config.boundary), START * config.dose_max
    voxels = one_hot(torch.from_numpy(crops), len(config.phases)).double()
    fractions = voxels.flatten(2).mean(2)
    law = config.long_waves(lattice)
    fields = {"real": smooth(voxels, torch.tensor([dose]), lattice)}
    for name, own in (("law", law), ("Gaussian, f (1 - f)", dataclasses.replace(law, exponents=None))):
        generators = [torch.Generator().manual_seed(seed + i) for i in range(number)]
        fields[name] = slow_waves(fractions, own, dose, lattice, generators)
    half_waves = 1 if config.boundary == "noflux" else 2
    axes = [torch.cos(half_waves * torch.pi / side * (torch.arange(side).double() + 0.5)) for side in config.size[-2:]]
    for phase, about in enumerate(config.phases):
        f = fractions[:, phase]
        limits = torch.quantile(f, torch.tensor(SHARES).double())
        groups = [(f >= low) & (f <= high) for low, high in pairwise(limits)]
        print(f"\n{about.name}: exponent {config.range_exponents[phase]:.2f}\n")
        print_table(["", *(f"{float(f[some].mean()):.3f}" for some in groups), "skewness"])
        for name, field in fields.items():
            power = amplitudes(field, config.boundary)[..., phase].square().mean(0) / (f * (1 - f))
            plane = field[:, phase].flatten(1, -3).mean(1) if len(config.size) == 3 else field[:, phase]
            y, x = plane.mean(2) @ axes[0], plane.mean(1) @ axes[1]
            both = torch.einsum("nyx,y,x->n", plane, *axes)
            skewness = (y * x * both).mean() / (y.std() * x.std() * both.std())
            print_row([name, *(f"{float(power[some].mean()):.1f}" for some in groups), f"{float(skewness):.2f}"])


def main() -> None:
    parser = options(__doc__, "seed")
    parser.add_argument("model", help="shipped model, run or folder")
    parser.add_argument("dataset", type=Path, help="the dataset it was trained on")
    parser.add_argument("-o", "--output", type=Path, help="new folder")
    parser.add_argument("--show", type=int, metavar="N", help="compare N crops with as many starts, and write nothing")
    chosen = parser.parse_args()
    if (chosen.output is None) == (chosen.show is None):
        parser.error("name either a new folder, -o, or a number of crops, --show")
    source, weights = locate(find_model(chosen.model))
    config = read_config(source)
    dataset = training_data(parser, chosen.dataset, config)
    if config.species or [each.name for each in config.classes] != list(dataset.classes):
        parser.error("the law is of segmented images, and of a dataset with the classes of the model")
    of = (config.size, config.boundary, chosen.seed)
    classes = tuple(
        dataclasses.replace(each, **long_waves(own, *of))
        for each, own in zip(config.classes, dataset.materials, strict=False)
    )
    config = dataclasses.replace(config, classes=classes, **long_waves(dataset, *of))
    if chosen.show is not None:
        show(config, dataset, chosen.show, chosen.seed)
        return
    chosen.output.mkdir()
    save_config(chosen.output, config)
    shutil.copy(weights, chosen.output / "model.safetensors")
    print(f"{chosen.output}: exponents {', '.join(f'{b:.2f}' for b in config.range_exponents)}")


if __name__ == "__main__":
    main()
