"""The network: a guess of the clean image, and the undo counts that follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from dsdcli.network.calibration import LEAST_DOSE, corrected, pull
from dsdcli.network.conditions import class_features, dose_features, names, property_features
from dsdcli.network.config import ModelConfig
from dsdcli.network.coupling import attraction
from dsdcli.network.local import LocalNet
from dsdcli.network.near import Near
from dsdcli.network.padding import pad
from dsdcli.network.tabled import Tabled
from dsdcli.process.cells import Cells
from dsdcli.process.hole import Hole
from dsdcli.process.image import within
from dsdcli.process.lattice import Lattice
from dsdcli.process.origins import log_undo_ratio

CERTAIN = 40.0  # logit of a phase that is known
NEAR = 12  # voxels from a known one within which the guess is not calibrated


class Prediction(NamedTuple):
    """What the network says of a batch at a dose.

    Attributes:
        log_ratio: log(h / s), float32 (B, C, 2d, *L); meaningless towards a wall.
        logits: of the phase of every site of the clean image, float32 (B, K, *L).
    """

    log_ratio: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True, eq=False)
class Given:
    """What is given of the clean images of a batch, beside the counts of all their voxels.

    Attributes:
        known: True for the phase that a voxel is known to have, bool (B, K, *L); None where nothing is known.
        cells: boxes whose own counts are given; None for none.
        totals: voxels of each phase in each cell (B, R, K).
        kinds: number of the class of each image, int64 (B,), -1 where the network is not told; None for no image, or
            for what the network is the model of.
        properties: standardised numbers of each image, (B, P), NaN where the network is not told; None for no image.
        told: False where the network is not told what it is the model of.
    """

    known: torch.Tensor | None = None
    cells: Cells | None = None
    totals: torch.Tensor | None = None
    kinds: torch.Tensor | None = None
    properties: torch.Tensor | None = None
    told: bool = True

    def take(self, which: Sequence[int]) -> "Given":
        """Of these images of the batch."""
        parts = (self.known, self.totals, self.kinds, self.properties)
        known, totals, kinds, properties = (None if part is None else part[list(which)] for part in parts)
        return Given(known, self.cells, totals, kinds, properties, self.told)

    def impose(self, logits: torch.Tensor, dose: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, *L) of the clean image that agree with what is given, at doses (B,)."""
        if self.cells is not None and self.totals is not None:
            followed = dose >= self.cells.least_dose
            if followed.any():
                met = self.cells.meet(logits, self.totals)
                logits = torch.where(followed.view(-1, *(1,) * (logits.ndim - 1)), met, logits)
        if self.known is not None:
            logits = torch.where(self.known.any(1, keepdim=True), CERTAIN * self.known.float(), logits)
        return logits


NOTHING = Given()
OF_NEAR = "near."  # how the names of its weights begin


