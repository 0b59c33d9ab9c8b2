"""Nothing silently wrong in what a file means: sizes, axes, polarity, masks and slices are doubted aloud."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures

from dsdcli.data.dataset import Dataset
from dsdcli.data.formats import read_image
from dsdcli.data.ignored import doubt_mask
from dsdcli.data.sources import doubt_numbers
from dsdcli.data.voxel import differ, doubt_name, from_name, length_ratio
from tests.conftest import blobs

ROCK = (255 * blobs((20, 32, 32), [0.3], 0)).astype(np.uint8)


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "taken", "doubt"),
    [
        ("Plug_25mm_seg.tif", None, "25 mm, too large for a voxel"),
        ("Plug_25mm_2p25um.raw", 2.25, "25 mm and 2.25 um: the voxel size is taken to be 2.25 um"),
        ("scan_2um_5um.tif", None, "2 um and 5 um, not plainly one"),
        ("rock_2p25um_2p25um.raw", 2.25, None),
        ("rock_400nm.raw", 400, None),
        ("rock_300x300x300.raw", None, None),
    ],
)
def test_a_length_in_a_name_is_a_voxel_size_only_if_it_can_be_one(name, taken, doubt):
    found = from_name(name)
    assert (found.value if found else None) == taken
    assert (doubt in doubt_name(name)) if doubt else doubt_name(name) is None


def test_doubtful_and_large_voxel_sizes_are_warned_of(dsd):
    tifffile.imwrite("Plug_25mm_seg.tif", ROCK)
    assert "WARNING: the name Plug_25mm_seg.tif says 25 mm" in dsd("ingest", "Plug_25mm_seg.tif")[2]
    assert Dataset.open("Plug_25mm_seg.dsd.h5").voxel_size is None
    about = {"imagej": True, "resolution": (1 / 25, 1 / 25), "metadata": {"axes": "ZYX", "unit": "mm", "spacing": 25}}
    tifffile.imwrite("rock.tif", ROCK, **about)
    assert "WARNING: the voxel size is 25 mm, by ImageJ: that is large" in dsd("ingest", "rock.tif")[2]
    assert "WARNING: the name" not in dsd("ingest", "Plug_25mm_seg.tif", "--voxel-size", "2um")[2]


def test_lengths_are_compared_whatever_their_units():
    assert length_ratio(65, "nm", 2.25, "micron") == pytest.approx(65e-9 / 2.25e-6)
    assert length_ratio(2250, "nm", 2.25, "µm") == pytest.approx(1)
    assert length_ratio(1.0, "pixel", 2.0, "um") is length_ratio(None, None, 2.0, "um") is None
    assert differ(65, "nm", 2.25, "um")
    assert not differ(2250, "nm", 2.3, "um")
    assert not differ(None, None, 2.3, "um")


@pytest.mark.parametrize("words", [(), ("--voxel-size", "2um")])
def test_flat_voxels_of_hdf5_files_are_said_loudly(dsd, words):
    with h5py.File("flat.h5", "w") as file:
        file["volume"] = ROCK
        file["volume"].attrs["element_size_um"] = [5, 2, 2]
    err = dsd("ingest", "flat.h5", *words)[2]
    assert "WARNING: the slices lie 5 um apart, the pixels 2 um" in err
    assert Dataset.open("flat.dsd.h5").voxel_size == 2


def test_pixels_that_are_not_square_have_no_size(dsd):
    with h5py.File("flat.h5", "w") as file:
        file["volume"] = ROCK
        file["volume"].attrs["element_size_um"] = [2, 3, 2]
    assert "pixels of 2 x 3 um: not square" in dsd("ingest", "flat.h5")[2]
    assert Dataset.open("flat.dsd.h5").voxel_size is None


def test_frames_are_said_to_be_independent_images_and_how_to_make_them_a_volume(dsd):
    tifffile.imwrite("frames.tif", ROCK, imagej=True, metadata={"axes": "TYX"})
    assert "note: frames.tif says that its 20 images are a series" in dsd("ingest", "frames.tif")[2]
    code, _, err = dsd("train", "--size", "8x8x8")
    assert (code, "--axes z" in err) == (4, True)
    assert "are a series" not in dsd("ingest", "frames.tif", "--axes", "z")[2]


def test_a_last_side_like_that_of_channels_is_not_taken_for_a_direction(dsd):
    np.save("alike.npy", np.stack([ROCK[0]] * 3, -1))
    np.save("other.npy", np.stack([ROCK[0], ROCK[1], ROCK[2]], -1))
    assert "stored in 3 channels" in dsd("ingest", "alike.npy")[2]
    assert Dataset.open("alike.dsd.h5").train[0].axes == "YX"
    code, out, err = dsd("ingest", "other.npy")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert "looks like 3 channels" in err
    code, _, err = dsd("ingest", "other.npy", "--axes", "z")
    assert code == 0, err
    assert Dataset.open("other.dsd.h5").train[0].axes == "ZYX"


def test_a_high_porosity_by_mere_assumption_is_doubted(dsd):
    pore = ROCK == 0
    np.save("bool.npy", pore)  # True means pore
    np.save("grey.npy", np.where(pore, 255, 0).astype(np.uint8))
    np.save("usual.npy", ROCK)
    err = dsd("ingest", "bool.npy")[2]
    assert f"the porosity is {1 - pore.mean():.2f}, with label 1 it would be {pore.mean():.2f}" in err
    assert "true (1) often means pore" in err
    assert "say --pore 255 if that is right" in dsd("ingest", "grey.npy")[2]
    for words in (("usual.npy",), ("bool.npy", "--pore", 1), ("bool.npy", "--pore", 0)):
        assert "if that is right" not in dsd("ingest", *words)[2]


def test_masks_that_look_wrong_are_doubted():
    hole = np.zeros((40, 40), np.uint8)
    hole[10:20, 10:20] = 255
    blurred = hole.copy()
    blurred[9, 10:20] = 128
    tifffile.imwrite("good.tif", hole)
    tifffile.imwrite("inverted.tif", 255 - hole)
    tifffile.imwrite("blurred.tif", blurred)
    tifffile.imwrite("white.tif", hole, photometric="miniswhite")
    picture = Pictures.fromarray(hole // 255).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save("palette.png")
    said = {name: doubt_mask(read_image(name), name) for name in map(str, Path().iterdir())}
    assert said["good.tif"] == []
    assert "marks 94 % of the image" in said["inverted.tif"][0]
    assert "holds 3 different values (0, 128, 255)" in said["blurred.tif"][0]
    assert "0 = white" in said["white.tif"][0]
    assert "palette" in said["palette.png"][0]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (range(12), []),
        ([*range(5), 7, 8, 10], ["3 of the slices 0 to 10 are not there, the first of them 5"]),
        (range(0, 100, 10), ["steps of 10"]),
        ([0, 2, 4, 8], ["steps of 2", "1 of the slices 0 to 8 is not there, the first of them 6"]),
    ],
)
def test_missing_slices_are_noticed_in_any_order(numbers, said):
    names = [f"scan_{number:03d}.tif" for number in reversed(list(numbers))]
    doubts = doubt_numbers([*names, "readme.txt"], "scan")
    assert len(doubts) == len(said)
    assert all(text in doubt for text, doubt in zip(said, doubts, strict=True))


def test_a_folder_with_missing_slices_is_noted(dsd):
    Path("scan").mkdir()
    for number in (0, 1, 2, 4, 5):
        Pictures.fromarray(ROCK[number]).save(f"scan/{number}.png")
    assert "1 of the slices 0 to 5 is not there" in dsd("ingest", "scan")[2]
    assert "is not there" not in dsd("ingest", "scan", "--axes", "t")[2]


def test_names_do_not_command_the_terminal(dsd):
    red, title = "po\x1b[31mre", "a\x1b]0;title\x07\u202e.dsd.h5"
    np.save("rock.npy", ROCK)
    code, out, err = dsd("ingest", "rock.npy", "--phase", f"{red}=0", "--phase", "solid=255", "-o", title)
    assert code == 0, err
    for text in (out, err, dsd("info", title)[1], dsd("info", "none\x1b[2J")[2]):
        assert "\\x1b" in text
        assert not set(text) & {"\x1b", "\x07", "\u202e"}
    assert json.loads(dsd("info", title, "--json")[1])["phases"][0]["name"] == red
