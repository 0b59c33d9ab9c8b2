"""An image is changed so that its parts hold what they must: exactly, by few voxels, and with equal interfaces."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dsdcli.process.exchange import exchange
from dsdcli.process.image import beside, count_parts, one_hot
from dsdcli.process.lattice import Lattice


def contacts(image, phases, boundary):
    """Of every pair of phases, each counted from both sides: (K, K)."""
    voxels = one_hot(torch.from_numpy(image)[None], phases)
    near = beside(voxels, boundary == "periodic")[0].double()
    return torch.einsum("a...,b...->ab", voxels[0].double(), near).numpy()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(["noflux", "periodic"]),
    st.integers(0, 10**6),
)
def test_every_part_holds_what_it_must_by_the_fewest_changes(shape, phases, number, boundary, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(phases, size=shape).astype(np.uint8)
    parts = rng.integers(number + 1, size=shape)
    evidence = np.log(rng.dirichlet(np.ones(phases), shape)).clip(-14).transpose(-1, *range(len(shape)))
    inside = parts > 0
    before = count_parts(image[inside], parts[inside], number, phases)
    wanted = np.stack([rng.multinomial(n, rng.dirichlet(np.ones(phases))) for n in before.sum(1)])
    made = exchange(image, evidence, wanted, Lattice(tuple(shape), boundary), parts)
    assert np.array_equal(count_parts(made[inside], parts[inside], number, phases), wanted)
    assert np.array_equal(made[~inside], image[~inside])
    assert (made != image).sum() == np.maximum(wanted - before, 0).sum()


@pytest.mark.parametrize("boundary", ["noflux", "periodic"])
def test_interfaces_stay_as_long_as_they_were(boundary):
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(1, 3, 64, 64)))
    image = torch.nn.functional.avg_pool2d(noise, 7, 1, 3)[0].argmax(0).numpy().astype(np.uint8)
    parts = np.repeat(np.repeat(np.arange(1, 17).reshape(4, 4), 16, 0), 16, 1)
    before = count_parts(image, parts, 16, 3)
    turn = np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1], [0, 0, 0]])
    wanted = before + 6 * np.minimum(1, before.min(1, keepdims=True) // 6) * np.tile(turn, (4, 1))
    # Evidence alone would take the voxels that stick out, and shorten the interfaces.
    near = beside(one_hot(torch.from_numpy(image)[None], 3), boundary == "periodic")[0].numpy()
    evidence = 2 * near
    made = exchange(image, evidence, wanted, Lattice((64, 64), boundary), parts)
    assert np.array_equal(count_parts(made, parts, 16, 3), wanted) and (made != image).sum() > 40
    lengths, were = contacts(made, 3, boundary), contacts(image, 3, boundary)
    assert np.abs(lengths - were)[np.triu_indices(3, 1)].max() <= 8 < 0.05 * were[np.triu_indices(3, 1)].min()


def test_the_most_probable_voxels_change():
    image = np.zeros((5, 5), np.uint8)
    image[:, 3:] = 1
    evidence = np.full((2, 5, 5), -1.0)
    evidence[1, 2, 2] = 5.0  # beside the interface, so that it grows little
    made = exchange(image, evidence, np.array([[14, 11]]), Lattice((5, 5)), np.ones((5, 5), int))
    assert made[2, 2] == 1 and (made != image).sum() == 1
