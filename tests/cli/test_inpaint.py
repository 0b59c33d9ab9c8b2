"""`dsd inpaint` as a user sees it: exact counts inside, nothing changed outside, and one clear line for bad input."""

import json

import numpy as np
import pytest
import tifffile

import dsdcli
from dsdcli.data.phases import Phase
from dsdcli.errors import DataError
from dsdcli.process.hole import Hole
from dsdcli.sampling.hole_counts import drawn, shared
from dsdcli.sampling.windows import windows
from tests.conftest import blobs, make_dataset, save_model

TWO = (Phase("pore", 0), Phase("grain", 255))
THREE = (Phase("pore", 0), Phase("NMC", 85), Phase("CBD", 170))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    rock = make_dataset(folder, TWO, [0.3])
    cell = make_dataset(folder, THREE, [0.45, 0.85], "cell")
    save_model(folder / "rock", rock, (16, 16))
    save_model(folder / "cell", cell, (16, 16))
    save_model(folder / "solid", rock, (8, 8, 8))
    return folder


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("rock.tif", np.array([0, 255], np.uint8)[blobs((60, 50), [0.3], 1)])
    tifffile.imwrite("cell.tif", np.array([0, 85, 170], np.uint8)[blobs((40, 40), [0.45, 0.85], 2)])
    tifffile.imwrite("volume.tif", np.array([0, 255], np.uint8)[blobs((20, 18, 22), [0.3], 3)])


@pytest.fixture
def inpaint(dsd, models, tmp_path):
    """Run the command with few leaps; the fillings and the audit record, if it went well."""

    def run(model, image, *words, out="out.npy"):
        code, stdout, err = dsd("inpaint", image, "--model", models / model, "--steps", 2, "-o", out, *words)
        if code:
            assert not list(tmp_path.glob("out*")), "nothing may be left behind"
            return code, err
        assert stdout == f"{out}\n"
        return np.load(out), json.loads((tmp_path / "out.json").read_text())

    return run


def test_a_cluster_makes_the_same_fillings(dsd, inpaint, models, tmp_path):
    """Whatever worker leaves midway; two holes, each with a window of its own."""
    distributed = pytest.importorskip("distributed")
    words = ("--box", "4:12,4:12", "--box", "52:58,40:48", "-n", 5, "--seed", 3, "--porosity", 0.4)
    code, err = inpaint("rock", "rock.tif", *words, "--scheduler", "tcp://127.0.0.1:1")
    assert code == 2
    assert "scheduler" in err.splitlines()[-1]
    here, audit = inpaint("rock", "rock.tif", *words)
    left = []
    with distributed.LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        there, other = inpaint("rock", "rock.tif", *words, "--scheduler", cluster.scheduler_address)
        assert np.array_equal(here, there)
        assert (other["samples"], other["device"]) == (audit["samples"], audit["device"])

        def leave(done, total, what):
            if 0 < done < total and not left:
                left.append(cluster.scale(1))

        again = dsdcli.load(models / "rock", "cpu").inpaint(
            "rock.tif", 5, boxes=[[(4, 12), (4, 12)], [(52, 58), (40, 48)]], seed=3, porosity=0.4, steps=2,
            scheduler=cluster.scheduler_address, progress=leave,
        )  # fmt: skip
    assert left
    assert np.array_equal(np.asarray(again), here)


def test_outside_identical_inside_exact(inpaint, tmp_path):
    """A box far inside, a disk over the border, a mask from a file; each hole keeps its own counts."""
    image = tifffile.imread("rock.tif")
    extra = np.zeros(image.shape, np.uint8)
    extra[55:, 45:] = 7
    tifffile.imwrite("mask.tif", extra)
    y, x = np.ogrid[:60, :50]
    disk = (y - 2) ** 2 + (x - 45) ** 2 <= 36
    box = np.zeros(image.shape, bool)
    box[20:32, 5:17] = True
    fillings, audit = inpaint(
        "rock", "rock.tif", "--mask", "mask.tif", "--box", "20:32,5:17", "--disk", "2,45,6", "-n", 3
    )
    assert fillings.shape == (3, 60, 50)
    assert fillings.dtype == image.dtype
    outside = ~(disk | box | (extra > 0))
    assert (fillings[:, outside] == image[outside]).all()
    for hole in (disk, box, extra > 0):
        assert ((fillings[:, hole] == 0).sum(1) == (image[hole] == 0).sum()).all()
    assert (fillings != image).any((1, 2)).all()
    assert len({f.tobytes() for f in fillings}) == 3
    assert audit["holes"] == 3
    assert audit["filled_voxels"] == int((~outside).sum())
    assert audit["samples"][0]["requested"] == audit["samples"][0]["achieved"]
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_three_phases_and_requested_counts(inpaint):
    image = tifffile.imread("cell.tif")
    words = ("--box", "4:16,4:16", "--box", "30:36,30:36", "-n", 2)
    fillings, audit = inpaint("cell", "cell.tif", "--fraction", "NMC=0.5", "--fraction", "CBD=0.1", *words)
    filled = np.concatenate([fillings[:, 4:16, 4:16].reshape(2, -1), fillings[:, 30:36, 30:36].reshape(2, -1)], axis=1)
    assert ((filled == 85).sum(1) == 90).all()
    assert ((filled == 170).sum(1) == 18).all()
    assert [sum(h.values()) for h in audit["samples"][0]["holes"]] == [144, 36]  # shared by size
    assert audit["samples"][0]["holes"][1]["NMC"] == 18
    fillings, _ = inpaint("cell", "cell.tif", "--counts", "pore=180", *words)
    assert (fillings[:, 4:16, 4:16] == 0).all()
    assert (fillings[:, 20:30, 20:30] == image[20:30, 20:30]).all()


