"""What makes training better? One change at a time against the recipe of `dsd train`, judged on the same walks.

    python examples/studies/training_study.py rock.dsd.h5 --steps 400
    python examples/studies/training_study.py rock.dsd.h5 --minutes 1 --variants "base,patch 1,patch 4" --seed 0 1 2

Prints a Markdown row as soon as a model is trained. "undo" is the likelihood of the process, "clean" the cross
entropy of the clean image, both in nats per particle, for the averaged weights on held-out crops, and always with log s
uniform, however a variant trains. The recipe is that of `dsd train`, with small crops, half the channels of its
smallest preset, and whole crops of one size only, so that a model takes a minute or less. With --steps all see as many
crops; with --minutes all take as long. Seconds are those of the process, so that other work on the machine distorts
them little.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from shared import counts_of, mean_vectors, options, print_row, print_table, samples
from training_variants import CHANNELS, Variant, VariantTrainer, small_dose, variants

from dsdcli.cli.parse import parse_size
from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.metrics import METRICS
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.process.dose import stratified_log_doses
from dsdcli.process.lattice import Lattice
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.loss import Walked, image_losses
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config

BATCH = 32
JUDGED = 512  # held-out crops, all variants after the same walks
BLOCK = 128  # of them at once
REPEATS = 4  # real crops compared with each sample


def train(variant: Variant, config: ModelConfig, settings: TrainSettings, dataset: Dataset) -> VariantTrainer:
    """Train one model; its ``seconds`` are those of the process."""
    settings = replace(settings, **variant.settings)
    settings = replace(settings, steps=settings.steps * BATCH // settings.batch)  # as many crops
    config = replace(config, architecture=replace(config.architecture, **variant.architecture))
    trainer = VariantTrainer(variant, config, settings, dataset)
    while not trainer.finished():
        began = time.process_time()
        trainer.train_step(trainer.learning_rate())
        trainer.step += 1
        trainer.seconds += time.process_time() - began
    return trainer


def judged_walks(config: ModelConfig, dataset: Dataset) -> list[Walked]:
    """Held-out crops after their walks, the same for all variants, in blocks that each hold all doses."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.from_numpy(dataset.crops("heldout", JUDGED, config.size, np.random.default_rng(0)))
    lattice = Lattice(config.size, config.boundary)
    return [
        Walked.draw(
            block,
            len(config.phases),
            stratified_log_doses(len(block), config.dose_min, config.dose_max, generator),
            lattice,
            generator,
        )
        for block in crops.split(BLOCK)
    ]


@torch.no_grad()
def judge(model: UndoNet, walks: list[Walked]) -> tuple[float, float]:
    """Held-out undo and clean losses, nats per particle."""
    sums = torch.zeros(3, dtype=torch.float64)
    for walked in walks:
        undo, entropy = image_losses(model, walked)
        sums += torch.stack([undo.sum(), (small_dose(walked) * entropy).sum(), walked.particles.sum()])
    undo, clean = (sums[:2] / sums[2]).tolist()
    return undo, clean


def fidelity(model: UndoNet, dataset: Dataset, n: int) -> tuple[float, float]:
    """Two-point error, relative, and interface of the samples over that of held-out crops of like fractions."""
    config = model.config
    crops = dataset.crops("heldout", n, config.size, np.random.default_rng(1))
    lattice = Lattice(config.size, config.boundary)
    made = samples(model, counts_of(crops, len(config.phases)), lattice, Trapezoidal(), 0)
    real = matched_crops(dataset, "heldout", made, REPEATS, np.random.default_rng(2)).stack
    names = [phase.name for phase in config.phases]
    mean, truth = (mean_vectors(stack, names, ("two-point", "interface")) for stack in (made, real))
    kind = METRICS["two-point"].kind(len(config.size))
    error = np.mean([kind.distance(mean[key], truth[key]) for key in mean if key[0] == "two-point"])
    ratio = np.mean([mean[key][0] / truth[key][0] for key in mean if key[0] == "interface"])
    return float(error), float(ratio)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("dataset", type=Path)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=400, help=f"steps of {BATCH} crops each (default 400)")
    length.add_argument("--minutes", type=float, help="train every model for this long instead")
    parser.add_argument("--size", type=parse_size, default=(32, 32))
    parser.add_argument("--variants", help="names, separated by commas (default: all)")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one or more; each is trained")
    parser.add_argument("--fidelity", type=int, metavar="N", help="also generate N samples with each model")
    chosen = parser.parse_args()
    dataset = Dataset.open(chosen.dataset)
    settings = TrainSettings(
        "tiny", chosen.size, chosen.steps, None, BATCH, 1e-3, 0, "noflux", "float32", holes=0.0, large=0.0
    )
    if chosen.minutes:
        settings = replace(settings, steps=10**6, max_seconds=60 * chosen.minutes)
    config = replace(make_config(dataset, settings), architecture=Architecture(CHANNELS))
    table = variants(config)
    names = chosen.variants.split(",") if chosen.variants else list(table)
    if unknown := set(names) - set(table):
        parser.error(f"no variant {', '.join(sorted(unknown))}; there are: {', '.join(table)}")
    walks = judged_walks(config, dataset)
    head = ["variant", "seed", "parameters", "steps", "seconds", "undo", "clean", "sum"]
    head += ["two-point error", "interface / real"] if chosen.fidelity else []
    print_table(head)
    for name in names:
        for seed in chosen.seed:
            trainer = train(table[name], config, replace(settings, seed=seed), dataset)
            undo, clean = judge(trainer.average, walks)
            found = fidelity(trainer.average, dataset, chosen.fidelity) if chosen.fidelity else None
            parameters = sum(p.numel() for p in trainer.model.parameters())
            cells = [name, seed, f"{parameters / 1e3:.0f} k", trainer.step, f"{trainer.seconds:.0f}"]
            cells += [f"{undo:.4f}", f"{clean:.4f}", f"{undo + clean:.4f}"]
            if found:
                error, ratio = found
                cells += [f"{100 * error:.1f} %", f"{ratio:.3f}"]
            print_row(cells)


if __name__ == "__main__":
    main()
