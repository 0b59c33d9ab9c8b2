"""A new sampler by registration alone."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dsdcli.errors import UsageError
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import leap
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.rates import at_particles
from dsdcli.sampling.registry import SAMPLERS, make_sampler, register
from tests.conftest import random_model


def test_a_new_sampler_needs_its_registration_alone(monkeypatch):
    @dataclass(frozen=True)
    class OneLeap:
        share: float = 1.0
        dose_end: float = 0.06
        name = "one-leap"
        evaluations = 2

        def walk(self, particles, phases, rates, lattice, dose, generators):
            s = torch.full((len(generators),), dose, dtype=torch.float64)
            h = rates(particles.occupancy(lattice, len(generators), phases), s, lattice)
            drift = self.share * torch.relu(at_particles(h, particles, lattice) - dose)
            yield leap(particles, drift, None, lattice, generators)

    monkeypatch.setattr("dsdcli.sampling.registry.SAMPLERS", dict(SAMPLERS))
    register(OneLeap)
    totals = np.random.default_rng(0).multinomial(48, [0.3, 0.3, 0.4], size=3)
    images = stack_of(generate(random_model(3, 2), totals, Lattice((8, 6)), make_sampler("one-leap", share=0.5), 0, 2))
    assert [np.bincount(image.ravel(), minlength=3).tolist() for image in images] == totals.tolist()


def test_what_is_not_registered_or_not_a_setting_is_said():
    with pytest.raises(UsageError, match="use one of trapezoidal, adaptive, corrector, cfl"):
        make_sampler("euler")
    with pytest.raises(UsageError, match=r"`sampler='cfl'` knows no `eta` and `steps`; leave it out"):
        make_sampler("cfl", steps=3, eta=0.0)