def test_unknown_voxels_are_filled_like_known_places(inpaint):
    image = tifffile.imread("rock.tif")
    image[25:33, 20:30] = 99
    tifffile.imwrite("damaged.tif", image)
    fillings, audit = inpaint("rock", "damaged.tif", "--unknown", 99, "-n", 12, "--seed", 3)
    known = image != 99
    assert set(np.unique(fillings)) == {0, 255}
    assert (fillings[:, known] == image[known]).all()
    pores = [s["achieved"]["pore"] for s in audit["samples"]]
    assert len(set(pores)) > 3
    fillings, _ = inpaint("rock", "damaged.tif", "--unknown", 99, "--porosity", "0.25", "-n", 2)
    assert ((fillings[:, ~known] == 0).sum(1) == 20).all()


def test_volumes_and_planes_of_volumes(inpaint):
    volume = tifffile.imread("volume.tif")
    fillings, _ = inpaint("solid", "volume.tif", "--box", "5:12,3:9,0:6", "--disk", "15,12,12,3", "-n", 2)
    outside = np.ones(volume.shape, bool)
    outside[5:12, 3:9, 0:6] = False
    assert (fillings[0] != volume)[5:12, 3:9, 0:6].any()
    z, y, x = np.ogrid[:20, :18, :22]
    outside &= (z - 15) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 > 9
    assert (fillings[:, outside] == volume[outside]).all()
    assert ((fillings == 0).sum((1, 2, 3)) == (volume == 0).sum()).all()
    fillings, _ = inpaint("rock", "volume.tif", "--slice", "y:7", "--box", "2:12,3:13", "-n", 2)
    assert fillings.shape == (2, 20, 22)
    assert (fillings[:, 13:] == volume[13:, 7]).all()


def test_other_labels_and_formats(inpaint, dsd, models):
    image = (tifffile.imread("rock.tif") // 255).astype(np.uint16) + 1
    tifffile.imwrite("other.tif", image)
    code, err = inpaint("rock", "other.tif", "--box", "5:15,5:15")
    assert (code, "--phase NAME=LABEL" in err) == (4, True)
    fillings, _ = inpaint("rock", "other.tif", "--box", "5:15,5:15", "--phase", "pore=1", "--phase", "grain=2", "-n", 2)
    assert set(np.unique(fillings)) == {1, 2}
    assert (fillings[:, 15:] == image[15:]).all()
    code, out, err = dsd("inpaint", "rock.tif", "--model", models / "rock", "--box", "5:15,5:15", "-n", 2, "--steps", 1)
    assert (code, out) == (0, "inpainted.tif\n"), err
    assert tifffile.imread("inpainted.tif").shape == (2, 60, 50)
    code, out, err = dsd("info", "inpainted.tif")
    assert code == 0, err
    code, out, err = dsd("evaluate")  # fillings are not samples of the material
    assert (code, "no samples" in err) == (2, True), err


def test_repeatable_and_periodic(inpaint):
    words = ("--disk", "0,0,7", "--boundary", "periodic", "--seed", 5, "-n", 2)
    one, _ = inpaint("rock", "rock.tif", *words)
    two, _ = inpaint("rock", "rock.tif", *words)
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "nothing says what to fill"),
        (("--box", "5:5,3:9"), 2, "does not lie in the image of 60x50"),
        (("--box", "5:9"), 2, "does not lie in the image"),
        (("--box", "five"), 2, "cannot read --box"),
        (("--disk", "70,3,2"), 2, "does not fit the image"),
        (("--disk", "a,b"), 2, "cannot read --disk"),
        (("--box", "0:60,0:50"), 2, "use dsd generate"),
        (("--mask", "cell.tif"), 4, "is 40x40, the image 60x50"),
        (("--mask", "nothing.tif"), 2, "the mask is empty"),
        (("--mask", "missing.tif"), 2, "no file"),
        (("--box", "0:9,0:9", "--counts", "pore=82"), 2, "must lie between 0 and 81"),
        (("--box", "0:9,0:9", "--fraction", "CBD=0.1"), 2, "there is no phase 'CBD'"),
        (("--box", "0:9,0:9", "--porosity", "1.1"), 2, "between 0 and 1"),
        (("--box", "0:9,0:9", "--keep", "--porosity", "0.1"), 2, "--keep"),
        (("--box", "0:9,0:9", "--unknown", "7"), 2, "no voxel"),
        (("--box", "0:9,0:9", "--unknown", "255"), 2, "is the label of a phase"),
        (("--box", "0:9,0:9", "--phase", "pore=255"), 2, "same label"),
        (("--box", "0:9,0:9", "--phase", "clay=3"), 2, "there is no phase 'clay'"),
        (("--box", "0:9,0:9", "--slice", "3"), 2, "--slice"),
        (("--box", "0:9,0:9", "--boundary", "open"), 2, "noflux or periodic"),
    ],
)
def test_bad_requests_are_one_clear_line(inpaint, words, code, message):
    tifffile.imwrite("nothing.tif", np.zeros((60, 50), np.uint8))
    got, err = inpaint("rock", "rock.tif", *words)
    assert got == code, err
    assert message in err.splitlines()[-1]


