"""Metrics of single images: known answers, and agreement with the libraries where the definitions are the same."""

import numpy as np
import pytest
import torch

from dsdcli.evaluation.measures import lines
from dsdcli.evaluation.measures.correlation import two_point
from dsdcli.evaluation.measures.surfaces import euler_density, interfaces, triple_junctions
from dsdcli.evaluation.measures.thickness import local_thickness, quiet_porespy
from dsdcli.evaluation.measures.transport import (
    permeability_estimate,
    relative_diffusivity,
    taufactor_diffusivity,
)
from dsdcli.evaluation.metrics import ALL, measure
from dsdcli.flow.clusters import through_clusters


def blobs(shape: tuple[int, ...], seed: int = 0, phases: int = 2) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return np.digitize(field, np.quantile(field, np.arange(1, phases) / phases + 0.1)).astype(np.uint8)


def ball(side: int, radius: float, ndim: int) -> np.ndarray:
    grid = np.indices((side,) * ndim) - side // 2
    return (grid**2).sum(0) < radius**2


def test_two_point_of_stripes_by_hand():
    stripes = np.tile([True, True, False, False], (12, 6))  # period 4 along x, constant along y
    along, _ = two_point(stripes)
    assert np.allclose(along[0], 0.5)
    # Of the 24 - r pairs at lag r in a row, those with both ends in a stripe:
    by_hand = [
        sum(stripes[0, x] and stripes[0, x + r] for x in range(24 - r)) / (24 - r) for r in range(along.shape[1])
    ]
    assert np.allclose(along[1], by_hand)
    assert along[1][2] == 0


def test_two_point_counts_all_pairs_of_a_checkerboard():
    board = (np.indices((8, 10)).sum(0) % 2).astype(bool)
    along, _ = two_point(board)
    assert np.array_equal(along[:, 1::2], np.zeros((2, 2)))
    assert np.allclose(along[:, ::2], 0.5)


