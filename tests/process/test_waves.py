"""Waves of a lattice: a basis, in which the walk is a factor."""

import pytest
import torch

from dsdcli.process.kernel import smooth
from dsdcli.process.lattice import Lattice
from dsdcli.process.waves import from_waves, to_waves, wavenumbers


@pytest.mark.parametrize("shape", [(7,), (6, 9), (4, 5, 6)])
@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_the_walk_multiplies_every_wave(shape, boundary):
    lattice = Lattice(shape, boundary)
    field = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    waves = to_waves(field, lattice)
    torch.testing.assert_close(from_waves(waves, lattice), field)
    torch.testing.assert_close(waves.abs().square().sum(), field.square().sum())
    damped = from_waves(waves * torch.exp(-1.7 * wavenumbers(lattice, field.device) ** 2), lattice)
    torch.testing.assert_close(damped, smooth(field, torch.tensor([1.7], dtype=torch.float64), lattice))
