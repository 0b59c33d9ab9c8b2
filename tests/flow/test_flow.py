"""Flow through pores: known answers, symmetries, and what does not flow."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dsdcli.data.dataset import Dataset
from dsdcli.data.labelled import LabelledImage
from dsdcli.data.phases import Phase
from dsdcli.errors import UsageError
from dsdcli.evaluation.evaluate import evaluate
from dsdcli.evaluation.measures.curvature import mean_curvature_density
from dsdcli.evaluation.measures.network import pore_network
from dsdcli.evaluation.metrics import every_metric, measure
from dsdcli.evaluation.slices import cut_slices, needs_slices
from dsdcli.flow.clusters import endless_clusters, through_clusters
from dsdcli.flow.links import find_links
from dsdcli.flow.permeability import in_millidarcy, in_um2, permeability
from dsdcli.view.table import permeability_lines
from tests.conftest import blobs


def slit(height: int, ndim: int) -> np.ndarray:
    """Along the first axis, between walls across the second."""
    pores = np.zeros((3, height + 2, 3)[:ndim], bool)
    pores[:, 1:-1] = True
    return pores


@pytest.mark.parametrize("ends", ["mirrored", "periodic"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("height", [1, 2, 5])
def test_the_flux_through_a_slit_is_exact_however_narrow(height, ndim, ends):
    found = permeability(slit(height, ndim), 0, ends)
    assert found.permeability == pytest.approx(height**3 / 12 / (height + 2), rel=1e-5)


def test_a_square_duct_has_its_known_permeability():
    side = 10
    duct = np.zeros((2, side + 2, side + 2), bool)
    duct[:, 1:-1, 1:-1] = True
    found = permeability(duct, 0)
    assert found.permeability * duct[0].size / side**2 == pytest.approx(0.035144 * side**2, rel=0.01)


def test_a_cubic_array_of_spheres_drags_as_zick_and_homsy_found():
    side, solid, drag = 40, 0.45, 28.1  # drag relative to that on a single sphere (J. Fluid Mech. 115, 1982)
    radius = side * (3 * solid / 4 / np.pi) ** (1 / 3)
    octant = ((np.indices((side // 2,) * 3) + 0.5) ** 2).sum(0) > radius**2  # mirrors make up the rest
    found = permeability(octant, 1)
    assert found.permeability == pytest.approx(side**3 / (6 * np.pi * radius * drag), rel=0.03)


@pytest.mark.parametrize("axis", [0, 2])
def test_mirrored_ends_are_a_periodic_image_beside_its_mirror_image(axis):
    pores = blobs((7, 8, 9), [0.6], 3) == 0
    mirrored = pores
    for a in range(3):
        mirrored = np.concatenate([mirrored, np.flip(mirrored, a)], axis=a)
    one = permeability(pores, axis, "mirrored", precision="float64")
    eight = permeability(mirrored, axis, "periodic", precision="float64")
    assert one.permeability == pytest.approx(eight.permeability, rel=2e-3)
    assert one.permeability > 1e-3


@pytest.mark.parametrize("ends", ["mirrored", "periodic"])
def test_turning_the_image_turns_the_flow(ends):
    pores = blobs((8, 9, 10), [0.6], 5) == 0
    found = permeability(pores, 0, ends).permeability
    assert found > 1e-3
    assert permeability(pores.transpose(1, 2, 0), 2, ends).permeability == pytest.approx(found, rel=2e-3)
    assert permeability(pores[::-1, :, ::-1], 0, ends).permeability == pytest.approx(found, rel=2e-3)


def test_a_shifted_periodic_image_has_the_same_permeability():
    pores = blobs((8, 9, 10), [0.6], 5) == 0
    shifted = np.roll(pores, (3, 4, 5), (0, 1, 2))
    assert permeability(shifted, 1, "periodic").permeability == pytest.approx(
        permeability(pores, 1, "periodic").permeability, rel=2e-3
    )


def test_single_precision_is_enough_and_the_solution_does_not_depend_on_where_it_stops(monkeypatch):
    pores = blobs((12, 12, 12), [0.6], 1) == 0
    usual = permeability(pores, 0)
    monkeypatch.setattr("dsdcli.flow.permeability._RESIDUAL", 1e-9)
    monkeypatch.setattr("dsdcli.flow.permeability._STALLED", 1e-9)
    exact = permeability(pores, 0, precision="float64")
    assert exact.residual < 1e-8 < usual.residual
    assert exact.steps > usual.steps
    assert usual.permeability == pytest.approx(exact.permeability, rel=1e-3)


@pytest.mark.parametrize("ends", ["mirrored", "periodic"])
def test_where_nothing_leads_through_nothing_flows_and_nothing_is_solved(ends):
    pores = np.ones((6, 6, 6), bool)
    pores[3] = False
    found = permeability(pores, 0, ends)
    assert (found.permeability, found.steps) == (0, 0)
    assert permeability(pores, 1, ends).permeability > 0
    board = np.indices((6, 6, 6)).sum(0) % 2 == 0  # pores that meet in edges only
    assert permeability(board, 0, ends).permeability == 0


def test_an_iteration_that_does_not_end_gives_no_number(monkeypatch):
    monkeypatch.setattr("dsdcli.flow.permeability._PATIENCE", 0)
    found = permeability(blobs((8, 8, 8), [0.6], 1) == 0, 0)
    assert np.isnan(found.permeability)
    assert found.residual > 0


def test_endless_clusters_are_those_that_lead_on():
    straight = np.zeros((4, 5), bool)
    straight[:, 2] = True
    assert endless_clusters(straight, 0).all(where=straight)
    assert not endless_clusters(straight, 1).any()
    broken = straight.copy()
    broken[3, 2], broken[3, 4] = False, True  # a pore at both faces, but not at the same place
    broken[0, 4] = True
    assert not endless_clusters(broken, 0).any()
    bent = np.zeros((4, 6), bool)  # through the faces across both axes before it comes back to where it was
    for row, columns in enumerate(((0, 1), (1, 2), (2, 3), (3, 4))):
        bent[row, list(columns)] = True
    bent[3, 5] = bent[0, 5] = True
    assert endless_clusters(bent, 0).all(where=bent)
    assert endless_clusters(bent, 1).all(where=bent)
    loop = np.ones((6, 6), bool)
    loop[2] = False  # what crosses the face comes back the same way
    assert not endless_clusters(loop, 0).any()
    assert through_clusters(loop[3:], 0).all()


@pytest.mark.parametrize("periodic", [False, True])
def test_the_exchange_along_links_undoes_itself(periodic):
    pores = blobs((5, 6, 7), [0.6], 2) == 0
    links = find_links(pores, 1, periodic)
    assert np.array_equal(links.partner[links.partner], np.arange(links.partner.size))
    assert set(links.partner[links.negative]) == set(links.negative)
    assert bool(len(links.negative)) != periodic


def test_units_follow_the_voxel_size():
    assert in_um2(0.5, 3.0) == pytest.approx(4.5)
    assert in_millidarcy(0.5, 3.0) == pytest.approx(4.5 * 1013.25, rel=1e-4)


def test_what_is_no_image_and_no_ends_is_refused():
    with pytest.raises(UsageError, match="closed"):
        permeability(np.ones((4, 4), bool), 0, "closed")
    with pytest.raises(UsageError, match="not 1"):
        permeability(np.ones(4, bool), 0)


def ball(side: int, radius: float) -> np.ndarray:
    return ((np.indices((side,) * 3) - (side - 1) / 2) ** 2).sum(0) < radius**2


def test_mean_curvature_of_a_ball_and_of_what_surrounds_it():
    image = ball(30, 9)
    inside = 29**3  # about as many places as there are for the smallest shapes
    assert mean_curvature_density(image) * inside == pytest.approx(4 * np.pi * 9, rel=0.03)
    assert mean_curvature_density(~image) == pytest.approx(-mean_curvature_density(image))
    assert mean_curvature_density(np.ones((5, 6, 7), bool)) == 0


def test_a_chain_of_three_chambers_has_two_throats():
    pores = np.zeros((40, 14, 14), bool)
    for middle in (7, 20, 33):
        z, y, x = np.indices(pores.shape)
        pores |= (z - middle) ** 2 + (y - 7) ** 2 + (x - 7) ** 2 < 5.5**2
    pores[7:33, 6:9, 6:9] = True
    neighbours, throats = pore_network(pores)
    assert neighbours[:4].tolist() == [0, 2, 1, 0]
    assert throats.sum() == throats[1:4].sum() == 2
    assert pore_network(np.ones((6, 6, 6), bool))[0].sum() == 0


def test_permeability_is_in_all_for_volumes_and_on_demand_for_images():
    assert "permeability" in every_metric(3)
    assert "permeability" not in every_metric(2)
    names, image = ("grain", "pore"), (blobs((9, 10, 11), [0.4], 1) > 0).astype(np.uint8)
    found = measure(image, names, ["permeability", "mean-curvature", "coordination"])
    expected = [permeability(image == 1, axis).permeability for axis in range(3)]
    assert [found["permeability", f"pore {axis}"][0] for axis in "zyx"] == pytest.approx(expected, rel=1e-5)
    threads = torch.get_num_threads()
    measure(image, names, ["permeability"])
    assert torch.get_num_threads() == threads
    assert found["mean-curvature", "pore"][0] == pytest.approx(-found["mean-curvature", "grain"][0])
    assert set(measure(image[0], names, ["permeability"])) == {("permeability", "pore y"), ("permeability", "pore x")}


def test_volumes_beside_images_are_cut_in_three_orientations(tmp_path):
    volumes = np.stack([blobs((16, 16, 16), [0.4], seed) for seed in range(2)])
    images = [blobs((20, 24, 24), [0.4], seed) for seed in (5, 6)]
    two = (Phase("pore", 0), Phase("grain", 1))
    train, heldout = ((LabelledImage(image, "TYX"),) for image in images)
    flat = Dataset(tmp_path / "a.dsd.h5", two, None, None, "t", 1, {}, train, heldout)
    assert needs_slices(volumes, flat)
    slices = cut_slices(volumes)
    assert slices.shape == (24, 16, 16)
    assert np.array_equal(slices[0], volumes[0, 2])
    assert np.array_equal(slices[8], volumes[0, :, 2])
    assert np.array_equal(slices[23], volumes[1, :, :, 14])
    found = evaluate(volumes, flat, metrics=("interface", "permeability"), crops=24, match=False)
    assert "4 slices of each of 2 volumes" in found.remarks[0]
    assert "across z" in found.remarks[1]
    rows = {row.subject: row.generated for row in found.rows if row.metric == "permeability"}
    lines = permeability_lines(found, 2000.0, "nm")
    assert f"generated {4 * rows['pore y']:.4g} um^2 = {4 * rows['pore y'] * 1013.25:.4g} mD" in lines[0]
    assert permeability_lines(found, None, None) == []
    deep = replace(flat, train=(LabelledImage(images[0], "ZYX"),), heldout=(LabelledImage(images[1], "ZYX"),))
    assert not needs_slices(volumes, deep)
    assert (
        "only 1 boxes of 16x16x16" in evaluate(volumes, deep, metrics=("interface",), crops=8, match=False).remarks[0]
    )