@pytest.mark.parametrize("shape", [(24, 31), (9, 12, 11)])
def test_two_point_agrees_with_porespy_and_with_brute_force(shape):
    image = blobs(shape) == 1
    along, radial = two_point(image)
    bins = np.arange(min(shape) // 2 + 1.0)
    theirs = quiet_porespy().metrics.two_point_correlation(image, bins=bins).probability_scaled
    assert np.abs(radial - theirs).max() < 1e-12
    for axis, side in enumerate(shape):
        lines_first = np.moveaxis(image, axis, 0)
        for lag in range(along.shape[1]):
            assert along[axis, lag] == pytest.approx((lines_first[lag:] & lines_first[: side - lag]).mean())


def test_run_lengths_and_lineal_path_by_hand():
    image = np.array([[1, 1, 0, 1, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1, 1, 1]], bool)
    runs, whole = lines.run_lengths(image, axis=1)
    assert {length: n for length, n in enumerate(runs.tolist()) if n} == {1: 2, 2: 1, 3: 1, 4: 1}
    assert {length: n for length, n in enumerate(whole.tolist()) if n} == {1: 1, 3: 1}
    path = lines.lineal_path(runs, lines=2)
    assert path[0] == image.mean()
    assert path[1] == pytest.approx(6 / 14)  # pairs of neighbours in the phase, of all pairs
    assert path[4:].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lineal_path_agrees_with_a_linear_distance_transform(axis):
    image = blobs((10, 12, 14)) == 0
    runs, _ = lines.run_lengths(image, axis)
    side = image.shape[axis]
    ahead = quiet_porespy().filters.distance_transform_lin(image, axis, mode="forward")
    expected = [(ahead >= r).mean() * side / (side - r + 1) for r in range(1, side + 1)]
    assert np.abs(lines.lineal_path(runs, image.size // side) - expected).max() < 1e-12


@pytest.mark.filterwarnings("ignore:.*filled_area:FutureWarning")
def test_chords_agree_with_porespy():
    image = blobs((40, 40)) == 0
    # porespy draws chords on every other line and drops those on the first and last line.
    porespy = quiet_porespy()
    theirs = porespy.metrics.chord_counts(porespy.filters.apply_chords(image, axis=1, spacing=1, label=True))
    _, ours = lines.run_lengths(image[2:-2:2], axis=1)
    assert np.array_equal(ours, np.bincount(theirs, minlength=41))


def test_interface_agrees_with_skimage_where_nothing_touches_the_border():
    from skimage.measure import perimeter_crofton

    image = np.pad(blobs((30, 30)) == 0, 10)
    measured = interfaces(image.astype(np.uint8), 2)[0, 1]
    # The same sums, per number of pairs instead of per pixel, which differ by the border only.
    assert measured * image.size == pytest.approx(perimeter_crofton(image, 4), rel=0.04)
    larger = np.pad(image, 1000)
    measured = interfaces(larger.astype(np.uint8), 2)[0, 1]
    assert measured * larger.size == pytest.approx(perimeter_crofton(image, 4), rel=1e-3)


@pytest.mark.parametrize(("ndim", "true"), [(2, 2 * np.pi * 15), (3, 4 * np.pi * 15**2)])
def test_interface_of_disk_and_sphere(ndim, true):
    image = ball(80, 15, ndim)
    inside = 1 / (1 - 1 / 80)  # pairs across the border do not exist
    assert interfaces(image.astype(np.uint8), 2)[0, 1] * image.size / inside == pytest.approx(true, rel=0.03)


def test_interface_does_not_count_the_border_and_is_additive_over_pairs():
    assert interfaces(np.ones((9, 9), np.uint8), 2)[0, 1] == 0
    image = blobs((40, 41), phases=3)
    merged = interfaces(np.minimum(image, 1), 2)[0, 1]
    pairs = interfaces(image, 3)
    assert pairs[0, 1] + pairs[0, 2] == pytest.approx(merged)
    assert np.array_equal(pairs, pairs.T)


@pytest.mark.parametrize("ndim", [2, 3])
def test_local_thickness_of_a_ball_is_its_radius(ndim):
    histogram = local_thickness(ball(33, 9.2, ndim))
    assert histogram[9] / histogram.sum() > 0.9  # the rest are corners of the digital ball
    assert histogram.sum() == ball(33, 9.2, ndim).sum()


def test_measuring_leaves_pytorch_its_threads():
    """porespy's loops would leave it with one for each core: beside other work, what follows is many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measure(ball(17, 5.2, 2).astype(np.uint8), ("grain", "pore"), ["pore-size", "coordination"])
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_local_thickness_equals_porespy_voxel_by_voxel():
    image = blobs((50, 50)) == 0
    radii = quiet_porespy().filters.local_thickness(image)
    histogram = local_thickness(image)
    assert np.array_equal(np.flatnonzero(histogram), np.unique(radii[image]).astype(int))
    assert histogram @ np.arange(len(histogram)) == radii.sum()


@pytest.mark.parametrize("value", [True, False])
def test_no_thickness_without_a_wall(value):
    assert local_thickness(np.full((8, 8), value)).sum() == 0


def test_importing_porespy_leaves_logging_and_numpy_errors_alone(capsys):
    import logging

    before = np.geterr()
    quiet_porespy()
    assert not [h for h in logging.getLogger().handlers if type(h).__name__ == "RichHandler"]
    assert np.geterr() == before
    assert capsys.readouterr().out == ""


def test_triple_junctions_of_three_sectors():
    image = np.zeros((10, 12), np.uint8)
    image[:5, 6:], image[5:] = 1, 2  # they meet at one vertex
    assert triple_junctions(image, (0, 1, 2)) == pytest.approx(1 / (9 * 11))
    prism = np.repeat(image[None], 7, axis=0)  # and along one line of 7 edges
    edges = 7 * 9 * 11 + 6 * 10 * 11 + 6 * 9 * 12
    assert triple_junctions(prism, (0, 1, 2)) == pytest.approx(3 * 7 / edges)
    assert triple_junctions(np.where(image == 2, 1, image), (0, 1, 2)) == 0


@pytest.mark.parametrize(("shape", "per_voxel"), [((30, 31), 1), ((12, 13, 14), 3)])
def test_triple_junctions_agree_with_taufactor(shape, per_voxel, capsys):
    from taufactor.metrics import triple_phase_boundary

    image = blobs(shape, phases=3)
    theirs = float(triple_phase_boundary(image.astype(np.int64)))
    assert triple_junctions(image, (0, 1, 2)) == pytest.approx(per_voxel * theirs, rel=1e-6)


def test_euler_number_counts_objects_holes_and_cavities():
    ring = ball(21, 8, 2) & ~ball(21, 4, 2)
    shell = ball(21, 8, 3) & ~ball(21, 4, 3)
    z, y, x = np.indices((9, 21, 21)) - np.array([4, 10, 10]).reshape(3, 1, 1, 1)
    torus = (np.hypot(y, x) - 6) ** 2 + z**2 < 9
    for image, number in ((ball(21, 8, 2), 1), (ring, 0), (ball(21, 8, 3), 1), (shell, 2), (torus, 0)):
        assert euler_density(image) * image.size == pytest.approx(number)


def channels(ndim: int) -> np.ndarray:
    """Straight channels along the first axis, a third of the volume."""
    image = np.zeros((12,) * ndim, bool)
    image[:, ::3] = True
    return image


@pytest.mark.parametrize("ndim", [2, 3])
def test_straight_channels_have_tortuosity_one(ndim):
    image = channels(ndim)
    assert relative_diffusivity(through_clusters(image, 0), 0) == pytest.approx(image.mean(), rel=1e-9)
    assert not through_clusters(image, 1).any()
    assert relative_diffusivity(through_clusters(image, 1), 1) == 0


def test_a_dead_end_carries_nothing():
    image = np.zeros((20, 10), bool)
    image[:, :8] = True
    assert relative_diffusivity(through_clusters(image, 0), 0) == pytest.approx(0.8)
    image[3:6, 8:] = True  # a side chamber lets the flux spread out a little
    spread = relative_diffusivity(through_clusters(image, 0), 0)
    assert 0.8 < spread < 0.85
    image[3:6, 8] = False  # cut off, it is not part of the way through
    assert relative_diffusivity(through_clusters(image, 0), 0) == pytest.approx(0.8)


def test_a_checkerboard_does_not_percolate():
    board = (np.indices((8, 8)).sum(0) % 2).astype(bool)
    assert not through_clusters(board, 0).any()


@pytest.mark.parametrize("shape", [(40, 44), (14, 16, 18)])
def test_diffusivity_agrees_with_taufactor(shape, capsys):
    import taufactor

    image = blobs(shape, seed=3) == 0
    for axis in range(len(shape)):
        through = through_clusters(image, axis)
        ours = relative_diffusivity(through, axis)
        turned = np.moveaxis(image, axis, 0).astype(np.uint8)
        if not ours:
            assert not quiet_porespy().metrics.is_percolating(image, axis)
            continue
        solver = taufactor.Solver(turned, device="cpu")
        solver.solve(verbose=False, conv_crit=1e-4)
        assert ours == pytest.approx(float(np.squeeze(solver.D_eff)), rel=1e-3)
        assert image.mean() / ours == pytest.approx(float(np.squeeze(solver.tau)), rel=1e-3)
        capsys.readouterr()
        assert taufactor_diffusivity(np.moveaxis(through, axis, 0), "cpu") == pytest.approx(ours, rel=1e-3)
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seed", range(3))
def test_percolation_agrees_with_porespy(seed):
    image = blobs((24, 26), seed=seed) == 0
    for axis in range(2):
        through = through_clusters(image, axis)
        assert through.any() == quiet_porespy().metrics.is_percolating(image, axis)
        assert through.mean() == pytest.approx(quiet_porespy().metrics.percolating_porosity(image, axis))


def test_the_permeability_estimate_is_exact_for_a_tube_and_a_slit():
    radius, phi = 5.0, 0.2
    assert permeability_estimate(phi, phi, 2 * phi / radius, 3) == pytest.approx(phi * radius**2 / 8)
    height = 6.0
    assert permeability_estimate(phi, phi, 2 * phi / height, 2) == pytest.approx(phi * height**2 / 12)
    assert permeability_estimate(0.0, phi, 0.1, 3) == 0


@pytest.mark.parametrize("shape", [(20, 23), (8, 9, 10)])
def test_every_metric_of_three_phases_has_fixed_length_vectors(shape):
    names = ("pore", "grain", "binder")
    many = measure(blobs(shape, seed=1, phases=3), names, ALL)
    few = measure(np.ones(shape, np.uint8), names, ALL)
    assert {metric for metric, _ in many} == set(ALL) - {"memorisation", "diversity"}
    assert many.keys() == few.keys()
    assert all(many[key].shape == few[key].shape for key in many)
    assert sum(many["volume-fraction", name][0] for name in names) == pytest.approx(1)
    assert np.isnan(few["tortuosity", "pore y"]).all()
    assert few["diffusivity", "grain y"][0] == pytest.approx(1)
