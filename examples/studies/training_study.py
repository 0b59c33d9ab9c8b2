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

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dsdcli.cli.parse import parse_size
from dsdcli.data.dataset import Dataset
from dsdcli.evaluation.crops import matched_crops
from dsdcli.evaluation.metrics import METRICS, measure
from dsdcli.network.config import Architecture, ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.process.dose import stratified_log_doses
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.origins import to_neighbours
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.trapezoidal import Trapezoidal
from dsdcli.training.loss import Losses, Walked
from dsdcli.training.recipes import TrainSettings
from dsdcli.training.run import make_config
from dsdcli.training.trainer import Trainer

CHANNELS = (24, 48, 72)
BATCH = 32
JUDGED = 512  # held-out crops, all variants after the same walks
BLOCK = 128  # of them at once
REPEATS = 4  # real crops compared with each sample


@dataclass(frozen=True)
class Variant:
    """What differs from the recipe: settings, architecture, and dotted names of what is replaced."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)


MODEL, TRAINER = "dsdcli.network.model", "dsdcli.training.trainer"


def damped(power: float) -> Variant:
    """The network corrects log(h / s) by f / (1 + 2 s)^power; the recipe has 1/2."""
    return Variant(names={f"{MODEL}.damping": lambda dose: (1 + 2 * dose) ** -power})


def no_origins(clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Nothing follows from the clean image: the network alone says log(h / s)."""
    return clean.new_zeros(*clean.shape[:2], lattice.directions, *clean.shape[2:])


