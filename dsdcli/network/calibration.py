"""A linear correction of the network's guess of the clean image, and of the growth of its waves, wave by wave, as
round trips of real images ask for.

Long waves hold much of the variance of a structure, yet next to nothing of the loss: a volume has few of them beside
its sites. A network that misses a third of their amplitude has learned all else, and its samples are too uniform at
large, and so too ragged in the small, since the variance of a phase is given by its fraction. What the counts say of a
long wave is linear, and can be measured: for every phase, dose and band of wavenumbers two numbers, the shares of the
network's guess and of the linear guess by the counts that together come nearest to the clean image. A third says what
the rates that follow lack of the speed at which the wave should grow: a per cent of it, over all the doses at which a
long wave grows, is a tenth of its power in the end (method.md, section 5).
"""

import math
from dataclasses import dataclass

import torch

from dsdcli.network.tables import between, row_of
from dsdcli.process.lattice import Lattice
from dsdcli.process.waves import from_waves, to_waves, wavenumbers

DOSES = 14  # spaced evenly in log s, from the least to the largest of the model
LEAST_DOSE = 2.0  # below it the network knows all long waves
BANDS = (0.05, 0.08, 0.13, 0.19, 0.26, 0.36, 0.5, 0.75, 1.1, 1.6)  # wavenumbers, the middles of bands
LEAST_GAIN = 0.1  # of a wave's power that the linear guess must bring somewhere, else there is no table
RARE = 1e-4  # probability that no phase is denied
LEAST_POWER = 4.0  # over f (1 - f), of waves whose growth is corrected: weaker ones do not grow by a linear law
GROWN = 0.1  # power of a wave at a dose, beside the noise of the counts, that is grown enough to be corrected by half
MOST_LACK = 0.3  # found in one turn: more is noise
LEAST_OWED = 0.25  # of a wave's power that its growth must lack by the end, else it is not corrected


def edges() -> torch.Tensor:
    """Wavenumbers between the bands, and around all of them."""
    middle = torch.tensor(BANDS, dtype=torch.float64)
    return torch.cat([middle.new_zeros(1), (middle[:-1] * middle[1:]).sqrt(), middle.new_full((1,), math.inf)])


def doses(most: float) -> torch.Tensor:
    """Doses that a table is made at, float64 (DOSES,)."""
    return torch.logspace(math.log10(LEAST_DOSE), math.log10(most), DOSES, dtype=torch.float64)


def shape(phases: int) -> tuple[int, ...]:
    """Of a table: dose, band, phase, and four numbers: the shares of the network's and of the linear guess, the power
    of the clean images over f (1 - f), which is the same for every dose, and what the rates lack of a wave's growth, in
    units of k^2."""
    return DOSES, len(BANDS), phases, 4


@dataclass(frozen=True, eq=False)
class Waves:
    """Images in terms of waves: what a table is measured on, and what it corrects. All (B, C, *L).

    Attributes:
        mean: volume fraction of each phase in the guess, (B, C, 1, ...).
        guess: amplitudes of the guess.
        seen: amplitudes that follow from the counts alone, if structures were Gaussian (Wiener 1949): of what the
            counts say, whose noise is f (1 - f) (1 - E^2), where E = exp(-s k^2) is what is left of the wave.
    """

    mean: torch.Tensor
    guess: torch.Tensor
    seen: torch.Tensor

    @classmethod
    def of(
        cls, clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor, power: torch.Tensor, lattice: Lattice
    ) -> "Waves":
        """
        Args:
            power: of real images in every band, over f (1 - f), (bands, C).
        """
        _, seen = said(counts.to(clean.dtype))
        gain = gains(power, wavenumbers(lattice, clean.device), dose)
        level = clean.flatten(2).mean(2).view(*clean.shape[:2], *(1,) * lattice.ndim)
        return cls(level, to_waves(clean - level, lattice), to_waves(seen, lattice) * gain.to(clean.dtype))


