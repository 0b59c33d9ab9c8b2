"""How much the longest waves of images vary, and how that depends on the volume fractions of the image."""

import math
from dataclasses import dataclass

import torch

from dsdcli.process.lattice import Boundary

USUAL_EXPONENT = 0.5  # deviation of exponents, as far as one can say without looking
MOST_EXPONENT = 1.0  # at which waves are in proportion to what there is of a phase, or to what there is of the others
TURNS = 30  # of Newton's method, which needs about five


@dataclass(frozen=True, eq=False)
class LongWaves:
    """The law that long waves of phases follow (method.md, section 6).

    Attributes:
        correlation: integral range (C, C) at the usual fractions, or of intensities relative to their mean counts.
        usual: mean volume fractions (C,) of the training images.
        exponents: (C,), of `odds_exponents`; None where they are not known. Waves then have the variance of f (1 - f),
            and are Gaussian.
    """

    correlation: torch.Tensor
    usual: torch.Tensor
    exponents: torch.Tensor | None = None

    def strength(self, fractions: torch.Tensor) -> torch.Tensor:
        """Root of the variance (B, C) in images of these fractions (B, C), to which the correlation is relative."""
        variance = fractions * (1 - fractions)
        if self.exponents is not None:
            variance = variance * relative_variance(fractions, self.usual, self.exponents)
        return variance.sqrt()

    def bent(self, waves: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
        """Where long waves have brought more of a phase, shorter ones vary as in an image that has more of it: what
        this adds to waves (B, C, *L), to second order."""
        assert self.exponents is not None
        bend = (1 - 2 * fractions + self.exponents) / (4 * fractions * (1 - fractions)).clamp_min(1e-12)
        return bend[(..., *(None,) * (waves.ndim - fractions.ndim))] * waves.square()

    def to(self, device: torch.device) -> "LongWaves":
        """The same on a device."""
        exponents = None if self.exponents is None else self.exponents.to(device)
        return LongWaves(self.correlation.to(device), self.usual.to(device), exponents)


def relative_variance(fractions: torch.Tensor, usual: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """By what the integral range at volume fractions (..., C) differs from that at the usual ones (C,): a power of the
    odds f / (1 - f)."""
    return torch.exp(exponents * (torch.logit(fractions, 1e-9) - torch.logit(usual, 1e-9)))


def integral_range(
    voxels: torch.Tensor, boundary: Boundary, exponents: torch.Tensor | None = None, usual: torch.Tensor | None = None
) -> torch.Tensor:
    """Integral range of images in units of voxels, with the cross terms between phases (method.md, section 6).

    The variance of a phase's longest waves over the crops, over f (1 - f): the volume A for which the volume fraction
    of a large domain V varies as f (1 - f) A / V (Lantuejoul 1991). Long waves of a material without long-range order
    all have this variance.

    Args:
        voxels: one-hot images (n, K, *L).
        exponents: of `odds_exponents`; the integral range is then that of images of the ``usual`` fractions.

    Returns:
        float64 (C, C), symmetric, positive semi-definite.
    """
    fields = voxels.double()
    a = amplitudes(fields, boundary).flatten(0, 1)
    mean = fields.flatten(2).mean(2)
    variance = mean * (1 - mean)
    if exponents is not None and usual is not None:
        variance = variance * relative_variance(mean, usual, exponents)
    deviation = variance.mean(0).sqrt().clamp_min(1e-12)  # (C,)
    return a.T @ a / len(a) / torch.outer(deviation, deviation)


def relative_range(counts: torch.Tensor, boundary: Boundary) -> torch.Tensor:
    """As `integral_range` of intensities (n, C, *L), over the squares of their mean counts instead of f (1 - f)."""
    mean = counts.double().flatten(2).mean(2, keepdim=True).clamp_min(1e-12).unflatten(2, (1,) * (counts.ndim - 2))
    a = amplitudes(counts.double() / mean, boundary).flatten(0, 1)
    return a.T @ a / len(a)


def odds_exponents(voxels: torch.Tensor, boundary: Boundary, independent: float) -> torch.Tensor:
    """Exponents b of every phase with which the integral range goes as (f / (1 - f))^b from image to image.

    The most likely ones, for amplitudes of the longest waves that are normal given the fractions of their image, with
    a normal prior of deviation `USUAL_EXPONENT`, so that few images leave them near 0 (method.md, section 6).

    Args:
        voxels: one-hot images (n, K, *L).
        independent: how many of the images are.

    Returns:
        float64 (C,), between -`MOST_EXPONENT` and `MOST_EXPONENT`.
    """
    fields = voxels.double()
    squares, mean = amplitudes(fields, boundary).square().mean(0), fields.flatten(2).mean(2)  # (n, C) each
    waves = voxels.ndim - 2
    found = torch.zeros(voxels.shape[1], dtype=torch.float64)
    for phase in range(len(found)):
        f, square = mean[:, phase], squares[:, phase]
        some = (f > 0) & (f < 1) & (square > 0)
        if int(some.sum()) < 2:
            continue
        odds = torch.logit(f[some])
        power = torch.log(square[some] / (f * (1 - f))[some])
        weight, b = 0.5 * waves * min(independent, len(odds)), 0.0
        for _ in range(TURNS):
            share = torch.softmax(power - b * odds, 0)
            here = share @ odds
            slope = weight * float(odds.mean() - here) + b / USUAL_EXPONENT**2
            bend = weight * float(share @ (odds - here).square()) + USUAL_EXPONENT**-2
            b = min(MOST_EXPONENT, max(-MOST_EXPONENT, b - slope / bend))
        found[phase] = b
    return found


def amplitudes(fields: torch.Tensor, boundary: Boundary) -> torch.Tensor:
    """Of the longest waves along every axis of fields (n, C, *L): (w, n, C), w waves of each image."""
    ndim = fields.ndim - 2
    coefficients = []
    for axis in range(ndim):
        side = fields.shape[2 + axis]
        x = torch.arange(side, dtype=torch.float64)
        if boundary == "noflux":
            waves = [torch.cos(math.pi / side * (x + 0.5))]
        else:
            waves = [torch.cos(2 * math.pi / side * x), torch.sin(2 * math.pi / side * x)]
        profile = fields.movedim(2 + axis, -1).flatten(2, -2).sum(2) if ndim > 1 else fields  # (n, C, side)
        others = fields[0, 0].numel() / side
        coefficients += [profile @ wave * math.sqrt(2 / side / others) for wave in waves]
    return torch.stack(coefficients)
