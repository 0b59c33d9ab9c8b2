"""The network on a slab of a volume: what its blocks see beyond comes from the ranks beside, layer by
layer, so that nothing is computed twice."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dsdcli.errors import UsageError
from dsdcli.network.calibration import LEAST_DOSE, RARE, gains, lacks, likely, shares
from dsdcli.network.config import Architecture
from dsdcli.network.coupling import attraction
from dsdcli.network.local import slabs
from dsdcli.network.model import NOTHING, UndoNet, tempered
from dsdcli.process.lattice import Lattice
from dsdcli.process.origins import LEAST, TINY, origins
from dsdcli.process.slab import Slab, Walkers
from dsdcli.process.waves import wavenumbers
from dsdcli.ranks import Ranks


def slab_of(architecture: Architecture, lattice: Lattice, ranks: Ranks) -> Slab:
    """The slab of this rank: in units as thin as the network's coarsest blocks, and as they see beyond themselves.

    Raises:
        UsageError: a ring that it would have to pad, or more ranks than units.
    """
    multiple = architecture.multiple
    if lattice.boundary == "periodic" and any(side % multiple for side in lattice.shape):
        raise UsageError(f"slabs of a periodic volume need sides that are multiples of {multiple}; change `size`")
    slab = Slab(lattice, multiple * max(1, architecture.kernel // 2), ranks)
    if lattice.boundary == "periodic" and lattice.shape[0] % slab.unit:
        raise UsageError(f"slabs of a periodic volume need a first side that is a multiple of {slab.unit}")
    if ranks.count > slab.units:
        raise UsageError(f"{ranks.count} ranks share {slab.units} units of {slab.unit} rows; start fewer")
    return slab


@dataclass(frozen=True, eq=False)
class SlabRows:
    """As `dsdcli.network.local.Extent`: whole units of rows, at any resolution."""

    slab: Slab

    @property
    def periodic(self) -> bool:
        return self.slab.lattice.boundary == "periodic"

    def each(self, work: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.cat([work(part.contiguous()) for part in x.chunk(len(self.slab.own), 1)], 1)

    def spans(self, x: torch.Tensor, training: bool) -> list[tuple[int, int]]:
        rows = x.shape[1] // len(self.slab.own)
        inside = slabs(x[:, :rows], training)
        return [(at + start, at + stop) for at in range(0, x.shape[1], rows) for start, stop in inside]

    def beyond(self, x: torch.Tensor, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.slab.beyond(x, reach)

    def around(
        self, x: torch.Tensor, span: tuple[int, int], reach: int, beyond: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        low, high = span[0] - reach, span[1] + reach
        before, after = beyond
        parts = [before[:, low + reach :]] if low < 0 else []
        parts.append(x[:, max(0, low) : high])
        if high > x.shape[1]:
            parts.append(after[:, : high - x.shape[1]])
        return torch.cat(parts, 1)


@dataclass(frozen=True, eq=False)
class SlabNet:
    """What `dsdcli.network.model.UndoNet` says of the slab of this rank; all ranks ask for it at the same time.

    Attributes:
        fractions: mean counts of the phases on the whole lattice, float32 (C,).
    """

    model: UndoNet
    slab: Slab
    fractions: torch.Tensor

    @torch.inference_mode()
    def undo(self, walkers: Walkers, dose: float) -> list[torch.Tensor]:
        """Undo counts h (p, 2d) of the particles of each unit, float32, 0 towards a wall."""
        slab, phases, directions = self.slab, self.model.phases, self.slab.lattice.directions
        counts, at = walkers.counts(slab, phases), self._dose(dose)
        out = self._outputs(counts, at)
        clean = self._guess(out, counts, at)
        log_likely = self._log_likely(clean, counts, at)
        table = self._table(dose)
        if table is not None:
            log_likely += self._pull(table, counts, at)
        del clean, counts
        before, after = slab.beyond(log_likely[None].movedim(2, 1), 1)  # (1, 1, C, ...)
        log_likely = torch.cat([before[:, 0].movedim(0, 1), log_likely, after[:, 0].movedim(0, 1)], 1)
        flat = log_likely.flatten()  # of one row more on both sides
        open_sites, rows = slab.lattice.sites, log_likely.shape[1]
        turn = torch.arange(directions, device=flat.device)
        found = []
        for a, b in walkers.ends:
            place = walkers.place[a:b]
            phase, site = place // open_sites, slab.lattice.unravel(place % open_sites)
            row = site[:, 0] - slab.rows.start
            inside = [row, *site.T[1:]]
            f = out[(0, *inside)].gather(1, phase[:, None] * directions + turn)
            seen = [phase, row + 1, *site.T[1:]]
            here, gained, is_open = flat[_ravel(seen, log_likely.shape)], [], []
            for axis, side in enumerate(slab.lattice.shape):
                for sign, last in ((1, side - 1), (-1, 0)):
                    beside = list(seen)
                    beside[axis + 1] = (seen[axis + 1] + sign) % (rows if axis == 0 else side)
                    gained.append(flat[_ravel(beside, log_likely.shape)] - here)
                    is_open.append(site[:, axis] != last)
            log_ratio = torch.stack(gained, 1) + f * self.model.damping(at).float()
            h = at.float() * torch.exp(tempered(log_ratio, at.float()))
            found.append(h * torch.stack(is_open, 1) if slab.lattice.boundary == "noflux" else h)
        return found

    @torch.inference_mode()
    def clean(self, counts: torch.Tensor, dose: float) -> torch.Tensor:
        """Probability of every phase of the clean image, float64 (K, rows, ...)."""
        at = self._dose(dose)
        return self._guess(self._outputs(counts, at), counts, at, torch.float64)

    def _dose(self, dose: float) -> torch.Tensor:
        return torch.full((1,), dose, dtype=torch.float64, device=self.fractions.device)

    def _outputs(self, counts: torch.Tensor, dose: torch.Tensor) -> torch.Tensor:
        """Of the network, (1, rows, ..., outputs)."""
        slab, multiple = self.slab, self.model.config.architecture.multiple
        fields = [counts - self.fractions.view(-1, *(1,) * slab.lattice.ndim), torch.ones_like(counts[:1])]
        padding = [n for side in reversed(counts.shape[2:]) for n in (0, -side % multiple)]
        padding += [0, len(slab.own) * slab.unit - counts.shape[1]]
        field = F.pad(torch.cat(fields), padding)[None]
        condition = self.model.condition(dose, self.fractions[None], NOTHING)
        out = self.model.net.over(field, condition, SlabRows(slab)).movedim(1, -1)
        return out[(slice(None), *(slice(side) for side in counts.shape[1:]))]

    def _guess(
        self, out: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """Probability of every phase of the clean image (K, rows, ...), with its long waves as calibrated."""
        logits = out[0, ..., -len(self.model.config.phases) :].movedim(-1, 0)
        clean = self.slab.each(lambda part: part.to(dtype).softmax(0), logits)
        table = self._table(float(dose))
        clean = clean if table is None else self._calibrated(table, clean, counts, dose)
        return clean if self.model.coupling is None else self._coupled(self.model.coupling, clean, dose)

    def _coupled(self, table: torch.Tensor, clean: torch.Tensor, dose: torch.Tensor) -> torch.Tensor:
        """Probabilities (K, rows, ...) with the attraction of phases, as `dsdcli.network.coupling` has it."""
        before, after = self.slab.beyond(clean[None].movedim(2, 1), 1)
        wide = torch.cat([before.movedim(1, 2), clean[None], after.movedim(1, 2)], 2)
        more = attraction(table, dose, wide, self.slab.lattice.boundary == "periodic")[:, :, 1:-1]
        return (clean.clamp_min(TINY).log() + more[0]).softmax(0)

    def _table(self, dose: float) -> torch.Tensor | None:
        """The calibration, where it matters."""
        return self.model.calibration if dose >= LEAST_DOSE else None

    def _seen(self, counts: torch.Tensor) -> torch.Tensor:
        """Waves of what the counts say, as `dsdcli.network.calibration.said` has it."""
        mean = self.fractions.view(-1, *(1,) * self.slab.lattice.ndim)
        seen = counts - mean
        seen -= mean * seen.sum(0, keepdim=True)
        return self.slab.to_waves(seen)

    def _pull(self, table: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor) -> torch.Tensor:
        """As `dsdcli.network.calibration.pull`, (C, rows, ...)."""
        most = self.model.config.dose_max

        def lacking(k: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
            return seen * lacks(table, most, dose, k)[0].float()

        return self._from_waves(lacking, self._seen(counts)) / self.fractions.view(
            -1, *(1,) * self.slab.lattice.ndim
        ).clamp_min(RARE)

    def _calibrated(
        self, table: torch.Tensor, clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor
    ) -> torch.Tensor:
        """As `dsdcli.network.calibration.corrected`."""
        slab, most = self.slab, self.model.config.dose_max
        level = slab.means(clean).to(clean.dtype)

        def mixed(k: torch.Tensor, guess: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
            of_guess, of_seen = (share[0].to(clean.dtype) for share in shares(table, most, dose, k))
            return of_guess * guess + of_seen * (seen * gains(table[0, ..., 2], k, dose)[0].to(clean.dtype))

        back = self._from_waves(mixed, slab.to_waves(clean - level), self._seen(counts))
        return likely((level + back)[None])[0]

    def _from_waves(self, work: Callable[..., torch.Tensor], *waves: torch.Tensor) -> torch.Tensor:
        """The field of what ``work`` makes of wavenumbers and the amplitudes there, unit by unit of the columns."""
        slab, parts = self.slab, []
        start = slab.columns[0][0] if slab.columns else 0
        for a, b in slab.columns:
            k = wavenumbers(slab.lattice, waves[0].device, slice(a, b))
            parts.append(work(k, *(each[:, :, a - start : b - start] for each in waves)))
        return slab.from_waves(torch.cat(parts, 2) if parts else waves[0])

    def _log_likely(self, clean: torch.Tensor, counts: torch.Tensor, dose: torch.Tensor) -> torch.Tensor:
        """What `dsdcli.process.origins.log_undo_ratio` takes differences of, (C, rows, ...)."""
        found = origins(clean.clamp_min(LEAST), counts, self.slab.smoother(dose))
        return self.slab.each(lambda part: part.clamp_min(TINY).log(), found)


def _ravel(site: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    """Row-major index of sites given axis by axis."""
    flat = site[0]
    for at, side in zip(site[1:], shape[1:], strict=True):
        flat = flat * side + at
    return flat
