"""Where the reverse walk starts: what is left of the longest waves at the largest dose."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial

import torch

from dsdcli.process.hole import Hole
from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Boundary, Lattice
from dsdcli.process.long_waves import LongWaves
from dsdcli.process.waves import eigenvalues, from_waves, to_waves

BENT_AT = (
    0.5  # of the dose of the start: Gaussian waves are bent there, and lose their harmonics on the rest of the way
)
LENGTHS = 60  # that are tried
WIDE = 10  # lengths that a crop must be wide
PLANE = {2: 2 * math.pi, 3: 8 * math.pi}  # integral range of exp(-r) in an endless image
REACH = 12  # lengths beyond which nothing is left of a covariance
APART = 4  # lengths of a covariance, that sites are apart which should not know of each other
WAVENUMBERS = torch.linspace(0, 60, 2401, dtype=torch.float64)  # over the length of a covariance


def slow_waves(
    fractions: torch.Tensor,
    law: LongWaves,
    dose: float,
    lattice: Lattice,
    generators: list[torch.Generator],
    strength: torch.Tensor | None = None,
) -> torch.Tensor:
    """Random expected counts at ``dose`` of images whose long waves follow a law.

    `white_waves`, smoothed by the forward walk: only waves that survive the dose remain. Where none does, the result is
    uniform. The total of every part of the lattice is that of its fractions. Half-way the waves are bent (method.md,
    section 6), where the exponents of the law are known.

    Returns:
        float64 (B, C, *L), non-negative.
    """

    def walked(waves: torch.Tensor, dose: float) -> torch.Tensor:
        return smooth(waves, torch.tensor([dose], device=fractions.device), lattice)

    waves = white_waves(fractions, law, lattice, generators, strength)
    expected = expected_counts(waves, fractions, law, dose, walked, partial(_balanced, lattice=lattice))
    return expected * lattice.walkable(fractions.device)


def expected_counts(
    waves: torch.Tensor,
    fractions: torch.Tensor,
    law: LongWaves,
    dose: float,
    walked: Callable[[torch.Tensor, float], torch.Tensor],
    balanced: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """What `slow_waves` has of white waves (..., C, *L) around volume fractions (..., C), on any lattice.

    Args:
        walked: waves after a dose.
        balanced: waves whose total is 0 wherever counts are fixed.
    """
    if law.exponents is None:
        waves = walked(waves, dose)
    else:
        waves = walked(waves, BENT_AT * dose)
        waves = walked(waves + balanced(law.bent(waves, fractions)), (1 - BENT_AT) * dose)
    return (fractions[(..., *(None,) * (waves.ndim - fractions.ndim))] + waves).clamp_min(0)


def white_waves(
    fractions: torch.Tensor,
    law: LongWaves,
    lattice: Lattice,
    generators: list[torch.Generator],
    strength: torch.Tensor | None = None,
    where: torch.Tensor | None = None,
) -> torch.Tensor:
    """White noise whose long waves are those of images: float64 (B, C, *L).

    Args:
        law: on the device of the fractions.
        fractions: volume fractions (B, C) of the phases.
        strength: of the waves (B, C), whose square the correlation of the law is relative to, where it is not what the
            law has for these fractions: of intensities, whose mean counts are the fractions, these.
        where: sites that have noise, bool (*L); the others have 0. Its total in every part of the lattice is 0.
    """
    device = fractions.device
    root = symmetric_root(law.correlation)
    shape = (len(root), lattice.sites)
    white = [torch.randn(shape, generator=g, device=device, dtype=torch.float64) for g in generators]
    strength = law.strength(fractions) if strength is None else strength
    waves = (strength[..., None] * (root @ torch.stack(white))).unflatten(-1, lattice.shape)  # (B, C, *L)
    return _balanced(waves, lattice, where)


def _balanced(waves: torch.Tensor, lattice: Lattice, where: torch.Tensor | None = None) -> torch.Tensor:
    """Waves (B, C, *L) whose total in every part of the lattice is 0, since its counts are fixed; 0 but ``where``."""
    if where is not None:
        waves *= where
    for part in range(1, lattice.parts.max() + 1):
        member = torch.from_numpy(lattice.parts == part).to(waves.device)
        if where is not None:
            member &= where
        waves[..., member] -= waves[..., member].mean(-1, keepdim=True)
    return waves


def symmetric_root(covariance: torch.Tensor) -> torch.Tensor:
    """The symmetric matrix whose square is a covariance (C, C), up to its rounding."""
    value, vector = torch.linalg.eigh(covariance)
    return vector * value.clamp_min(0).sqrt() @ vector.T


def level_cut(
    fractions: torch.Tensor, ranges: torch.Tensor, planes: torch.Tensor, lattice: Lattice, generator: torch.Generator
) -> torch.Tensor:
    """Gaussian fields of a volume; where each phase has the largest, with offsets that give it its volume, the
    two-point correlation is that which follows from the integral ranges of planes.

    The covariance of a phase is taken to fall exponentially with the distance, exp(-r / a) (Debye, Anderson and
    Brumberger 1957), with the lengths of `crop_lengths`. The field that is cut has the covariance rho of which the cut
    makes that (Quiblier 1984): f (1 - f) exp(-r / a) is the integral over theta from 0 to arcsin(rho) of
    exp(-t^2 / (1 + sin theta)) / 2 pi, where t is the level. Where planes across the axes differ, so do the lengths
    along them: that of planes across z is sqrt(a_y a_x).

    Args:
        fractions: (K,).
        ranges: (3, K, K), of the planes across each axis, from `dsdcli.process.long_waves.integral_range`.
        planes: (3, K), lengths of the covariance in these planes, from `crop_lengths`.

    Returns:
        float64 (K, *L), of mean 0.
    """
    own = torch.diagonal(ranges, dim1=1, dim2=2).clamp_min(1e-12)  # (3, K)
    planes = planes.square()
    squares = (planes.log().sum(0) - 2 * planes.log()).exp()  # of the lengths along each axis
    relative = (ranges / torch.sqrt(own[:, :, None] * own[:, None, :])).mean(0)
    root = symmetric_root(relative)
    # Waves that end at walls vary more there: a part of a ring has no walls, and does not know of its other side.
    beyond = [
        0 if lattice.boundary == "periodic" else math.ceil(APART * float(square.max().sqrt())) for square in squares
    ]
    ring = Lattice(tuple(side + more for side, more in zip(lattice.shape, beyond, strict=True)), "periodic")
    white = torch.randn(len(root), ring.sites, generator=generator, dtype=torch.float64)
    waves = to_waves((root @ white).view(1, len(root), *ring.shape), ring)[0]
    each = eigenvalues(ring)
    for phase, wave in enumerate(waves):
        table = cut_spectrum(float(fractions[phase]))
        z, y, x = (square * k for square, k in zip(squares[:, phase], each, strict=True))
        at = (z[:, None, None] + y[:, None] + x).sqrt_().div_(WAVENUMBERS[1]).clamp_max_(len(table) - 1)
        low = at.long().clamp_max_(len(table) - 2)
        wave *= torch.lerp(table[low], table[low + 1], at - low).clamp_min_(0).sqrt_()
        wave *= squares[:, phase].prod() ** 0.25
        wave[0, 0, 0] = 0
    fields = from_waves(waves[None], ring)[0][(slice(None), *(slice(side) for side in lattice.shape))]
    return fields - fields.flatten(1).mean(1).view(-1, *(1,) * lattice.ndim)


def range_on(ranges: torch.Tensor, crop: Sequence[int], boundary: Boundary, lattice: Lattice) -> torch.Tensor:
    """Integral range (C, C) of images on a lattice, from that of crops (C, C). Larger ones have more, since the waves
    that it is measured by end at the border. Of a hole, where the lattice is no larger, and where crops are too narrow
    to tell of longer waves, it is that of crops.

    Args:
        crop, boundary: sides of the crops that it was measured on, and by which waves.
    """
    if isinstance(lattice, Hole) or lattice.sites <= math.prod(crop):
        return ranges
    own = torch.diagonal(ranges).clamp_min(1e-12)
    lengths = crop_lengths(own, crop, boundary)
    if WIDE * float(lengths.max()) > _side(crop):
        return ranges
    more = crop_ranges(lengths, _side(lattice.shape), lattice.boundary, lattice.ndim) / own
    return ranges * torch.outer(more, more).sqrt()


def _side(shape: Sequence[int]) -> int:
    """Of the square or cube that is as large."""
    return round(math.prod(shape) ** (1 / len(shape)))


def crop_lengths(ranges: torch.Tensor, crop: Sequence[int], boundary: Boundary) -> torch.Tensor:
    """Lengths a of covariances exp(-r / a) with this `dsdcli.process.long_waves.integral_range` in crops; any shape.
    Where a crop would be less than `WIDE` lengths wide, it says little of them, and they are at most as if it ended
    nowhere.
    """
    side, ndim = _side(crop), len(crop)
    lengths, made = _table(side, boundary, ndim)
    after = torch.searchsorted(made, ranges.contiguous()).clamp(1, len(made) - 1)
    part = ((ranges - made[after - 1]) / (made[after] - made[after - 1])).clamp(0, 1)
    endless = (ranges / PLANE[ndim]) ** (1 / ndim)
    return torch.lerp(lengths[after - 1], lengths[after], part).minimum(endless.clamp_min(side / WIDE))


@cache
def _table(crop: int, boundary: Boundary, ndim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths, and the integral ranges in crops that follow, as far as these grow."""
    lengths = torch.logspace(-1, math.log10(crop), LENGTHS, dtype=torch.float64)
    made = crop_ranges(lengths, crop, boundary, ndim)
    most = int(made.argmax()) + 1
    return lengths[:most], made[:most].cummax(0).values.contiguous()


