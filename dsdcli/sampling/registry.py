"""The samplers by name. A new one is a file beside this one, registered here or from outside."""

from dataclasses import fields
from typing import Any, TypeVar

from dsdcli.errors import UsageError
from dsdcli.sampling.adaptive import Adaptive
from dsdcli.sampling.corrector import Corrector
from dsdcli.sampling.sampler import Sampler
from dsdcli.sampling.tau_leaping import TauLeaping
from dsdcli.sampling.trapezoidal import Trapezoidal

SAMPLERS: dict[str, type[Sampler]] = {}
Kind = TypeVar("Kind", bound=type[Sampler])


def register(kind: Kind) -> Kind:
    """Make a sampler known under its name; may decorate its class."""
    SAMPLERS[kind.name] = kind
    return kind


def make_sampler(name: str = Trapezoidal.name, **settings: Any) -> Sampler:
    """The sampler called ``name``, with the settings that are given.

    Raises:
        UsageError: there is no such sampler, or it has no such setting or value.
    """
    if name not in SAMPLERS:
        raise UsageError(f"unknown sampler '{name}': use one of {', '.join(SAMPLERS)}")
    kind = SAMPLERS[name]
    strange = set(settings) - {field.name for field in fields(kind)}
    if strange:
        raise UsageError(f"`sampler={name!r}` knows no {' and '.join(f'`{s}`' for s in sorted(strange))}; leave it out")
    return kind(**settings)


for _kind in (Trapezoidal, Adaptive, Corrector, TauLeaping):
    register(_kind)
