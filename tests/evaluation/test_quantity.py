"""Quantities: names of numbers that an image has."""

import numpy as np
import pytest

from dsdcli.errors import UsageError
from dsdcli.evaluation.metrics import measure
from dsdcli.evaluation.quantity import Quantity
from tests.conftest import blobs

ROCK, CELL = ("pore", "grain"), ("pore", "NMC", "CBD")


@pytest.mark.parametrize(
    ("name", "phases", "axes", "subjects"),
    [
        ("interface", ROCK, 2, ("pore|grain",)),
        ("interface.NMC|CBD", CELL, 3, ("NMC|CBD",)),
        ("chords", ROCK, 2, ("pore",)),
        ("chords.grain", ROCK, 3, ("grain",)),
        ("two-point", ROCK, 2, ("pore",)),
        ("two-point", ("a", "b"), 2, ("a",)),
        ("diffusivity", ROCK, 2, ("pore y", "pore x")),
        ("diffusivity.z", ROCK, 3, ("pore z",)),
        ("diffusivity.NMC", CELL, 3, ("NMC z", "NMC y", "NMC x")),
        ("diffusivity.grain.x", ROCK, 2, ("grain x",)),
        ("permeability.y", ROCK, 2, ("pore y",)),
        ("triple-junction", CELL, 2, ("pore|NMC|CBD",)),
        ("chords.x", ("x", "y"), 2, ("x",)),
    ],
)
def test_name_selects(name, phases, axes, subjects):
    assert Quantity.of(name, phases, axes).subjects == subjects


@pytest.mark.parametrize(
    ("name", "phases", "words"),
    [
        ("porosity", ROCK, "interface, triple-junction"),
        ("memorisation", ROCK, "no number of one image"),
        ("volume-fraction", ROCK, "no number of one image"),
        ("interface", CELL, r"interface\.pore\|NMC, interface\.pore\|CBD"),
        ("chords.clay", ROCK, r"chords\.pore, chords\.grain"),
        ("diffusivity.z", ROCK, r"diffusivity\.pore\.y"),
        ("triple-junction", ROCK, "there is no triple-junction"),
    ],
)
def test_what_no_image_has_is_refused(name, phases, words):
    with pytest.raises(UsageError, match=words):
        Quantity.of(name, phases, 2)


def test_number_is_the_one_that_evaluation_shows():
    image = blobs((24, 24), [0.4], 0)
    found = measure(image, ROCK, ["interface", "diffusivity", "chords"])
    assert Quantity.of("interface", ROCK, 2).measure(image) == found["interface", "pore|grain"][0]
    along = [found["diffusivity", f"grain {axis}"][0] for axis in "yx"]
    assert Quantity.of("diffusivity.grain", ROCK, 2).measure(image) == pytest.approx(np.mean(along))
    chords = found["chords", "pore"]
    mean = (chords * np.arange(len(chords))).sum() / chords.sum()
    assert Quantity.of("chords", ROCK, 2).measure(image) == pytest.approx(mean)
    assert np.isnan(Quantity.of("chords", ROCK, 2).measure(np.zeros((8, 8), np.uint8)))
    assert Quantity.of("interface", ROCK, 2).power == -1
