"""One number of one image: a metric by its name, of one phase, pair of phases or axis, or the mean of all axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsdcli.errors import UsageError
from dsdcli.evaluation.metrics import METRICS, Vectors, axis_names, flowing, measure

# Memorisation and diversity are of ensembles, and volume fractions are ordered exactly.
MEASURED = tuple(name for name in METRICS if name not in ("volume-fraction", "memorisation", "diversity"))
_PROBE = 6  # voxels along each side of the image that says which subjects a metric has


@dataclass(frozen=True)
class Quantity:
    """Summary of a metric (`dsdcli.evaluation.statistics.Kind.summary`) on one image.

    Attributes:
        subjects: of the metric, over which the mean is taken: a phase along each axis, or a single one.
        phases: names of the phases.
        power: of the unit of length in which it is expressed: 1 voxel, -1 per voxel, ...
    """

    metric: str
    subjects: tuple[str, ...]
    phases: tuple[str, ...]
    power: int

    @classmethod
    def of(cls, name: str, phases: Sequence[str], axes: int) -> "Quantity":
        """The quantity called METRIC, METRIC.PHASE, METRIC.AXIS or METRIC.PHASE.AXIS, such as ``interface``,
        ``chords.grain`` or ``diffusivity.pore.z``; PHASE is a pair ``a|b`` where the metric has pairs.

        Without an axis it is the mean of all; without a phase, where there are several, that of the pore, else of the
        first.

        Args:
            axes: dimension of the images.

        Raises:
            UsageError: no such metric, or it has no such phase or axis.
        """
        metric, _, part = name.partition(".")
        if metric not in MEASURED:
            raise UsageError(f"'{name}' is no number of one image; there are {', '.join(MEASURED)}")
        image = np.random.default_rng(0).permutation(np.arange(_PROBE**axes, dtype=np.uint8) % len(phases))
        found = [subject for _, subject in measure(image.reshape((_PROBE,) * axes), phases, [metric])]
        default = found[0] if len(found) == 1 else flowing(phases)[1]
        chosen = tuple(subject for subject in found if part in _names(subject, default, axis_names(axes)))
        if not chosen:
            if not found:
                raise UsageError(f"'{name}': there is no {metric} in images of {', '.join(phases)}")
            names = ", ".join(f"{metric}.{subject.replace(' ', '.')}" for subject in found)
            raise UsageError(f"'{name}' does not say what it is of; there are {names}")
        return cls(metric, chosen, tuple(phases), METRICS[metric].kind(axes).length)

    def measure(self, image: np.ndarray, device: str = "cpu") -> float:
        """In voxels, of phase indices (*L); NaN where the image has no such thing."""
        return self.summary(measure(image, self.phases, [self.metric], device), image.ndim)

    def summary(self, vectors: Vectors, axes: int) -> float:
        """In voxels, of the vectors that were measured on an image with so many axes; NaN as `measure`."""
        kind = METRICS[self.metric].kind(axes)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = [kind.summary(np.asarray(vectors[self.metric, subject], float)) for subject in self.subjects]
        return float(np.mean(values))


def _names(subject: str, default: str, letters: str) -> set[str]:
    """What selects a subject, which is the default phase where none is said."""
    head, _, axis = subject.rpartition(" ")
    if axis not in tuple(letters):
        head, axis = subject, ""
    names = {head, f"{head}.{axis}" if axis else head}
    return names | {"", axis} if default in (head, subject) else names
