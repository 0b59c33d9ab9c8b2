"""The training loop: a generator that yields what happened and prints nothing."""

import copy
import math
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.network.config import ModelConfig
from dsdcli.network.model import UndoNet
from dsdcli.process.dose import stratified_log_doses
from dsdcli.process.hole import Hole
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import ALL
from dsdcli.ranks import Ranks, gradient
from dsdcli.training.holes import Holes
from dsdcli.training.known import random_known
from dsdcli.training.loss import Losses, Walked, losses
from dsdcli.training.recipes import WIDE, TrainSettings, wider_crops
from dsdcli.training.start import start_from
from dsdcli.training.state import restore_state, save_state
from dsdcli.training.told import Bank, Told, draw_told, validation_crops

VALIDATION_BLOCK = 2**17  # sites that walk together, whatever the batch, so that runs can be compared
FINAL_LR = 0.02  # of the peak


@dataclass(frozen=True)
class Report:
    """One optimiser step: its loss, mean and median loss of the last 100 steps, and the validation loss when one was
    made."""

    step: int
    loss: float
    mean: float
    median: float
    lr: float
    seconds: float
    validation: float | None = None
    best: bool = False


class Trainer:
    """Trains one model on one dataset; everything needed to go on identically is in `save` / `restore`.

    A recipe of another kind is a subclass: with another ``network``, ``walked`` images, `doses`, `losses`, or
    `highest` dose that a domain needs.

    Args:
        ranks: each has its own trainer, all do the same steps together. Every one draws all random numbers of a batch
            and lets its share of the images walk and pass through the network; their losses and gradients are added up.
            So a batch, and the numbers it leads to, do not depend on how many ranks there are.
        bank: crops whose properties are known, for a model that is told these.
    """

    network: ClassVar[type[UndoNet]] = UndoNet
    walked: ClassVar[type[Walked]] = Walked

    def __init__(
        self,
        config: ModelConfig,
        settings: TrainSettings,
        dataset: Dataset,
        device: torch.device,
        ranks: Ranks = Ranks(),  # noqa: B008  # frozen
        bank: Bank | None = None,
    ) -> None:
        self.settings, self.dataset, self.device, self.ranks, self.bank = settings, dataset, device, ranks, bank
        self.lattice = Lattice(settings.size, settings.boundary)
        torch.manual_seed(settings.seed)
        self.model = self.network(config).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.lr, weight_decay=0.01, betas=(0.9, 0.99)
        )
        self.domains = Holes(self.lattice, settings.holes, settings.seed)
        self.wide = self._wide()
        self.rng = np.random.default_rng(settings.seed)
        self.generator = torch.Generator(device).manual_seed(settings.seed)
        self.step = 0
        self.seconds = 0.0
        self.best = math.inf
        self.recent: deque[float] = deque(maxlen=100)

    def _wide(self) -> list[tuple[int, Holes]]:
        """How many wider crops make up a batch, and where they walk, for every width that the images can hold."""
        s, found = self.settings, []
        for number, factor in wider_crops(s):
            shape = tuple(factor * side for side in s.size)
            if self.dataset.holds("train", shape):
                share = s.holes if factor == WIDE[0] else 0.0
                found.append((number, Holes(Lattice(shape, s.boundary), share, s.seed)))
        return found

    def start_from(self, model: UndoNet, order: Sequence[int] | None = None) -> None:
        """As `dsdcli.training.start.start_from`."""
        start_from(model, self.model, self.average, order=order)

    def run(self) -> Iterator[Report]:
        """Train to the end of the settings, one report a step; may be left at any report and resumed from `save`."""
        while not self.finished():
            began = time.monotonic()
            lr = self.learning_rate()
            loss = self.train_step(lr)
            self.step += 1
            self.recent.append(loss)
            self.seconds = self.ranks.of_first(self.seconds + time.monotonic() - began)  # decides on the learning rate
            validation, best = None, False
            if self.step % self.settings.validate_every == 0 or self.finished():
                validation = self.validate()
                best = validation < self.best
                self.best = min(self.best, validation)
            mean, median = statistics.fmean(self.recent), statistics.median(self.recent)
            yield Report(self.step, loss, mean, median, lr, self.seconds, validation, best)

    def progress(self) -> float:
        """Share of the run that is done, 0 to 1, by steps or by time, whichever ends it first."""
        done = self.step / self.settings.steps
        if self.settings.max_seconds is not None:
            done = max(done, self.seconds / self.settings.max_seconds)
        return min(done, 1.0)

    def finished(self) -> bool:
        return self.progress() >= 1.0

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to 2 % of the peak."""
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        decay = FINAL_LR + (1 - FINAL_LR) * 0.5 * (1 + math.cos(math.pi * self.progress()))
        return self.settings.lr * warm * decay

    def train_step(self, lr: float) -> float:
        """One batch, one optimiser step, one update of the averaged weights; returns the loss.

        Raises:
            FloatingPointError: the loss is not finite; the weights are then still those of the last step.
        """
        self.optimizer.zero_grad(set_to_none=True)
        value = 0.0
        for loss in self.batch_losses():
            value += loss.item()
            if loss.requires_grad:
                loss.backward()
        value = self.ranks.sum(value)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss became {value} at step {self.step}")
        if self.ranks.count > 1:
            self.ranks.add([gradient(weight) for weight in self.model.parameters()])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        # A short average early on, so that the zero initialisation is soon forgotten.
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():  # else the average would keep the graph of every step
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return value

    def batch_losses(self) -> Iterator[torch.Tensor]:
        """Loss of the model on new crops, of the usual size or wider, after their walk: what this rank adds to it, in
        parts that add up. The network sees one after another, so that it holds no more than one at a time."""
        for walked in self.draw().cut(self.settings.accumulate):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
                loss = self.share_loss(self.model, walked)
            yield loss

    def draw(self) -> Walked:
        """New crops after their walk: this rank's share of a batch."""
        s = self.settings
        number, domains = s.batch, self.domains
        if self.wide and self.rng.random() < s.large:
            number, domains = self.wide[int(self.rng.integers(len(self.wide)))]
        crops, told = draw_told(self.dataset, self.bank, number, domains.lattice.shape, self.rng, s.unconditional)
        return self.walk(crops, domains, self.rng, self.generator, told)

    def share_loss(self, model: UndoNet, walked: Walked) -> torch.Tensor:
        """What the images of this rank add to the loss of a batch: nothing where there are fewer images than ranks."""
        return self.losses(model, walked).total if len(walked.images) else torch.zeros((), device=self.device)

    def walk(
        self, crops: np.ndarray, domains: Holes, rng: np.random.Generator, generator: torch.Generator, told: Told
    ) -> Walked:
        """The forward walk of crops (B, *L): some on the whole lattice, others in a hole, at doses up to its mixing.

        All random numbers are drawn, and this rank's share of the images is returned. ``told`` is what the network is
        told of every crop, but for the properties of those with holes.
        """
        config, mine = self.model.config, self.ranks.share(len(crops))
        parts, done = [], 0
        for number, domain in domains.draw(len(crops), rng):
            images = torch.from_numpy(crops[done : done + number]).to(self.device)
            high = max(min(config.dose_max, self.highest(domain)), 2 * config.dose_min)
            dose = self.doses(number, config.dose_min, high, generator)
            known = None if isinstance(domain, Hole) else self.known(number, domain, rng)
            kinds, properties = (part.to(self.device) for part in told.tensors(slice(done, done + number)))
            if isinstance(domain, Hole):  # nobody knows the property of an image that has one
                properties = torch.full_like(properties, math.nan)
            low, end = (min(max(at - done, 0), number) for at in (mine.start, mine.stop))
            share = slice(low, end) if self.ranks.count > 1 else ALL
            drawn = (images, len(config.fractions), dose, domain, generator, known, kinds, share, properties)
            parts.append(self.walked.draw(*drawn))
            done += number
        return self.walked.join(parts)

    def known(self, number: int, lattice: Lattice, rng: np.random.Generator) -> torch.Tensor | None:
        """Voxels that the network is told, none in most images: bool (B, *L)."""
        masks = np.zeros((number, *lattice.shape), bool)
        for mask in masks:
            if rng.random() < self.settings.known:
                mask[:] = random_known(lattice.shape, rng)
        return torch.from_numpy(masks).to(self.device)

    def highest(self, domain: Lattice) -> float:
        """Dose at which all is mixed on a domain: none of more is trained there."""
        return domain.mixing_dose()

    def doses(self, number: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
        """Doses (B,) of the crops of a batch."""
        return stratified_log_doses(number, low, high, generator)

    def losses(self, model: UndoNet, walked: Walked) -> Losses:
        """What is minimised."""
        return losses(model, walked)

    @torch.no_grad()
    def validate(self) -> float:
        """Loss of the averaged weights on held-out crops, with the same crops, holes, doses and walks every time."""
        rng = np.random.default_rng(0)
        crops, told = validation_crops(self.dataset, self.settings.size, rng, self.bank)
        number = len(crops)
        generator = torch.Generator(self.device).manual_seed(0)
        total, block = 0.0, max(1, VALIDATION_BLOCK // self.lattice.sites)
        for i in range(0, number, block):
            walked = self.walk(crops[i : i + block], self.domains, rng, generator, told.part(slice(i, i + block)))
            total += self.share_loss(self.average, walked).item() * len(walked.batch)
        return self.ranks.sum(total) / number

    def save(self, folder: Path) -> None:
        """Write the full state for `restore`, in one atomic file."""
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "recent": list(self.recent),
            "crops": self.rng.bit_generator.state,
        }
        save_state(folder, self.model, self.average, self.optimizer, self.generator, progress)

    def restore(self, folder: Path) -> None:
        """Go on from `save`: the same weights, moments and random numbers; raises as `restore_state`."""
        restore_state(folder, self.model, self.average, self.optimizer, self.generator, self._take)

    def _take(self, progress: dict[str, Any]) -> None:
        self.rng.bit_generator.state = progress["crops"]
        self.step, self.seconds = int(progress["step"]), float(progress["seconds"])
        self.best = float(progress["best"])
        self.recent.extend(map(float, progress["recent"]))
