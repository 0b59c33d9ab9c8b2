"""Where walks begin that must agree with known voxels: the totals, the known voxels, and what is said of the others."""

import pytest
import torch

from dsdcli.process.lattice import Lattice
from dsdcli.sampling.start import GUESSES, far_from_known, foresee

LATTICE = Lattice((8, 40))
TOTALS = torch.tensor([[80, 240], [120, 200]])


def half_known():
    """The first phase in the left half of what is known, 4 columns of 40."""
    known = torch.zeros(2, 8, 40, dtype=torch.bool)
    known[0, :, :2], known[1, :, 2:4] = True, True
    return known


def generators():
    return [torch.Generator().manual_seed(i) for i in range(2)]


def start(clean, dose, known=None, waves=None):
    known = half_known() if known is None else known
    rest = TOTALS - known.flatten(1).sum(1)
    share = (rest / (~known.any(0)).sum()).double()[..., None, None].expand(2, 2, 8, 40)
    waves = torch.zeros(2, 2, 8, 40).double() if waves is None else waves
    *before, expected = foresee(share, known, far_from_known(known), waves, dose, LATTICE, clean, generators(), TOTALS)
    assert len(before) == GUESSES - 1
    return expected


def even(counts, dose, lattice):
    return torch.full(counts.shape, 0.5, dtype=torch.float64)


@pytest.mark.parametrize("dose", [1e-6, 3.0, 200.0])
def test_as_many_are_expected_as_there_are(dose):
    expected = start(even, dose)
    assert expected.min() >= 0
    torch.testing.assert_close(expected.flatten(2).sum(2), TOTALS.double())


def test_known_voxels_are_as_they_are_before_a_walk():
    known = half_known()
    expected = start(even, 1e-9)
    sure = known.any(0)
    torch.testing.assert_close(expected[0][:, sure], known.double()[:, sure], atol=1e-6, rtol=0)


def test_guesses_follow_the_particles_that_follow_the_guesses():
    seen = []

    def drawn_left(counts, dose, lattice):
        """All of the first phase beside what is known."""
        seen.append(counts)
        guess = torch.full(counts.shape, 1e-6, dtype=torch.float64)
        guess[:, 0, :, 4:10] = 1
        guess[:, 1] = 1 - guess[:, 0]
        return guess

    start(drawn_left, 0.01)
    near = [float(counts[:, 0, :, 4:10].sum() / counts[:, 0].sum()) for counts in seen]
    assert len(near) == GUESSES
    assert near[1] > 2 * near[0]
    assert min(near[1:]) == pytest.approx(max(near[1:]), rel=0.2)


def test_far_from_known_voxels_the_share_and_its_waves_stay():
    def sure(counts, dose, lattice):
        guess = torch.zeros(counts.shape, dtype=torch.float64)
        guess[:, 0] = 1
        return guess

    far = far_from_known(half_known())
    assert far[:, 16:].all()
    assert not far[:, :16].any()
    waves = torch.zeros(2, 2, 8, 40).double()
    waves[:, 0, :, 30:35], waves[:, 0, :, 35:40] = 0.05, -0.05
    expected = start(sure, 1e-9, waves=waves)
    of_far = expected[0, 0][:, 16:]
    torch.testing.assert_close(
        of_far[:, 14:19].mean() - of_far[:, 19:].mean(), torch.tensor(0.1).double(), atol=1e-6, rtol=0
    )
    assert expected[0, 0][:, 4:16].min() > 2 * of_far.mean()


def test_one_seed_gives_one_start():
    assert torch.equal(start(even, 5.0), start(even, 5.0))


def test_guesses_see_all_particles():
    kinds = []

    def spy(counts, dose, lattice):
        kinds.append(counts.flatten(2).sum(2))
        return even(counts, dose, lattice)

    start(spy, 50.0)
    assert all(torch.equal(kind, TOTALS) for kind in kinds)