def crop_ranges(lengths: torch.Tensor, crop: int, boundary: Boundary, ndim: int) -> torch.Tensor:
    """What `dsdcli.process.long_waves.integral_range` has of covariances exp(-r / a) in crops of a side, for lengths a
    (n,).

    The sum over lags of exp(-r / a) and of how much the longest wave of the crop goes with itself at that lag. In a
    plane it would be 2 pi a^2.
    """
    reach = min(crop, math.ceil(REACH * float(lengths.max())))
    x, lag = torch.arange(crop, dtype=torch.float64), torch.arange(reach, dtype=torch.float64)
    alike = 1 - lag / crop
    if boundary == "noflux":
        wave = math.sqrt(2 / crop) * torch.cos(math.pi / crop * (x + 0.5))
        overlap = torch.stack([wave[: crop - d] @ wave[d:] for d in range(reach)])
    else:
        overlap = alike * torch.cos(2 * math.pi / crop * lag)
    both = torch.where(lag > 0, 2.0, 1.0)  # lags of either sign
    weight, square = overlap * both, lag**2
    for _ in range(ndim - 1):
        weight, square = weight[..., None] * (alike * both), square[..., None] + lag**2
    distance = square.sqrt()
    return torch.stack([(torch.exp(-distance / length) * weight).sum() for length in lengths])


def cut_spectrum(fraction: float) -> torch.Tensor:
    """Spectrum of the field of `level_cut` at `WAVENUMBERS`, for a phase of a volume fraction and a = 1."""
    level = math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * min(max(fraction, 1e-4), 1 - 1e-4), dtype=torch.float64))
    theta = torch.linspace(0, math.pi / 2, 4001, dtype=torch.float64)
    made = torch.cumulative_trapezoid(torch.exp(-(level**2) / (1 + torch.sin(theta))), theta)
    made = torch.cat([made.new_zeros(1), made / made[-1]])  # covariance after the cut, by that before
    distance = torch.linspace(0, 12, 2401, dtype=torch.float64)
    wanted = torch.exp(-distance)
    after = torch.searchsorted(made, wanted).clamp(1, len(made) - 1)
    part = (wanted - made[after - 1]) / (made[after] - made[after - 1])
    before = torch.sin(torch.lerp(theta[after - 1], theta[after], part))
    wave = torch.sinc(WAVENUMBERS[:, None] * distance / math.pi)
    return 4 * math.pi * torch.trapezoid(before * distance**2 * wave, distance)
