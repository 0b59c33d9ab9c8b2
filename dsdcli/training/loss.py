"""What training minimises: the process likelihood in terms of undo counts, and the entropy of the clean image."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate, chain

import torch
import torch.nn.functional as F

from dsdcli.network.model import Given, UndoNet, where_walkable
from dsdcli.process.image import one_hot, place
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import ALL, forward


@dataclass(frozen=True)
class Losses:
    """Both in nats per particle.

    Attributes:
        undo: Poisson divergence between the true and the predicted undo counts, sum_v [h_hat - h - h log(h_hat / h)]
            (method.md, section 5). With log s uniform over the batch its mean is the process likelihood of
            the paper (its Eq. 6) up to a constant. Never negative.
        clean: cross entropy of the clean image, with weight 1 / sqrt(1 + s).
    """

    undo: torch.Tensor
    clean: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        return self.undo + self.clean


@dataclass(frozen=True)
class Walked:
    """Images after their forward walk, and what the network should say of them; `join` puts several together.

    Attributes:
        images: phase indices (B, *L).
        counts: of walking and frozen particles, int64 (B, C, *L).
        dose: (B,) float64.
        domains: how many of the images, one after another, walked on which lattice or in which hole.
        walking: counts of the particles that could hop in each direction, int64 (B, C, 2d, *L).
        ratio: sum of h / s over the particles of a site, float32 (B, C, 2d, *L).
        floor: (B,) what the best prediction leaves of the divergence, float64.
        particles: (B,) number of walking particles.
        batch: of every image of the batch, of which these may be a share, the number of walking particles.
        known: voxels of the clean image that the network is told, bool (B, *L).
        kinds: number of the class that the network is told, int64 (B,), -1 for none.
        properties: standardised, that it is told, float32 (B, P), NaN for none.
    """

    images: torch.Tensor
    counts: torch.Tensor
    dose: torch.Tensor
    domains: tuple[tuple[int, Lattice], ...]
    walking: torch.Tensor
    ratio: torch.Tensor
    floor: torch.Tensor
    particles: torch.Tensor
    batch: torch.Tensor
    known: torch.Tensor
    kinds: torch.Tensor
    properties: torch.Tensor

    @classmethod
    def draw(
        cls,
        images: torch.Tensor,
        phases: int,
        dose: torch.Tensor,
        lattice: Lattice,
        generator: torch.Generator,
        known: torch.Tensor | None = None,
        kinds: torch.Tensor | None = None,
        share: slice = ALL,
        properties: torch.Tensor | None = None,
    ) -> "Walked":
        """Let the particles of the images walk on the lattice, or in the hole that it is; all others are frozen.

        Args:
            images: phase indices (B, *L).
            generator: draws the walk, on the device of the images.
            known: voxels that the network is told, bool (B, *L).
            kinds: number of the class that it is told, int64 (B,), -1 for none.
            share: of the images, that is returned; each walks in the same way as if all were.
            properties: standardised, that it is told, (B, P), NaN for none.
        """
        known = torch.zeros_like(images, dtype=torch.bool) if known is None else known
        kinds = torch.full_like(dose, -1, dtype=torch.int64) if kinds is None else kinds
        properties = images.new_empty((len(images), 0), dtype=torch.float32) if properties is None else properties
        walkable = lattice.walkable(images.device)
        clean = one_hot(images, phases)  # (B, K, *L)
        start = place(clean & walkable)
        batch = torch.bincount(start.image, minlength=len(images))
        now, undo = forward(start, dose, lattice, generator, share)
        parts = (images, clean, dose, known, kinds, properties)
        images, clean, dose, known, kinds, properties = (each[share] for each in parts)
        counts = now.occupancy(lattice, len(images), phases)
        ratio = undo / dose[now.image, None]  # (P, 2d), h / s
        # Summed over the particles of a site, so that the loss is dense: no gather in the backward pass.
        where = (now.image * phases + now.phase) * lattice.sites + lattice.ravel(now.site)
        summed = torch.zeros(counts.numel(), lattice.directions, device=images.device)
        summed.index_add_(0, where, ratio.float())
        summed = summed.view(*counts.shape[:2], lattice.sites, lattice.directions).movedim(-1, 2)
        floor = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        floor.index_add_(0, now.image, (torch.xlogy(ratio, ratio) - ratio).sum(1))
        return cls(
            images,
            counts + (clean & ~walkable),
            dose,
            ((len(images), lattice),),
            counts.unsqueeze(2) * lattice.open_bonds(images.device),
            summed.reshape(*counts.shape[:2], lattice.directions, *lattice.shape),
            floor * dose,
            batch[share],
            batch,
            known,
            kinds,
            properties,
        )

    @classmethod
    def join(cls, parts: "Sequence[Walked]") -> "Walked":
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        domains = tuple(chain.from_iterable(columns.pop("domains")))
        return cls(domains=domains, **{name: torch.cat(column) for name, column in columns.items()})

    def cut(self, parts: int) -> "Iterator[Walked]":
        """So many shares, one after another; they are as equal as can be, and fewer where there are fewer images."""
        number = len(self.images)
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        domains, batch = columns.pop("domains"), columns.pop("batch")
        ends = list(accumulate(each for each, _ in domains))
        for part in range(parts):
            low, high = number * part // parts, number * (part + 1) // parts
            within = [  # of every domain
                (min(end, high) - max(end - each, low), lattice)
                for end, (each, lattice) in zip(ends, domains, strict=True)
            ]
            if low < high:
                share = {name: column[low:high] for name, column in columns.items()}
                yield type(self)(domains=tuple(each for each in within if each[0] > 0), batch=batch, **share)

    @cached_property
    def walkable(self) -> torch.Tensor:
        """Where particles may be, bool (B, *L)."""
        return where_walkable(self.domains, self.counts.device)


OfImages = Callable[[UndoNet, Walked], tuple[torch.Tensor, torch.Tensor]]


def losses(model: UndoNet, walked: Walked, of_images: OfImages | None = None) -> Losses:
    """Judge the network on images that have walked: the mean over images, each with the square root of its walking
    particles as weight. By their number alone holes would hardly count; with equal weights they would add most noise.
    Of a share of a batch: what it adds to the mean over all images of that.

    Args:
        of_images: judges each of them; by default `image_losses`.
    """
    undo, entropy = (of_images or image_losses)(model, walked)
    root, batch = (number.clamp_min(1).float().sqrt() for number in (walked.particles, walked.batch))
    weight = 1 / (root * batch.sum())  # (B,)
    clean = entropy / torch.sqrt(1 + walked.dose.float())
    return Losses((weight * undo).sum(), (weight * clean).sum())


def image_losses(model: UndoNet, walked: Walked) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every image the divergence of the undo counts, summed over its particles, and the entropy of the clean image,
    summed over its sites: (B,) each."""
    told = None
    if walked.known.any():
        told = one_hot(walked.images, len(model.config.phases)) & walked.known[:, None]
    given = Given(told, kinds=walked.kinds, properties=walked.properties if walked.properties.shape[1] else None)
    log_hat, logits = model(walked.counts, walked.dose, walked.domains, given)  # (B, C, 2d, *L), (B, K, *L)
    per_image = (walked.walking * torch.exp(log_hat) - walked.ratio * log_hat).flatten(1).sum(1)
    undo = walked.dose.float() * per_image + walked.floor.float()
    entropy = F.cross_entropy(logits, walked.images.long(), reduction="none") * walked.walkable  # (B, *L)
    return undo, entropy.flatten(1).sum(1)
