"""Networks with tables: what was measured on the finished weights, of one material or of each of several."""

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import nn

from dsdcli.network import calibration, coupling, levels
from dsdcli.network.config import ModelConfig

TABLES = {
    "calibration": calibration.shape,
    "coupling": coupling.shape,
    "levels": levels.shape,
}
OF_CLASSES = "{}_of_classes"  # the same of a model of several materials, one after another
ANY = -1  # number of no class


class Tabled(nn.Module):
    """Tables come with some weights, and are of these alone; None where there are none.

    A model of several materials has a set of each, and uses none of them: its guess is of any of the materials. The
    model of one class (`of_class`) has those of the class.

    Attributes:
        kind: number of the class that this is the model of; None for a model of one material, or of several.
    """

    config: ModelConfig
    phases: int
    kind: int | None = None
    calibration: torch.Tensor | None
    coupling: torch.Tensor | None
    levels: torch.Tensor | None

    def without_tables(self) -> None:
        """Begin with none."""
        for name in TABLES:
            self.register_buffer(name, None)
            self.register_buffer(OF_CLASSES.format(name), None)

    def has_tables(self) -> bool:
        """Whether something was measured on the finished weights."""
        return any(getattr(self, each) is not None for name in TABLES for each in (name, OF_CLASSES.format(name)))

    def room_for_tables(self) -> dict[str, torch.Size]:
        """Names and shapes of all that there may be."""
        number = len(self.config.classes)
        own = {name: torch.Size(shape(self.phases)) for name, shape in TABLES.items()}
        return {OF_CLASSES.format(name): torch.Size((number, *size)) for name, size in own.items()} if number else own

    def of_class(self, kind: int | None) -> Self:
        """The same network, weights and all, as the model of one of its classes, by number, which it is told unless
        told otherwise; of any for None. A model of one material is what it is."""
        if not self.config.classes or self.kind is not None:
            return self
        one = copy.copy(self)
        one.kind, one._buffers = ANY if kind is None else kind, dict(self._buffers)
        for name in TABLES:
            tables = getattr(self, OF_CLASSES.format(name))
            setattr(one, name, None if tables is None or kind is None else tables[kind])
        return one

    def take_tables(self, classes: Sequence["Tabled"]) -> None:
        """Those of the models of its classes, in their order; where some have none, they get one that does nothing."""
        for name, shape in TABLES.items():
            found = [getattr(each, name) for each in classes]
            if any(table is not None for table in found):
                nothing = torch.zeros(shape(self.phases))
                if name == "calibration":
                    nothing[..., 0] = 1  # all of the network's own guess
                tables = torch.stack([nothing if table is None else table.cpu() for table in found])
                setattr(self, OF_CLASSES.format(name), tables)
