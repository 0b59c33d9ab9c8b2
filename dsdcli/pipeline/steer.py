"""What samples are steered to: numbers that `evaluate` measures, in its units."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dsdcli.errors import UsageError
from dsdcli.evaluation.quantity import Quantity
from dsdcli.network.config import ModelConfig
from dsdcli.pipeline.numbers import Shown, achieved, shown
from dsdcli.sampling.steering import Steering

WALKERS = 8
TOLERANCE = 0.02  # of the wanted value, where none is given

Wanted = float | tuple[float, float]  # a value, or one and its tolerance


@dataclass(frozen=True)
class Target(Shown):
    """One number that is wanted.

    Attributes:
        tolerance: standard deviation within which a sample is as good as another.
    """

    value: float
    tolerance: float


@dataclass(frozen=True)
class Steer:
    """Where samples are steered to, and how the sampling is told.

    Attributes:
        device: on which diffusivity and permeability are solved for.
    """

    targets: tuple[Target, ...]
    steering: Steering
    device: str

    def achieved(self, image: np.ndarray) -> dict[str, float | None]:
        """What an image has, as its record says it: null where it has no such thing."""
        return achieved(self.targets, image, self.device)

    def record(self) -> dict[str, Any]:
        """What the audit record says of the request."""
        asked = {t.name: {"value": t.value, "tolerance": t.tolerance, "unit": t.unit} for t in self.targets}
        return {"steering": {"walkers": self.steering.walkers, "targets": asked}}


def make_steer(
    wanted: Mapping[str, Wanted] | None, walkers: int | None, config: ModelConfig, axes: int, device: str
) -> Steer | None:
    """The request, checked; None without one.

    Args:
        wanted: by name; see `dsdcli.evaluation.quantity.Quantity.of`.
        axes: dimension of the samples.

    Raises:
        UsageError: no such quantity, a value or tolerance that means nothing, or walkers without a target.
    """
    if not wanted:
        if walkers is not None:
            raise UsageError(f"`walkers={walkers}` are those of `steer`; say where to steer, or leave them out")
        return None
    targets = tuple(_target(name, value, config, axes) for name, value in wanted.items())
    steering = Steering(WALKERS if walkers is None else walkers, partial(_potential, targets, device))
    return Steer(targets, steering, device)


def _target(name: str, wanted: Wanted, config: ModelConfig, axes: int) -> Target:
    quantity = Quantity.of(name, [phase.name for phase in config.phases], axes)
    value, tolerance = wanted if isinstance(wanted, tuple) else (wanted, TOLERANCE * abs(wanted))
    if not math.isfinite(value) or not 0 < tolerance < math.inf:
        what = f"`steer={name}={value:g}` within {tolerance:g} means nothing"
        raise UsageError(f"{what}; give a finite value and a tolerance above 0, as VALUE:TOLERANCE")
    return Target(**vars(shown(name, quantity, config)), value=float(value), tolerance=float(tolerance))


def _potential(targets: Sequence[Target], device: str, image: np.ndarray) -> float:
    """Log weight of an image, phase indices (*L): normal around every target."""
    return -0.5 * sum(((t.measure(image, device) - t.value) / t.tolerance) ** 2 for t in targets)
