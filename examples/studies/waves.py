"""Do the waves of samples have the power of real ones, and do they grow as fast as they should?

    python examples/studies/waves.py berea-3d berea.dsd.h5 --size 64x64x64 -n 8 --seeds 1 2 3

By bands of the wavenumber, for each phase or channel: the power of real crops of the training part over the noise of
particles that are anywhere; what the rates lack of the growth that is right from there on, in % of it over all doses
from 2 on (docs/method.md, section 5), of the network alone and as it is calibrated; and the power of samples with the
counts of held-out crops over that of held-out crops, for every seed. Growth is measured on walks of training crops.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from shared import counts_of, options, print_row, print_table, samples, slashed, to_model

from dsdcli.cli.parse import parse_size
from dsdcli.data.dataset import Dataset
from dsdcli.device import pick_device
from dsdcli.network.calibration import BANDS, band_power, doses, growth
from dsdcli.network.catalogue import find_model
from dsdcli.network.checkpoint import load_model
from dsdcli.network.intensity import IntensityNet
from dsdcli.network.model import UndoNet
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.intensity import counts_like
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.calibrate import BLOCK_SITES, particles, walked

MANY = 4  # held-out crops for each sample: their own waves differ


@torch.no_grad()
def grown(model: UndoNet, crops: np.ndarray, lattice: Lattice, power: torch.Tensor, seed: int) -> np.ndarray:
    """What rates lack of the growth of waves, over that which is right, (bands, C); NaN where no wave should grow."""
    device, config = next(model.parameters()).device, model.config
    generator, total = torch.Generator(device).manual_seed(seed), torch.zeros(2, *power.shape, dtype=torch.float64)
    for value in doses(config.dose_max).tolist():
        sums = torch.zeros(*power.shape, 3, dtype=torch.float64)
        for block in torch.from_numpy(crops).to(device).split(max(1, BLOCK_SITES // lattice.sites)):
            counts, dose = walked(block, value, config, lattice, generator)
            sums += growth(counts, model.undo(counts, dose, lattice), value, power, lattice, not config.species).cpu()
        has, right, square = sums.unbind(-1)
        seen = (power.cpu() * torch.exp(-2 * value * torch.tensor(BANDS)[:, None] ** 2) > 1) & (square > 0)
        total += torch.stack([right - has, right]) / square.clamp_min(1e-12) * value * seen
    return (total[0] / total[1]).numpy()


def power_of(stack: np.ndarray, model: UndoNet, lattice: Lattice) -> np.ndarray:
    """Power of images by band, (bands, C)."""
    blocks = torch.from_numpy(stack).split(max(1, BLOCK_SITES // lattice.sites))
    phases = not model.config.species
    parts = [band_power(particles(each, model.config).double(), lattice, phases) * len(each) for each in blocks]
    return (sum(parts) / len(stack)).numpy()  # type: ignore[union-attr]  # there is a part


def main() -> None:
    parser = options(__doc__, "steps", "device")
    parser.add_argument("model", help="name or path of a model")
    parser.add_argument("dataset", type=Path, help="the dataset it was trained on")
    parser.add_argument("--size", type=parse_size, help="sides of crops and samples (default: of the training crops)")
    parser.add_argument("-n", type=int, default=16, help="samples of a seed, and crops to measure growth on")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1], help="of samples; none: growth alone")
    parser.add_argument("--no-growth", action="store_true", help="samples alone")
    chosen = parser.parse_args()
    dataset, device = Dataset.open(chosen.dataset), pick_device(chosen.device)
    model = load_model(find_model(chosen.model), device)
    config, table = model.config, model.calibration
    size = chosen.size or config.size
    lattice = Lattice(size, config.boundary)
    names = [each.name for each in config.species or config.phases]

    def crops(split: str, number: int, seed: int) -> np.ndarray:
        found = dataset.crops(split, number, size, np.random.default_rng(seed), augment=split == "train")
        return found if config.species else to_model(dataset, config)[found]

    train, held = crops("train", max(chosen.n, 8), 0), crops("heldout", MANY * chosen.n, 0)
    columns = {"power": power_of(train, model, lattice)}
    real = power_of(held, model, lattice)
    if not chosen.no_growth:
        power = torch.from_numpy(columns["power"]).to(device)
        model.calibration = None
        columns["growth lacks, %"] = 100 * grown(model, train, lattice, power, 1)
        if table is not None:
            model.calibration = table
            columns["calibrated"] = 100 * grown(model, train, lattice, power, 2)
    for seed in chosen.seeds:
        like = crops("heldout", chosen.n, seed)
        columns[f"seed {seed}"] = power_of(_made(model, like, lattice, chosen, seed), model, lattice) / real
    print_table(["wavelength", *(f"{column}: {' / '.join(names)}" for column in columns)])
    longest = 2 * max(size) / (1 if config.boundary == "noflux" else 2)
    for row, wavenumber in enumerate(BANDS):
        if 2 * np.pi / wavenumber < 1.3 * longest:
            cells = [slashed(of[row], "4.1f" if name[0] in "pgc" else ".2f") for name, of in columns.items()]
            print_row([f"{2 * np.pi / wavenumber:.0f}", *cells])


def _made(model: UndoNet, like: np.ndarray, lattice: Lattice, chosen: argparse.Namespace, seed: int) -> np.ndarray:
    """Samples with the counts of crops."""
    if isinstance(model, IntensityNet):
        return counts_like(model, like, np.full(len(like), -1), lattice, chosen.steps, seed)
    return samples(model, counts_of(like, len(model.config.phases)), lattice, Trapezoidal(chosen.steps), seed)


if __name__ == "__main__":
    main()