def test_a_volume_needs_a_plane_for_a_2d_model(inpaint):
    code, err = inpaint("rock", "volume.tif", "--box", "2:9,2:9")
    assert (code, "--slice N" in err) == (4, True)
    code, err = inpaint("rock", "volume.tif", "--box", "2:9,2:9", "--slice", "20")
    assert (code, "20 planes" in err) == (2, True)


def test_a_doubtful_mask_and_another_voxel_size_are_warned_of(dsd, inpaint, models):
    labels = tifffile.imread("rock.tif")
    tifffile.imwrite("scaled.tif", labels, imagej=True, resolution=(1 / 65, 1 / 65), metadata={"unit": "nm"})
    mask = np.zeros(labels.shape, np.uint8)
    mask[10:20, 10:20] = 255
    mask[20, 10:20] = 90
    tifffile.imwrite("blurred.tif", mask)
    tifffile.imwrite("inverted.tif", np.where(mask > 0, 0, 255).astype(np.uint8), photometric="miniswhite")

    def said(*words):
        return dsd("inpaint", *words, "--model", models / "rock", "--steps", 1, "-n", 1)[2]

    err = said("scaled.tif", "--mask", "blurred.tif")
    assert "WARNING: the voxels of the image are 65 nm, those that the model was trained on 2 um" in err
    assert "holds 3 different values (0, 90, 255)" in err
    err = said("rock.tif", "--mask", "inverted.tif")
    assert "WARNING: the mask inverted.tif marks 96 % of the image" in err
    assert "0 = white" in err
    assert "WARNING" not in said("rock.tif", "--box", "3:9,4:10")


def test_totals_are_shared_by_size_and_add_up():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(1, 30, rng.integers(1, 6))
        parts = np.repeat(np.arange(1, len(sizes) + 1), sizes)
        totals = rng.multinomial(sizes.sum(), rng.dirichlet(np.ones(3)))
        rows = shared(totals, parts)
        assert (rows >= 0).all()
        assert (rows.sum(1) == sizes).all()
        assert (rows.sum(0) == totals).all()


def test_drawn_counts_follow_the_surroundings():
    """Left half nearly all pore, right half nearly all grain: an unknown hole takes after its side."""
    rng = np.random.default_rng(0)
    image = (rng.random((80, 80)) > np.where(np.arange(80) < 40, 0.9, 0.1)).astype(np.uint8)
    for column, low, high in ((10, 0.7, 1.0), (60, 0.0, 0.3)):
        unknown = np.zeros(image.shape, bool)
        unknown[30:40, column : column + 10] = True
        counts = drawn(image, unknown, unknown.astype(int), 2, 50, 0)
        assert counts.shape == (50, 1, 2)
        assert (counts.sum(2) == 100).all()
        assert low <= counts[:, 0, 0].mean() / 100 <= high
    with pytest.raises(DataError, match="too few"):
        drawn(image, unknown | (np.arange(80) > 5), unknown.astype(int), 2, 5, 0)


def test_windows_cover_holes_with_their_surroundings():
    """Far holes get windows of their own, close ones share; a ring is opened where nothing is to fill."""
    mask = np.zeros((200, 120), bool)
    mask[3:9, 4:10] = mask[12:15, 20:25] = mask[150:160, 60:70] = True
    for boundary in ("noflux", "periodic"):
        whole = Hole(mask.shape, boundary, mask=mask)
        found = windows(whole, 16, 8)
        seen = np.zeros(mask.shape, int)
        for window in found:
            seen[window.index] += window.hole.mask
            assert np.array_equal(whole.parts[window.index] > 0, window.hole.mask)
            for number, part in enumerate(window.parts, 1):
                assert (whole.parts[window.index][window.hole.parts == number] == part).all()
            margin = np.argwhere(window.hole.mask).min(0)
            assert boundary == "noflux" or (margin >= 16).all()
            assert all(side % 8 == 0 for side in window.hole.shape)
        assert np.array_equal(seen, mask.astype(int))
        assert len(found) == 2
        assert sum(w.hole.sites for w in found) < mask.size / 2
    full = np.zeros((200, 120), bool)
    full[40:60] = True
    (only,) = windows(Hole(full.shape, "periodic", mask=full), 16, 8)
    assert only.hole.shape == full.shape
    assert only.hole.boundary == "periodic"
