"""What a sampler is: a discretisation of the reverse walk, with its settings."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol

import torch

from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles
from dsdcli.sampling.rates import Rates


class Sampler(Protocol):
    """A frozen dataclass, whose fields are its settings and go into the audit record.

    Attributes:
        name: under which `dsdcli.sampling.registry` has it.
        dose_end: dose at which the walk stops and the decoding takes over.
    """

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def dose_end(self) -> float: ...

    @property
    def evaluations(self) -> int | None:
        """Network evaluations of a sample, that of the decoding included; None where only the rates decide that."""
        ...

    def walk(
        self,
        particles: Particles,
        phases: int,
        rates: Rates,
        lattice: Lattice,
        dose: float,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Particles]:
        """Walk the particles back from ``dose`` to `dose_end`; yields them after every network evaluation.

        Args:
            phases: number C of phases or species.
            rates: undo counts.
            generators: one per image, which nothing but that image draws from.
        """
        ...
