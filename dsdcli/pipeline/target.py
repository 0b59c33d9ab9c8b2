"""What samples are asked to have, of a model that was told such numbers in training, in the units of `evaluate`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsdcli.errors import UsageError
from dsdcli.evaluation.quantity import Quantity
from dsdcli.network.config import ModelConfig
from dsdcli.pipeline.numbers import Shown, achieved, shown
from dsdcli.pipeline.progress import Note


@dataclass(frozen=True)
class Targets:
    """The request.

    Attributes:
        wanted: a number, and the value that it is to have.
        seen: the least and the largest of each in training.
        told: all that the model can be told, standardised; NaN for what it is not.
        device: on which diffusivity and permeability are solved for.
    """

    wanted: tuple[tuple[Shown, float], ...]
    seen: tuple[tuple[float, float], ...]
    told: tuple[float, ...]
    device: str

    def achieved(self, image: np.ndarray) -> dict[str, float | None]:
        """What an image has, as its record says it: null where it has no such thing."""
        return achieved([number for number, _ in self.wanted], image, self.device)

    def record(self) -> dict[str, Any]:
        """What the audit record says of the request."""
        about = {
            number.name: {"value": value, "unit": number.unit, "trained": list(seen)}
            for (number, value), seen in zip(self.wanted, self.seen, strict=True)
        }
        return {"targets": about}

    def doubts(self) -> list[str]:
        """A warning for every value beyond what training saw."""
        return [
            f"{number.name} of {value:.4g} {number.unit}".rstrip()
            + f" is outside what training saw, {low:.4g} to {high:.4g}: the samples will lie short of it, or odd"
            for (number, value), (low, high) in zip(self.wanted, self.seen, strict=True)
            if not low <= value <= high
        ]


def make_targets(
    wanted: Mapping[str, float] | None, config: ModelConfig, name: str, axes: int, device: str, note: Note
) -> Targets | None:
    """The request, checked; None without one.

    Args:
        wanted: values by name, in the unit that is shown.
        name: of the model, in messages.
        axes: dimension of the samples.
        note: is told of values beyond what training saw.

    Raises:
        UsageError: the model is told no such number, or the value means nothing.
    """
    if not wanted:
        return None
    known = {each.name: each for each in config.properties}
    for asked, value in wanted.items():
        if asked not in known:
            has = f"is told {', '.join(known)}" if known else "is told no numbers"
            raise UsageError(
                f"`target={asked}`: {name} {has}; train one with `condition={asked}`, or `steer` there without training"
            )
        if not math.isfinite(value):
            raise UsageError(f"`target={asked}={value:g}` means nothing; give a finite value")
    if axes > config.ndim:
        raise UsageError("a 2D model makes volumes plane by plane, of any property; leave out `target`")
    phases = [phase.name for phase in config.phases]
    numbers = [shown(asked, Quantity.of(asked, phases, axes), config) for asked in wanted]
    pairs = tuple(zip(numbers, map(float, wanted.values()), strict=True))
    targets = Targets(
        pairs,
        tuple((known[n.name].low * n.factor, known[n.name].high * n.factor) for n in numbers),
        tuple(
            each.standardised(wanted[each.name] / number.factor)
            if (number := next((n for n in numbers if n.name == each.name), None))
            else math.nan
            for each in config.properties
        ),
        device,
    )
    for line in targets.doubts():
        note(f"WARNING: {line}")
    return targets
