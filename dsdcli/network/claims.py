"""What a config.json says, held against what it can mean, before anything is built from it."""

import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from dsdcli.data.phases import MAX_PHASES
from dsdcli.data.species import LARGEST_CAP, MAX_SPECIES
from dsdcli.errors import DataError
from dsdcli.process.lattice import Boundary
from dsdcli.process.long_waves import MOST_EXPONENT

LARGEST = {"channels": 2**14, "blocks": 64, "patch": 16, "fine": 2**14, "kernel": 31, "expansion": 64}
LEVELS = 8
CLASSES = 2**10
PROPERTIES = 2**6
SIDE = 2**20  # voxels, of a crop
ROUNDING = 1e-6  # that sums and symmetries are kept to


class Claims:
    """A JSON object whose entries are asked for with what they must be.

    Args:
        value: the object.
        name: of it, in messages.
    """

    def __init__(self, value: Any, name: str = "") -> None:
        self.name = name
        self.values = value
        self.demand(isinstance(value, Mapping), "is no JSON object")

    def demand(self, met: bool, what: str, key: str | None = None) -> None:
        """Raise a DataError that says ``what`` of the object or of one of its entries, unless it is met."""
        if not met:
            path = ".".join(part for part in (self.name, key) if part)
            raise DataError(f"the model's config.json is damaged: {path or 'it'} {what}; train or fetch it again")

    def only(self, *known: str) -> None:
        """There are no entries but these."""
        for key in self.values:
            self.demand(key in known, "is unknown", key)

    def get(self, key: str) -> Any:
        """An entry, which must be there."""
        self.demand(key in self.values, "is missing", key)
        return self.values[key]

    def whole(self, key: str, low: int, high: int, value: Any = None) -> int:
        """A whole number in a range; ``value`` instead of the entry itself where that is a part of it."""
        value = self.get(key) if value is None else value
        sound = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        self.demand(sound, f"must be a whole number from {low} to {high}", key)
        return value

    def number(self, key: str, value: Any = None) -> float:
        """A finite number."""
        value = self.get(key) if value is None else value
        sound = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        self.demand(sound, "must be a finite number", key)
        return float(value)

    def positive(self, key: str) -> float:
        """A finite number above 0."""
        value = self.number(key)
        self.demand(value > 0, "must be positive", key)
        return value

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.get(key)
        self.demand(isinstance(value, str) and bool(value), "must be a text", key)
        return value

    def list(self, key: str, low: int, high: int, value: Any = None) -> list[Any]:
        """A list of so many entries."""
        value = self.get(key) if value is None else value
        sound = isinstance(value, list | tuple) and low <= len(value) <= high
        self.demand(sound, f"must be a list of {low if low == high else f'{low} to {high}'} entries", key)
        return list(value)


def check_model(value: Any, fields: Mapping[str, tuple[str, ...]]) -> None:
    """See that a model's config means something: types, ranges, and what must agree.

    Args:
        value: as read from JSON.
        fields: names of the entries of the model, its ``architecture``, ``phases``, ``classes`` and ``species``.

    Raises:
        DataError: it does not.
    """
    model = Claims(value)
    model.only("format", "format_version", "carried", *fields["model"])
    cap: int | None = None  # of a model of intensities
    if value.get("species"):
        number, cap = _check_species(model, fields["species"])
    else:
        number = _check_phases(model, fields)
    if "carried" in model.values:  # by earlier releases, as the kind of an architecture
        model.demand(model.list("carried", number, number) == [*range(number)], "must be all phases", "carried")
    _check_fractions(model, number, cap)
    model.demand(model.get("boundary") in get_args(Boundary), "must be noflux or periodic", "boundary")
    for side in model.list("size", 1, 3):
        model.whole("size", 1, SIDE, side)
    low, high = model.positive("dose_min"), model.positive("dose_max")
    model.demand(low < high, "must be larger than dose_min", "dose_max")
    _check_long_waves(model, number)
    if "classes" in model.values:
        _check_classes(model, number, fields["classes"], cap)
    if "properties" in model.values:
        _check_properties(model, fields["properties"])
    _check_architecture(Claims(model.get("architecture"), "architecture"), fields["architecture"])
    if model.get("voxel_size") is not None:
        model.positive("voxel_size")
    model.demand((value["voxel_size"] is None) == (model.get("voxel_unit") is None), "lacks its size", "voxel_unit")
    for name in ("voxel_unit", "dataset", "dataset_digest"):
        if model.get(name) is not None:
            model.text(name)


