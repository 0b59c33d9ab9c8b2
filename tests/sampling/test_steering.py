"""Laws of steering: it moves what is measured, nothing else, and is repeatable."""

import numpy as np
import pytest
import torch

from dsdcli.errors import UsageError
from dsdcli.process.image import Decoded
from dsdcli.process.lattice import Lattice
from dsdcli.process.walk import Particles, follow
from dsdcli.sampling.generate import generate, stack_of
from dsdcli.sampling.steering import NEVER, Flock, Steering
from dsdcli.sampling.tau_leaping import TauLeaping
from dsdcli.sampling.trapezoidal import Trapezoidal
from tests.conftest import random_model


def faces(image):
    """Faces between unlike voxels, per voxel."""
    return sum((np.diff(image.astype(int), axis=axis) != 0).sum() for axis in range(image.ndim)) / image.size


def aimed_at(value, walkers=8, tolerance=0.01):
    return Steering(walkers, lambda image: -0.5 * ((faces(image) - value) / tolerance) ** 2)


def drawn(model, totals, lattice, steering, seed=0, batch=64, indices=None):
    states = generate(model, totals, lattice, Trapezoidal(6), seed, batch, indices=indices, steering=steering)
    return stack_of(states)


@pytest.mark.parametrize(("phases", "shape"), [(2, (12, 10)), (3, (9, 12)), (2, (5, 6, 7))])
def test_what_is_measured_moves_and_counts_do_not(phases, shape):
    lattice, model = Lattice(shape), random_model(phases, len(shape))
    totals = np.tile(np.bincount(np.arange(lattice.sites) % phases, minlength=phases), (32, 1))
    plain = np.array([faces(image) for image in drawn(model, totals, lattice, None)])
    for sign in (-1, 1):
        images = drawn(model, totals, lattice, aimed_at(plain.mean() + sign * plain.std()))
        shift = np.mean([faces(image) for image in images]) - plain.mean()
        assert 0.6 < sign * shift / plain.std() < 1.4
        for image, wanted in zip(images, totals, strict=True):
            assert np.bincount(image.ravel(), minlength=phases).tolist() == wanted.tolist()


def test_one_walker_is_the_sample_as_it_would_be_without():
    lattice, model = Lattice((12, 10)), random_model(2, 2)
    totals = np.tile([30, 90], (5, 1))
    assert np.array_equal(drawn(model, totals, lattice, None), drawn(model, totals, lattice, aimed_at(0.1, walkers=1)))


def test_sample_depends_on_its_seed_alone():
    lattice, model, steering = Lattice((11, 7)), random_model(3, 2), aimed_at(0.3, walkers=3)
    totals = np.random.default_rng(1).multinomial(77, [0.3, 0.3, 0.4], size=5)
    whole = drawn(model, totals, lattice, steering)
    assert np.array_equal(whole, drawn(model, totals, lattice, steering, batch=2))
    assert np.array_equal(whole[3:], drawn(model, totals[3:], lattice, steering, indices=range(3, 5)))
    assert not np.array_equal(whole, drawn(model, totals, lattice, steering, seed=1))


def test_walkers_that_go_on_leave_their_sites_to_others():
    lattice = Lattice((5, 4))
    generator = np.random.default_rng(0)
    image, phase = (torch.from_numpy(column) for column in (np.repeat([0, 1, 2], 7), np.tile([0, 0, 0, 1, 1, 1, 1], 3)))
    site = torch.from_numpy(np.stack([generator.integers(n, size=21) for n in lattice.shape], axis=1))
    now = Particles(image, phase, site)
    parents = torch.tensor([2, 1, 2])
    before, after = (p.occupancy(lattice, 3, 2) for p in (now, follow(now, parents)))
    assert torch.equal(after, before[parents])


def decoded(value):
    return Decoded(np.full((1, 1), value, np.uint8), 0.0, 0.0, 0.0)


def flock(walkers, seeds=(0,)):
    """A flock whose images are worth the logarithm of their one voxel; 0 has no such number."""
    return Flock(Steering(walkers, lambda image: np.log(image[0, 0]) if image[0, 0] else np.nan), seeds)


def test_walkers_multiply_by_their_weight():
    """Systematic resampling: each has its expected number of children, rounded down or up."""
    worth = np.array([40, 1, 30, 9, 2, 2, 1, 1])
    expected = 8 * worth / worth.sum()
    children = []
    for seed in range(200):
        one = flock(8, [seed])
        one.judge([decoded(v) for v in worth])
        children.append(np.bincount(one.parents(), minlength=8))
        assert (np.abs(children[-1] - expected) < 1).all()
        assert not one.weight.any()
    assert np.abs(np.mean(children, axis=0) - expected).max() < 0.1


def test_walkers_of_like_weight_go_on_as_they_are():
    some = flock(4, [0, 1])
    some.judge([decoded(v) for v in (5, 6, 5, 6, 200, 1, 1, 1)])
    assert some.parents().tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert some.weight[0].any()


def test_one_image_is_drawn_by_weight_whatever_the_walkers_promised_before():
    share = []
    for seed in range(300):
        one = flock(3, [seed])
        one.judge([decoded(v) for v in (20, 15, 10)])  # not unequal enough to resample
        assert one.parents().tolist() == [0, 1, 2]
        share.append(one.choose([decoded(v) for v in (10, 30, 0)])[0].image[0, 0] == 30)
    assert abs(np.mean(share) - 0.75) < 0.08
    none = flock(3)
    assert none.choose([decoded(0)] * 3)[0].image[0, 0] == 0
    assert (none.last == NEVER).all()


def test_what_cannot_be_steered_is_refused():
    model, lattice = random_model(2, 2), Lattice((4, 4))
    with pytest.raises(UsageError, match="trapezoidal"):
        next(generate(model, np.array([[8, 8]]), lattice, TauLeaping(), 0, 1, steering=aimed_at(0.1)))
    with pytest.raises(UsageError, match="walkers=0"):
        aimed_at(0.1, walkers=0)