def unbalanced(clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """`log_undo_ratio` of one particle at a time, as if no other claimed its origin."""
    return to_neighbours(smooth(clean.clamp_min(1e-6), dose, lattice).log())


class Attention(nn.Module):
    """Every site of the coarsest level looks at all others. What a site sees then depends on the size of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.attention = nn.MultiheadAttention(channels, 4, batch_first=True)

    def forward(self, x: torch.Tensor, condition: torch.Tensor, periodic: bool) -> torch.Tensor:
        tokens = self.norm(x).flatten(2).mT  # (B, sites, channels)
        return x + self.attention(tokens, tokens, tokens, need_weights=False)[0].mT.reshape(x.shape)


class AttentiveNet(UndoNet):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.net.down[-1].append(Attention(config.architecture.channels[-1]))


Doses = Callable[[int, float, float, torch.Generator], torch.Tensor]


def unstratified(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Independent doses, log s uniform."""
    return low * (high / low) ** torch.rand(n, generator=generator, dtype=torch.float64)


def tilted(slope: float) -> Doses:
    """Stratified doses with the density 1 + slope (u - 1/2) of u = log s, scaled to [0, 1]: -1 is three times as dense
    at the smallest dose as at the largest."""

    def doses(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
        log = np.log(high / low)
        cdf = torch.log(stratified_log_doses(n, low, high, generator) / low) / log  # uniform
        a, b = slope / 2, 1 - slope / 2  # a u^2 + b u = cdf
        return low * torch.exp(log * ((b * b + 4 * a * cdf).sqrt() - b) / (2 * a))

    return doses


def one(walked: Walked) -> torch.Tensor:
    return torch.ones(len(walked.images))


def small_dose(walked: Walked) -> torch.Tensor:
    """The recipe's weight of the clean image."""
    return 1 / torch.sqrt(1 + walked.dose.float())


def per_particle(walked: Walked) -> torch.Tensor:
    """Turns the recipe's weight of an image, the root of its particles, into their number."""
    root = walked.particles.float().sqrt()
    return root * root.sum() / (root * root).sum()


def per_crop(walked: Walked) -> torch.Tensor:
    """Turns it into equal weights of all images."""
    root = walked.particles.clamp_min(1).float().sqrt()
    return root.mean() / root


def weighted(
    undo: Callable[[Walked], torch.Tensor] = one, clean: Callable[[Walked], torch.Tensor] = small_dose
) -> Callable[[UndoNet, Walked], Losses]:
    """`dsdcli.training.loss.losses` with weights (B,) of the images in its two parts on top of its own."""

    def weighted_losses(model: UndoNet, walked: Walked) -> Losses:
        log_hat, logits = model(walked.counts, walked.dose, walked.domains)
        divergence = (walked.walking * torch.exp(log_hat) - walked.ratio * log_hat).flatten(1).sum(1)
        divergence = walked.dose.float() * divergence + walked.floor.float()
        entropy = F.cross_entropy(logits, walked.images.long(), reduction="none") * walked.walkable
        root = walked.particles.clamp_min(1).float().sqrt()
        weight = 1 / (root * root.sum())
        return Losses(
            (undo(walked) * weight * divergence).sum(),
            (clean(walked) * weight * entropy.flatten(1).sum(1)).sum(),
        )

    return weighted_losses


def importance(slope: float, config: ModelConfig) -> Callable[[Walked], torch.Tensor]:
    """Takes the density of `tilted` doses out of the loss again."""
    span = np.log(config.dose_max / config.dose_min)
    return lambda walked: 1 / (1 + slope * (torch.log(walked.dose / config.dose_min) / span - 0.5)).float()


def variants(config: ModelConfig) -> dict[str, Variant]:
    """All that is tried, by name."""

    def doses(slope: float, weigh: bool) -> Variant:
        names = {f"{TRAINER}.stratified_log_doses": tilted(slope)}
        if weigh:
            w = importance(slope, config)
            names[f"{TRAINER}.losses"] = weighted(w, lambda walked: w(walked) * small_dose(walked))
        return Variant(names=names)

    def loss(**weights: Callable[[Walked], torch.Tensor]) -> Variant:
        return Variant(names={f"{TRAINER}.losses": weighted(**weights)})

    def count(weight: Callable[[Walked], torch.Tensor]) -> Variant:
        return loss(undo=weight, clean=lambda walked: weight(walked) * small_dose(walked))

    def net(**changes: Any) -> Variant:
        return Variant(architecture=changes)

    return {
        "base": Variant(),
        "rates by the network alone": Variant(names={f"{MODEL}.log_undo_ratio": no_origins}),
        "origins not balanced": Variant(names={f"{MODEL}.log_undo_ratio": unbalanced}),
        "correction f": damped(0.0),
        "correction f / (1 + 2s)": damped(1.0),
        "doses unstratified": Variant(names={f"{TRAINER}.stratified_log_doses": unstratified}),
        "doses denser at small s": doses(-1.0, weigh=False),
        "doses denser at small s (weighted back)": doses(-1.0, weigh=True),
        "doses denser at large s": doses(1.0, weigh=False),
        "doses denser at large s (weighted back)": doses(1.0, weigh=True),
        "clean weight constant": loss(clean=one),
        "clean weight 1 / (1 + s)": loss(clean=lambda walked: 1 / (1 + walked.dose.float())),
        "clean weight x 0.3": loss(clean=lambda walked: 0.3 * small_dose(walked)),
        "clean weight x 3": loss(clean=lambda walked: 3 * small_dose(walked)),
        "images count by their particles": count(per_particle),
        "all images count the same": count(per_crop),
        "patch 1": net(patch=1),
        "patch 4": net(patch=4),
        "wider": net(channels=tuple(2 * c for c in CHANNELS)),
        "narrower": net(channels=tuple(2 * c // 3 for c in CHANNELS)),
        "one more level": net(channels=(*CHANNELS, CHANNELS[-1])),
        "2 blocks": net(blocks=2),
        "attention at the coarsest level": Variant(names={f"{TRAINER}.UndoNet": AttentiveNet}),
        "EMA 0.9": Variant({"ema": 0.9}),
        "EMA 0.99": Variant({"ema": 0.99}),
        "EMA 0.9995": Variant({"ema": 0.9995}),
        "batch 8": Variant({"batch": 8}),
        "batch 16": Variant({"batch": 16}),
        "batch 64": Variant({"batch": 64}),
        "lr 5e-4": Variant({"lr": 5e-4}),
        "lr 2e-3": Variant({"lr": 2e-3}),
        "lr 4e-3": Variant({"lr": 4e-3}),
        "half of the crops in holes": Variant({"holes": 0.5}),
        "two steps in five on wide crops": Variant({"large": 0.4}),
    }


def train(variant: Variant, config: ModelConfig, settings: TrainSettings, dataset: Dataset) -> Trainer:
    """Train one model; its ``seconds`` are those of the process."""
    settings = replace(settings, **variant.settings)
    settings = replace(settings, steps=settings.steps * BATCH // settings.batch)  # as many crops
    config = replace(config, architecture=replace(config.architecture, **variant.architecture))
    trainer = Trainer(config, settings, dataset, torch.device("cpu"))
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
            config.carried,
            stratified_log_doses(len(block), config.dose_min, config.dose_max, generator),
            lattice,
            generator,
        )
        for block in crops.split(BLOCK)
    ]


@torch.no_grad()
def judge(model: UndoNet, walks: list[Walked]) -> tuple[float, float]:
    """Held-out undo and clean losses, nats per particle."""
    likelihood = weighted(per_particle, lambda walked: per_particle(walked) * small_dose(walked))
    found = [likelihood(model, walked) for walked in walks]
    particles = torch.tensor([float(walked.particles.sum()) for walked in walks])
    parts = torch.tensor([[loss.undo, loss.clean] for loss in found])  # (blocks, 2)
    undo, clean = (particles @ parts / particles.sum()).tolist()
    return undo, clean


def fidelity(model: UndoNet, dataset: Dataset, n: int) -> tuple[float, float]:
    """Two-point error, relative, and interface of the samples over that of held-out crops of like fractions."""
    config = model.config
    crops = dataset.crops("heldout", n, config.size, np.random.default_rng(1))
    totals = np.stack([(crops == k).reshape(n, -1).sum(1) for k in range(len(config.phases))], axis=1)
    lattice = Lattice(config.size, config.boundary)
    samples = stack_of(generate(model, totals, lattice, Trapezoidal(), 0, 64))
    real = matched_crops(dataset, "heldout", samples, REPEATS, np.random.default_rng(2)).stack
    names = [phase.name for phase in config.phases]
    mean = []
    for stack in (samples, real):
        vectors = [measure(image, names, ("two-point", "interface")) for image in stack]
        mean.append({key: np.mean([v[key] for v in vectors], axis=0) for key in vectors[0]})
    kind = METRICS["two-point"].kind(len(config.size))
    error = np.mean([kind.distance(mean[0][key], mean[1][key]) for key in mean[0] if key[0] == "two-point"])
    ratio = np.mean([mean[0][key][0] / mean[1][key][0] for key in mean[0] if key[0] == "interface"])
    return float(error), float(ratio)


def row(*cells: Any) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=400, help=f"steps of {BATCH} crops each (default 400)")
    length.add_argument("--minutes", type=float, help="train every model for this long instead")
    parser.add_argument("--size", type=parse_size, default=(32, 32))
    parser.add_argument("--variants", help="names, separated by commas (default: all)")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one or more; each is trained")
    parser.add_argument("--fidelity", type=int, metavar="N", help="also generate N samples with each model")
    options = parser.parse_args()
    dataset = Dataset.open(options.dataset)
    settings = TrainSettings(
        "tiny", options.size, options.steps, None, BATCH, 1e-3, 0, "noflux", "float32", holes=0.0, large=0.0
    )
    if options.minutes:
        settings = replace(settings, steps=10**6, max_seconds=60 * options.minutes)
    config = replace(make_config(dataset, settings), architecture=Architecture(CHANNELS))
    table = variants(config)
    chosen = options.variants.split(",") if options.variants else list(table)
    if unknown := set(chosen) - set(table):
        parser.error(f"no variant {', '.join(sorted(unknown))}; there are: {', '.join(table)}")
    walks = judged_walks(config, dataset)
    head = ["variant", "seed", "parameters", "steps", "seconds", "undo", "clean", "sum"]
    head += ["two-point error", "interface / real"] if options.fidelity else []
    row(*head)
    row(*("---" for _ in head))
    for name in chosen:
        for seed in options.seed:
            with ExitStack() as stack:
                for what, instead in table[name].names.items():
                    stack.enter_context(patch(what, instead))
                trainer = train(table[name], config, replace(settings, seed=seed), dataset)
                undo, clean = judge(trainer.average, walks)
                found = fidelity(trainer.average, dataset, options.fidelity) if options.fidelity else None
            parameters = sum(p.numel() for p in trainer.model.parameters())
            cells = [name, seed, f"{parameters / 1e3:.0f} k", trainer.step, f"{trainer.seconds:.0f}"]
            cells += [f"{undo:.4f}", f"{clean:.4f}", f"{undo + clean:.4f}"]
            if found:
                error, ratio = found
                cells += [f"{100 * error:.1f} %", f"{ratio:.3f}"]
            row(*cells)


if __name__ == "__main__":
    main()