def said(counts: torch.Tensor, phases: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of counts (B, C, *L), and what they say of every site: those of a phase less its fraction of all, which
    of all unbiased ways to combine them has the least noise; of intensities (``phases`` False), each for itself."""
    mean = counts.flatten(2).mean(2).view(*counts.shape[:2], *(1,) * (counts.ndim - 2))
    seen = counts - mean
    if phases:
        seen -= mean * seen.sum(1, keepdim=True)
    return mean, seen


def gains(power: torch.Tensor, k: torch.Tensor, dose: torch.Tensor) -> torch.Tensor:
    """What makes amplitudes of counts those that follow from them, at doses (B,) and wavenumbers (*L): (B, C, *L)."""
    left = torch.exp(-dose.view(-1, *(1,) * (k.ndim + 1)) * k**2)  # (B, 1, *L)
    strength = between(power, _place(k)).T.unflatten(1, k.shape)  # (C, *L)
    return strength * left / (strength * left**2 + (1 - left**2)).clamp_min(1e-12)


def shares(table: torch.Tensor, most: float, dose: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the network's and of the linear guess, at doses (B,) and wavenumbers (*L): (B, C, *L) each."""
    of_guess, of_seen = _of_waves(table[..., :2], most, dose, k)
    return of_guess, of_seen


def lacks(table: torch.Tensor, most: float, dose: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """What the rates lack of a wave's growth, at doses (B,) and wavenumbers (*L): (B, C, *L)."""
    return _of_waves(table[..., 3:], most, dose, k)[0]


def _of_waves(columns: torch.Tensor, most: float, dose: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Columns of a table (doses, bands, C, n) at doses (B,) and wavenumbers (*L): n of (B, C, *L)."""
    at = row_of(dose, LEAST_DOSE, most, DOSES)
    place = _place(k)
    of_wave = torch.stack([between(one, place) for one in between(columns, at)])  # (B, sites, C, n)
    return of_wave.movedim(1, -1).unflatten(-1, k.shape).unbind(2)


def band_power(clean: torch.Tensor, lattice: Lattice, phases: bool = True) -> torch.Tensor:
    """Power of images (B, C, *L) in every band, over f (1 - f), of intensities over their mean: the noise of particles
    that are anywhere. Float64 (bands, C)."""
    mean = clean.flatten(2).mean(2).view(*clean.shape[:2], *(1,) * lattice.ndim)
    power = to_waves(clean - mean, lattice).abs().square().double().flatten(2)  # (B, C, sites)
    variance = (mean * (1 - mean) if phases else mean).double().sum(0).flatten(1)  # (C, 1)
    band, counted = _bands(lattice, clean.device)
    total = torch.zeros(len(BANDS), clean.shape[1], dtype=torch.float64, device=clean.device)
    total.index_add_(0, band, power.sum(0).T.contiguous())
    number = torch.zeros(len(BANDS), dtype=torch.float64, device=clean.device).index_add_(0, band, counted)
    return _filled(total / number.clamp_min(1)[:, None] / variance.T.clamp_min(1e-12), number)


def measure(clean: torch.Tensor, waves: Waves, lattice: Lattice) -> torch.Tensor:
    """Sums that `solve` makes shares of, from images (B, C, *L) and what was guessed and seen of them: float64
    (bands, C, 7), products of the network's guess, the linear one and the truth, and the number of waves."""
    truth = to_waves(clean - clean.flatten(2).mean(2).view(waves.mean.shape), lattice)
    guess, seen = waves.guess, waves.seen
    band, counted = _bands(lattice, clean.device)
    pairs = ((guess, guess), (guess, seen), (seen, seen), (guess, truth), (seen, truth), (truth, truth))
    products = [(a.conj() * b).real.double().sum(0).flatten(1) for a, b in pairs]  # (C, sites) each
    products.append(counted.expand_as(products[0]) * len(clean))
    sums = torch.zeros(len(BANDS), clean.shape[1], len(products), dtype=torch.float64, device=clean.device)
    return sums.index_add_(0, band, torch.stack(products, -1).movedim(1, 0))


def solve(sums: torch.Tensor) -> torch.Tensor:
    """Shares of the network's and of the linear guess for a dose, (bands, C, 7) to (bands, C, 2): least squares, drawn
    towards the network's guess as it is by as much as they are uncertain (James and Stein 1961)."""
    gg, gs, ss, gt, st, tt, number = _filled(sums, sums[:, 0, -1]).unbind(-1)
    gg, ss = gg.clamp_min(1e-12), ss.clamp_min(1e-12)
    alone = (gg * ss - gs**2).clamp_min(1e-9 * gg * ss) / gg  # what the network does not say of the linear guess
    seen = (st - gt * gs / gg) / alone
    left = (tt - (gt - seen * gs) / gg * gt - seen * st).clamp_min(0) / number.clamp_min(1)  # mean square not explained
    seen = (seen * _kept(seen, left / alone)).clamp(0, 1)  # the linear guess is never too faint
    guess = (gt - seen * gs) / gg
    return torch.stack([(1 + (guess - 1) * _kept(guess - 1, left / gg)).clamp_min(0), seen], -1)


def gained(sums: torch.Tensor) -> float:
    """The most, over bands and phases, that the linear guess in the place of the network's, or of a part of it, takes
    from the error, as a share of the power of the truth."""
    gg, gs, ss, gt, st, tt, _ = _filled(sums, sums[:, 0, -1]).unbind(-1)
    both = st - gt - gs + gg
    share = (both / (ss - 2 * gs + gg).clamp_min(1e-12)).clamp(0, 1)
    return float((share * both / tt.clamp_min(1e-12)).max())


def _kept(value: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Share of an estimate that is kept: none within a standard error, nearly all far beyond."""
    return (1 - variance / value.square().clamp_min(1e-30)).clamp_min(0)


def _bands(lattice: Lattice, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The band of every wave of a lattice, (sites,), and 1 for all but the constant, which is in none."""
    k = wavenumbers(lattice, device).flatten()
    return (torch.bucketize(k, edges().to(device)) - 1).clamp_min(0), (k > 0).double()


def _filled(values: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Values (bands, ...) where a band without waves, longer than the images, is as the nearest one that has some."""
    filled = number.nonzero()[:, 0]
    nearest = (torch.arange(len(values), device=values.device)[:, None] - filled).abs().argmin(1)
    return values[filled[nearest]]


def corrected(
    table: torch.Tensor, most: float, clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor, lattice: Lattice
) -> torch.Tensor:
    """The guess (B, C, *L) of clean images at doses (B,) as a table, made for doses up to ``most``, corrects it; below
    the least dose it stays."""
    late = dose >= LEAST_DOSE
    if not late.any():
        return clean
    if not late.all():
        clean = clean.clone()
        clean[late] = corrected(table, most, clean[late], counts[late], dose[late], lattice)
        return clean
    waves = Waves.of(clean, counts, dose, table[0, ..., 2], lattice)
    of_guess, of_seen = shares(table, most, dose, wavenumbers(lattice, clean.device))
    total = of_guess.to(clean.dtype) * waves.guess + of_seen.to(clean.dtype) * waves.seen
    return likely(waves.mean + from_waves(total, lattice))


def pull(
    table: torch.Tensor,
    most: float,
    counts: torch.Tensor,
    dose: torch.Tensor,
    lattice: Lattice,
    phases: bool = True,
) -> torch.Tensor:
    """What is added to the logarithm of `dsdcli.process.origins.origins`, float32 (B, C, *L), so that the waves of
    counts (B, C, *L) grow as fast as they should at doses (B,); nothing below the least dose."""
    mean, seen = said(counts.float(), phases)
    lack = lacks(table, most, dose, wavenumbers(lattice, counts.device)) * (dose >= LEAST_DOSE).view(
        -1, *(1,) * (counts.ndim - 1)
    )
    return from_waves(to_waves(seen, lattice) * lack.float(), lattice) / mean.clamp_min(RARE)


def growth(
    counts: torch.Tensor, undo: torch.Tensor, dose: float, power: torch.Tensor, lattice: Lattice, phases: bool = True
) -> torch.Tensor:
    """Sums that `lacking` makes a lack of, from counts (B, C, *L) at a dose and the undo counts (B, C, 2d, *L) that a
    model gives them: float64 (bands, C, 3). Growth by directed hops at these rates, growth that is right, and k^2, each
    times the power of what the counts say.

    The walk back hops at max(h / s - 1, 0) in every direction. For the power p E^2 + 1 - E^2 of a wave to be right at
    the next dose too, these hops must move what the counts say of it by k^2 ((p - 1) E^2 - r) / (p E^2 + 1 - E^2) of
    itself, where r is the mean rate, whose hops add to the noise.
    """
    counts = counts.double()
    rate = torch.relu(undo.double() / dose - 1)
    grown = to_waves(moved(counts, rate, lattice), lattice)
    each = (rate * counts.unsqueeze(2)).flatten(2).sum(2) / counts.flatten(2).sum(2).clamp_min(1) / lattice.directions
    k = wavenumbers(lattice, counts.device)
    left = torch.exp(-2 * dose * k**2)
    strength = between(power, _place(k)).T.unflatten(1, k.shape)  # (C, *L)
    noise = each.view(*each.shape, *(1,) * lattice.ndim)
    wanted = k**2 * ((strength - 1) * left - noise) / (strength * left + 1 - left)
    seen = to_waves(said(counts, phases)[1], lattice)
    size = seen.abs().square()
    band, counted = _bands(lattice, counts.device)
    products = [(seen.conj() * grown).real, wanted * size, k**2 * size]
    products = [(one.sum(0).flatten(1) * counted).T for one in products]  # (sites, C) each
    sums = torch.zeros(len(BANDS), counts.shape[1], 3, dtype=torch.float64, device=counts.device)
    return sums.index_add_(0, band, torch.stack(products, -1))


def lacking(parts: torch.Tensor, dose: float, power: torch.Tensor) -> torch.Tensor:
    """What the rates lack of the growth of waves at a dose, in units of k^2, from the sums of `growth` over parts of
    the images, (n, bands, C, 3): (bands, C). Nothing of waves that the counts hardly say, or that are too weak; drawn
    towards nothing by as much as the parts differ."""
    middle = torch.tensor(BANDS, dtype=torch.float64, device=parts.device)[:, None]
    grown = power * torch.exp(-2 * dose * middle**2)
    weight = grown / (grown + GROWN) * (power > LEAST_POWER)

    def of(sums: torch.Tensor) -> torch.Tensor:
        has, wanted, square = sums.unbind(-1)
        return (wanted - has) / square.clamp_min(1e-12) * weight

    lack = of(parts.sum(0))
    if len(parts) > 1:
        lack = lack * _kept(lack, of(parts).var(0) / len(parts))
    return lack.clamp(-MOST_LACK, MOST_LACK)


def owed(lacks: torch.Tensor, most: float) -> float:
    """The most, over bands and phases, that waves whose growth lacks this, (doses, bands, C), lack of their power in
    the end."""
    at, middle = doses(most).to(lacks.device), torch.tensor(BANDS, dtype=torch.float64, device=lacks.device)
    steps = torch.log(at[1] / at[0]) * at
    return float(2 * torch.einsum("sbc,b,s->bc", lacks, middle**2, steps).max())


def moved(counts: torch.Tensor, rate: torch.Tensor, lattice: Lattice) -> torch.Tensor:
    """Mean change of counts (B, C, *L) per unit of dose, by hops at these rates (B, C, 2d, *L) through open bonds."""
    change = torch.zeros_like(counts)
    leaving = (counts.unsqueeze(2) * rate * lattice.open_bonds(counts.device)).unbind(2)
    for number, hops in enumerate(leaving):
        change += hops.roll(1 - 2 * (number % 2), 2 + number // 2) - hops
    return change


def likely(guess: torch.Tensor) -> torch.Tensor:
    """A guess (B, C, *L) as probabilities."""
    guess = guess.clamp_min(RARE)
    return guess / guess.sum(1, keepdim=True)


def _place(k: torch.Tensor) -> torch.Tensor:
    """Where wavenumbers (*L) lie among the middles of the bands, in their logarithm: (sites,)."""
    middle = torch.tensor(BANDS, dtype=torch.float64, device=k.device).log()
    at = k.flatten().clamp_min(1e-9).log()
    upper = torch.bucketize(at, middle).clamp(1, len(BANDS) - 1)
    return upper - 1 + (at - middle[upper - 1]) / (middle[upper] - middle[upper - 1])