def _check_phases(model: Claims, fields: Mapping[str, tuple[str, ...]]) -> int:
    """See that the phases mean something; their number."""
    phases = [Claims(phase, f"phases[{i}]") for i, phase in enumerate(model.list("phases", 2, MAX_PHASES))]
    for phase in phases:
        phase.only(*fields["phases"])
    names, labels = [p.text("name") for p in phases], [p.whole("label", -(2**63), 2**63 - 1) for p in phases]
    model.demand(len(set(names)) == len(names), "must have distinct names", "phases")
    model.demand(len(set(labels)) == len(labels), "must have distinct labels", "phases")
    return len(phases)


def _check_species(model: Claims, fields: tuple[str, ...]) -> tuple[int, int]:
    """See that the species mean something; their number, and the largest cap."""
    model.list("phases", 0, 0)
    species = [Claims(each, f"species[{i}]") for i, each in enumerate(model.list("species", 1, MAX_SPECIES))]
    for each in species:
        each.only(*fields)
        each.demand(each.text("dtype") in ("uint8", "uint16", "uint32"), "must be uint8, uint16 or uint32", "dtype")
    names = [each.text("name") for each in species]
    model.demand(len(set(names)) == len(names), "must have distinct names", "species")
    return len(species), max(each.whole("cap", 1, LARGEST_CAP) for each in species)


def _check_fractions(model: Claims, number: int, cap: int | None = None) -> None:
    """Shares of 1, or with a cap mean counts in a voxel."""
    fractions = np.array([model.number("fractions", f) for f in model.list("fractions", number, number)])
    if cap is not None:
        model.demand(bool((fractions >= 0).all() and fractions.max() <= cap), "must be mean counts", "fractions")
        return
    sound = fractions.min() >= 0 and abs(fractions.sum() - 1) <= ROUNDING
    model.demand(bool(sound), "must be shares of 1", "fractions")


def _check_classes(model: Claims, phases: int, fields: tuple[str, ...], cap: int | None) -> None:
    least = 1 if cap is None else 0
    found = [Claims(each, f"classes[{i}]") for i, each in enumerate(model.list("classes", least, CLASSES))]
    for each in found:
        each.only(*fields)
        _check_fractions(each, phases, cap)
        _check_long_waves(each, phases)
    names = [each.text("name") for each in found]
    model.demand(len(set(names)) == len(names), "must have distinct names", "classes")


def _check_properties(model: Claims, fields: tuple[str, ...]) -> None:
    found = [Claims(each, f"properties[{i}]") for i, each in enumerate(model.list("properties", 1, PROPERTIES))]
    for each in found:
        each.only(*fields)
        each.number("mean")
        each.positive("deviation")
        each.demand(each.number("low") <= each.number("high"), "must not be below low", "high")
    names = [each.text("name") for each in found]
    model.demand(len(set(names)) == len(names), "must have distinct names", "properties")


def _check_long_waves(model: Claims, number: int) -> None:
    """The integral range is symmetric and positive semi-definite, as all covariances; exponents are small."""
    key = "range_exponents"
    if key in model.values:
        for each in model.list(key, number, number):
            model.demand(abs(model.number(key, each)) <= MOST_EXPONENT, "must lie between -1 and 1", key)
    key = "integral_range"
    rows = [model.list(key, number, number, row or [None]) for row in model.list(key, number, number)]
    matrix = np.array([[model.number(key, math.nan if a is None else a) for a in row] for row in rows])
    slack = ROUNDING * max(1.0, float(np.abs(matrix).max()))
    model.demand(bool((np.abs(matrix - matrix.T) <= slack).all()), "must be symmetric", key)
    model.demand(float(np.linalg.eigvalsh(matrix)[0]) >= -slack, "must be positive semi-definite", key)


def _check_architecture(architecture: Claims, fields: tuple[str, ...]) -> None:
    architecture.only("kind", *fields)
    for width in architecture.list("channels", 1, LEVELS):
        architecture.whole("channels", 1, LARGEST["channels"], width)
    for key in architecture.values.keys() & LARGEST.keys() - {"channels"}:
        architecture.whole(key, 1, LARGEST[key])
    architecture.demand(architecture.values.get("kernel", 1) % 2 == 1, "must be odd", "kernel")
    architecture.demand(architecture.values.get("kind", "local") == "local", "must be local", "kind")