class UndoNet(Tabled):
    """Predicts the phase of every site of the clean image, and undo counts h_v(x, c) = s R_v exp(f / sqrt(1 + 2 s)):
    R follows from that image (`dsdcli.process.origins`), f is the network's correction (method.md, section 5).

    The network sees the counts of the phases, a mask channel: 1 on the sites where particles may walk, -1
    where they are frozen, and, where voxels of the clean image are known, what they are; the zero padding of its
    convolutions then shows it where the image ends, at no cost. The condition is log s, the mean count of each phase
    where it may walk, in a model of several materials which one it is, and the numbers that it can be told besides (all
    zeros where it is not told).
    """

    near: Near | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.phases = len(config.fractions)
        inputs = self.phases + 1 + len(config.phases)
        outputs = self.phases * 2 * config.ndim + len(config.phases)
        classes, properties = ([each.name for each in told] for told in (config.classes, config.properties))
        self.conditions = names(self.phases, classes, properties)
        self.general = len(names(self.phases, classes, ()))  # of them, before the properties
        condition = len(self.conditions)
        self.without_tables()
        self.net = LocalNet(config.ndim, inputs, outputs, condition, config.architecture)
        self.near = None

    def is_finished(self) -> bool:
        """Whether something was learned or measured on the finished weights: a second look, or tables."""
        return self.near is not None or self.has_tables()

    def look_again(self) -> Near:
        """Give the network a second look beside what is known, which changes nothing yet. It is not told of
        properties."""
        config, phases = self.config, len(self.config.phases)
        self.near = Near(config.ndim, phases + self.phases + 1, self.phases * 2 * config.ndim + phases, self.general)
        return self.near

    def forward(
        self,
        counts: torch.Tensor,
        dose: torch.Tensor,
        domains: Sequence[tuple[int, Lattice]],
        given: Given = NOTHING,
    ) -> Prediction:
        """Predictions for counts (B, C, *L), those of frozen particles included, at doses (B,).

        Args:
            domains: how many of the images, one after another, are on which lattice or in which hole.
            given: of the clean images. Known voxels are an input of the network; the totals of cells shift its guess.
        """
        walkable = where_walkable(domains, counts.device)
        inside = walkable[:, None].float()  # (B, 1, *L)
        mean = (counts * inside).flatten(2).sum(2) / inside.flatten(2).sum(2)  # (B, C)
        fields = [counts - mean[(..., *(None,) * self.config.ndim)], 2 * inside - 1]
        field = torch.cat(fields if given.known is None else [*fields, given.known.float()], dim=1)
        condition = self.condition(dose, mean, given)
        periodic = domains[0][1].boundary == "periodic"
        padded, crop, ring = pad(field, self.config.architecture.multiple, periodic)
        out = self.net(padded, condition, ring)[(..., *crop)].float()
        if self.near is not None:
            sure = known_voxels(counts, walkable, domains, given)
            if sure is not None:
                out = self.near(out, sure, torch.cat(fields, dim=1), condition[:, : self.general], periodic)
        rates, logits = out.split([out.shape[1] - len(self.config.phases), len(self.config.phases)], dim=1)
        rates = rates.unflatten(1, (self.phases, 2 * self.config.ndim))
        with torch.autocast(counts.device.type, enabled=False):
            sizes = [number for number, _ in domains]
            table = None if given.properties is not None else self.calibration  # properties tell of long waves too
            far = far_from(given.known, walkable).split(sizes)
            parts = zip(logits.split(sizes), counts.split(sizes), dose.split(sizes), domains, far, strict=True)
            logits = joined([self._calibrated(e, n, s, lattice, f, table) for e, n, s, (_, lattice), f in parts])
            logits = given.impose(logits, dose)
            if self.coupling is not None and given.properties is None:  # properties tell of interfaces too
                expected = torch.where(walkable[:, None], logits.softmax(1), counts.to(logits.dtype))
                logits = given.impose(logits + attraction(self.coupling, dose, expected, periodic), dose)
            clean = logits.softmax(1)
            parts = zip(clean.split(sizes), counts.split(sizes), dose.split(sizes), domains, far, strict=True)
            followed = joined([self.followed(e, n, s, lattice, f, table) for e, n, s, (_, lattice), f in parts])
        dose = per_image(dose, rates)
        log_ratio = torch.addcmul(followed, rates, self.damping(dose))
        del out, rates, followed, clean, field, padded  # large in volumes, and needed no more
        return Prediction(tempered(log_ratio, dose), logits)

    def followed(
        self,
        clean: torch.Tensor,
        counts: torch.Tensor,
        dose: torch.Tensor,
        lattice: Lattice,
        far: torch.Tensor | None = None,
        table: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What of log(h / s) follows from the clean image, as `dsdcli.process.origins.log_undo_ratio` has it, with the
        growth of long waves as calibrated, ``far`` from what is known."""
        pulled = None
        if table is not None and has_long_waves(lattice, dose):
            pulled = pull(table, self.config.dose_max, counts, dose, lattice, not self.config.species)
            pulled = pulled if far is None else pulled * far
        return log_undo_ratio(clean, counts, dose, lattice, pulled)

    def _calibrated(
        self,
        logits: torch.Tensor,
        counts: torch.Tensor,
        dose: torch.Tensor,
        lattice: Lattice,
        far: torch.Tensor,
        table: torch.Tensor | None,
    ) -> torch.Tensor:
        """Logits whose long waves are those of `dsdcli.network.calibration`, ``far`` from what is known."""
        if table is None or not has_long_waves(lattice, dose):
            return logits
        clean = corrected(table, self.config.dose_max, logits.softmax(1), counts, dose, lattice)
        return torch.where(far, clean.log(), logits)

    def condition(self, dose: torch.Tensor, mean: torch.Tensor, given: Given) -> torch.Tensor:
        """What the network is told besides the fields, (B, K): doses (B,), mean counts (B, C), class and properties."""
        features = [dose_features(dose), mean]
        if self.config.classes:
            features.append(self.classes(mean, given))
        if self.config.properties:
            features.append(property_features(given.properties, len(self.config.properties), mean))
        return torch.cat(features, dim=1)

    def classes(self, mean: torch.Tensor, given: Given) -> torch.Tensor:
        """What it is told of classes, (B, classes), beside mean counts (B, C)."""
        kinds = given.kinds
        if kinds is None and self.kind is not None and given.told:
            kinds = torch.full((len(mean),), self.kind, device=mean.device)
        return class_features(kinds, len(self.config.classes), mean)

    def damping(self, dose: torch.Tensor) -> torch.Tensor:
        """Keeps an error of f from becoming a large drift at large doses."""
        return 1 / torch.sqrt(1 + 2 * dose)

    def undo(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given = NOTHING) -> torch.Tensor:
        """Undo counts h (B, C, 2d, *L), float32, 0 towards a wall: the rates of `dsdcli.sampling.trapezoidal`."""
        ratio = self._on(counts, dose, lattice, given).log_ratio.exp()
        return ratio.mul_(per_image(dose, ratio)).mul_(lattice.open_bonds(counts.device))

    def clean(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given = NOTHING) -> torch.Tensor:
        """Probability of every phase at every site of the clean image, float64 (B, K, *L)."""
        return self._on(counts, dose, lattice, given).logits.double().softmax(1)

    def _on(self, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice, given: Given) -> Prediction:
        return self(counts, dose, [(len(counts), lattice)], given)


def known_voxels(
    counts: torch.Tensor, walkable: torch.Tensor, domains: Sequence[tuple[int, Lattice]], given: Given
) -> torch.Tensor | None:
    """True for the phase of every voxel that is frozen around a hole, or that the network is told, bool (B, K, *L);
    None where there is none."""
    sure = given.known
    if any(isinstance(lattice, Hole) for _, lattice in domains):
        frozen = (counts > 0) & ~walkable[:, None]
        sure = frozen if sure is None else sure | frozen
    return sure


def far_from(known: torch.Tensor | None, walkable: torch.Tensor) -> torch.Tensor:
    """Sites that have no known voxel within `NEAR` along all axes, bool (B, 1, *L): the network knows more of the long
    waves of the others than the counts say.

    Args:
        known: (B, K, *L), or None.
        walkable: (B, *L).
    """
    if known is None:
        return torch.ones_like(walkable[:, None])
    return ~within(known.any(1, keepdim=True), NEAR, periodic=False)


def has_long_waves(lattice: Lattice, dose: torch.Tensor) -> bool:
    """Whether there is anything to calibrate: not in a hole, nor where all doses (B,) are small."""
    return not isinstance(lattice, Hole) and bool((dose >= LEAST_DOSE).any())


def tempered(log_ratio: torch.Tensor, dose: torch.Tensor) -> torch.Tensor:
    """log(h / s) as it is up to s + 6 sqrt(s) + 4 undo counts h, growing by the logarithm of the excess from there on.

    No particle ever has so many hops to undo in one direction (it is a Poisson number of mean s: less than once in 10^8
    draws). Without the bound, one site where an early network errs by a large f makes exp(f) the loss of the whole
    batch. Above it h grows linearly in f: its slope, and so the way back, stays.
    """
    most = torch.log(1 + 6 / torch.sqrt(dose) + 4 / dose)
    if log_ratio.device.type == "cpu" and bool((log_ratio.flatten(1).amax(1) <= most.flatten()).all()):
        return log_ratio  # as nearly always; the rest would change nothing, and take two passes
    return torch.minimum(log_ratio, most).add_(torch.log1p(torch.relu(log_ratio - most)))


def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """One after another; a single one as it is."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def where_walkable(domains: Sequence[tuple[int, Lattice]], device: torch.device) -> torch.Tensor:
    """Where particles may be in images one after another on these domains: bool (B, *L)."""
    return torch.cat([lattice.walkable(device).expand(number, *lattice.shape) for number, lattice in domains])


def per_image(dose: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Doses (B,) shaped to multiply a tensor (B, ...)."""
    return dose.float().view(-1, *(1,) * (like.ndim - 1))
