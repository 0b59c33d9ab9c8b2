"""What a network is told of an image as a whole, beside the counts of its voxels: one number after another."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

DOSE_FEATURES = 8
DOSE_FREQUENCY = 0.32330272  # the slowest features turn by half over nearly ten e-foldings of the dose,
DOSE_ORIGIN = 0.05  # counted from here
ENTRY = "net.condition.0.weight"  # the layer that takes these numbers in, (width, K)


def names(phases: int, classes: Sequence[str], properties: Sequence[str]) -> list[str]:
    """What each number stands for, in the order of the network's inputs."""
    return [
        *(f"dose {i}" for i in range(DOSE_FEATURES)),
        *(f"phase {i}" for i in range(phases)),
        *(f"class {name}" for name in classes),
        *(f"{what} {name}" for what in ("value", "told") for name in properties),
    ]


def dose_features(dose: torch.Tensor) -> torch.Tensor:
    """Smooth features (B, 8) of log s."""
    k = torch.arange(1, DOSE_FEATURES // 2 + 1, device=dose.device)
    angle = DOSE_FREQUENCY * torch.log(dose.double() / DOSE_ORIGIN)[:, None] * k
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1).float()


def class_features(kinds: torch.Tensor | None, number: int, like: torch.Tensor) -> torch.Tensor:
    """1 for the class of each image, (B, classes)."""
    if kinds is None:
        return like.new_zeros(len(like), number)
    return F.one_hot(kinds + 1, number + 1)[:, 1:].to(like)


def property_features(values: torch.Tensor | None, number: int, like: torch.Tensor) -> torch.Tensor:
    """Standardised values and, for each, 1 where it is told: (B, 2 properties); zeros where it is not."""
    if values is None:
        return like.new_zeros(len(like), 2 * number)
    return torch.cat([values.nan_to_num(0.0), (~values.isnan()).float()], dim=1).to(like)


def retold(weights: Mapping[str, torch.Tensor], theirs: Sequence[str], ours: Sequence[str]) -> dict[str, torch.Tensor]:
    """The weights of a network that is told ``theirs`` as those of one that is told ``ours``: what goes by the same
    name counts as before, what is new begins at zero, so that nothing changes until it is learned."""
    entry = weights[ENTRY]
    columns = [entry[:, theirs.index(name)] if name in theirs else torch.zeros_like(entry[:, 0]) for name in ours]
    return {**weights, ENTRY: torch.stack(columns, dim=1)}
