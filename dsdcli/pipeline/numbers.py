"""Numbers of one image in the unit that `evaluate` shows, and what came of those that were asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsdcli.evaluation.quantity import Quantity
from dsdcli.network.config import ModelConfig
from dsdcli.view.table import unit_name


@dataclass(frozen=True)
class Shown:
    """One number of an image: ``factor`` times what is measured in voxels, in ``unit``."""

    name: str
    quantity: Quantity
    factor: float
    unit: str

    def measure(self, image: np.ndarray, device: str) -> float:
        """Of phase indices (*L); NaN where the image has no such thing."""
        return self.factor * self.quantity.measure(image, device)


def shown(name: str, quantity: Quantity, config: ModelConfig) -> Shown:
    """The quantity in the unit of length of a model; in voxels where it knows none."""
    size, unit = config.voxel_size, config.voxel_unit
    text = unit_name(quantity.power, (unit if size else None) or "voxel")
    return Shown(name, quantity, size**quantity.power if size else 1.0, text)


def achieved(numbers: Sequence[Shown], image: np.ndarray, device: str) -> dict[str, float | None]:
    """What an image (*L) has of each, as a record says it: null where it has no such thing."""
    found = {number.name: number.measure(image, device) for number in numbers}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def achieved_lines(audit: Mapping[str, Any]) -> list[str]:
    """What the audit record says was asked for and came of it, a line for each number that was steered to or trained
    for."""
    lines = []
    asked = [("steered", audit.get("steering", {}).get("targets", {})), ("targeted", audit.get("targets", {}))]
    for where, targets in asked:
        for name, target in targets.items():
            found = [sample[where][name] for sample in audit["samples"]]
            has = [value for value in found if value is not None]
            text = f"{name}: {target['value']:.4g} {target['unit']}".rstrip() + " asked for"
            if has:
                text += f", {sum(has) / len(has):.4g} on average, from {min(has):.4g} to {max(has):.4g}"
            if len(has) < len(found):
                text += f"; {len(found) - len(has)} of {len(found)} samples have no such thing"
            lines.append(text)
    return lines
