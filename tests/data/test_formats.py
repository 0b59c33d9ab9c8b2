"""Readers: every format that users of this field have gives the voxels, axes and sizes that its files say."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures

from dsdcli.data.formats import read_folder, read_image
from dsdcli.errors import DataError, UsageError

from . import foreign
from .foreign import FOREIGN, VOLUME


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("source", FOREIGN)
def test_every_format_gives_the_same_voxels(source):
    FOREIGN[source](source)
    raster = read_image(source)
    assert np.array_equal(raster.array, VOLUME)
    assert raster.axes in (None, "ZYX")


UM = (2.5, "um", 5.0)
SIZES = {
    "gzip.nrrd": UM,
    "beside.nhdr": UM,
    "plain.nii": UM,
    "beside.mhd": UM,
    "one.mha": UM,
    "rle.am": UM,
    "ome4.zarr": UM,
    "ome5.ome.zarr": UM,
    "cells.vti": None,  # VTK knows no units
    "two.zarr": None,
    "five.mat": None,
}


@pytest.mark.parametrize("source", SIZES)
def test_voxel_sizes_and_units_come_from_the_file(source):
    FOREIGN[source](source)
    raster = read_image(source)
    found = (raster.voxel.value, raster.voxel.unit, raster.depth) if raster.voxel else None
    assert found == (pytest.approx(SIZES[source][0]), *SIZES[source][1:]) if SIZES[source] else found is None


def test_a_size_without_a_unit_is_reported_and_not_kept():
    foreign.vti("rock.vti")
    assert "2.5 without a unit" in read_image("rock.vti").remarks[0]
    foreign.sidecar("rock.vti", 2.5)
    assert read_image("rock.vti").voxel.value == 2.5


def test_hdf5_says_when_voxels_are_flat_or_not_square():
    for name, sizes in (("flat", [5, 2, 2]), ("oblong", [2, 5, 2])):
        with h5py.File(f"{name}.h5", "w") as file:
            file["volume"] = VOLUME
            file["volume"].attrs["element_size_um"] = sizes
    flat, oblong = read_image("flat.h5"), read_image("oblong.h5")
    assert (flat.voxel.value, flat.depth) == (2, 5)
    assert oblong.voxel is None
    assert "not square" in oblong.remarks[0]


def test_raw_voxels_behind_a_header_in_either_byte_order():
    labels = VOLUME.astype(np.uint16) * 3
    Path("rock.raw").write_bytes(b"header!" + labels.astype(">u2").tobytes())
    raster = read_image("rock.raw", VOLUME.shape, "uint16", 7, "big")
    assert np.array_equal(raster.array, labels)
    wrong = read_image("rock.raw", VOLUME.shape, "uint16", 7)
    assert not np.array_equal(wrong.array, labels)
    with pytest.raises(DataError, match=r"3360 bytes after the first 7.*`offset`"):
        read_image("rock.raw", (10, 12, 15), "uint16", 7)
    with pytest.raises(UsageError, match="little or big"):
        read_image("rock.raw", VOLUME.shape, "uint16", 7, "middle")


def test_digits_are_never_read_as_bytes():
    digits = VOLUME // 255
    Path("bits.dat").write_text("\n".join("".join(map(str, row)) for row in digits.reshape(-1, 14)))
    raster = read_image("bits.dat", VOLUME.shape)
    assert np.array_equal(raster.array, digits)
    assert "text" in raster.remarks[0]
    Path("spaced.dat").write_text(" ".join(map(str, digits.ravel())) + " ")  # two bytes a voxel, as uint16 has
    assert np.array_equal(read_image("spaced.dat", VOLUME.shape).array, digits)
    np.savetxt("rows.txt", digits[0], "%d")
    assert np.array_equal(read_image("rows.txt").array, digits[0])
    Path("column.dat").write_text("\n".join(map(str, digits.ravel())))
    with pytest.raises(DataError, match=r"1680 numbers.*`shape"):
        read_image("column.dat")
    Path("short.dat").write_text("0 1 0 1")
    with pytest.raises(DataError, match="4 numbers, but 10x12x14"):
        read_image("short.dat", VOLUME.shape)


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (0, 1 / 3), (-0.25, 7)])
def test_two_values_that_are_not_whole_are_two_labels(low, high):
    np.save("rock.npy", np.where(VOLUME, np.float32(high), np.float32(low)))
    raster = read_image("rock.npy")
    assert np.array_equal(raster.array, VOLUME // 255)
    assert f"two values, {low:g} and {high:g}" in raster.remarks[0]


def test_a_set_of_ome_files_is_read_whole_or_not_at_all(tmp_path):
    first, second = foreign.ome_set(tmp_path)
    for path in (first, second):
        raster = read_image(str(path))
        assert np.array_equal(raster.array, VOLUME)
        assert {file.name for file in raster.files} == {first.name, second.name}
    (folder := tmp_path / "set").mkdir()
    foreign.ome_set(folder)
    assert [raster.array.shape for raster in read_folder(folder)] == [VOLUME.shape]
    second.unlink()
    with pytest.raises(DataError, match=r"second\.ome\.tif is missing"):
        read_image(str(first))


def test_a_renamed_ome_file_is_still_whole():
    tifffile.imwrite("before.ome.tif", VOLUME, ome=True, metadata={"axes": "ZYX"})
    Path("before.ome.tif").rename("after.ome.tif")
    assert np.array_equal(read_image("after.ome.tif").array, VOLUME)


def test_labels_beside_an_ome_image_are_pointed_out():
    foreign.ome_zarr("cells.zarr", "0.4", labels=True)
    assert "cells.zarr:/labels/mask" in read_image("cells.zarr").remarks[0]
    assert np.array_equal(read_image("cells.zarr:/labels/mask").array, VOLUME // 255)


def test_pictures_larger_than_the_library_takes_for_an_attack_are_read(monkeypatch):
    monkeypatch.setattr(Pictures, "MAX_IMAGE_PIXELS", 50)
    Pictures.fromarray(VOLUME[0]).save("mosaic.png")
    with pytest.raises(Pictures.DecompressionBombError):
        Pictures.open("mosaic.png")
    assert np.array_equal(read_image("mosaic.png").array, VOLUME[0])
    assert Pictures.MAX_IMAGE_PIXELS == 50


CHOICES = {
    "several.vti": (lambda: foreign.vti("several.vti", 2), DataError, "several.vti:NAME; found: phase0, phase1"),
    "cells.vti:/none": (lambda: foreign.vti("cells.vti"), UsageError, "no array /none"),
    "five.mat:none": (lambda: foreign.mat5("five.mat"), UsageError, "no variable none; it holds rock"),
    "plain.am:none": (lambda: foreign.amira("plain.am"), UsageError, "no lattice none; it holds Labels"),
    "two.zarr:/none": (lambda: foreign.ome_zarr("two.zarr", "0.4"), UsageError, "no part /none"),
    "one.mha:x": (lambda: foreign.mhd("one.mha", name="LOCAL"), UsageError, "without parts"),
}


@pytest.mark.parametrize("source", CHOICES)
def test_what_a_file_holds_is_listed_where_a_choice_is_needed(source):
    prepare, error, message = CHOICES[source]
    prepare()
    with pytest.raises(error, match=message):
        read_image(source)


@pytest.mark.parametrize(("source", "module"), [("gzip.nrrd", "nrrd"), ("plain.nii", "nibabel"), ("two.zarr", "zarr")])
def test_a_missing_library_is_named(source, module, monkeypatch):
    FOREIGN[source](source)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UsageError, match=r"not installed; pip install \w+"):
        read_image(source)


def test_one_image_named_twice_counts_once(dsd, tmp_path):
    from dsdcli.data.dataset import Dataset

    np.save("rock.npy", VOLUME)
    Path("link.npy").symlink_to("rock.npy")
    first, second = foreign.ome_set(tmp_path)
    for words in (["rock.npy", "link.npy", "./rock.npy"], [first, second]):
        code, out, err = dsd("ingest", *words, "-o", "x.dsd.h5")
        assert code == 0, err
        assert "counts once" in err
        dataset = Dataset.open(out.strip())
        assert int(dataset.counts().sum()) == VOLUME.size


def test_ingest_reads_a_zarr_folder_and_raw_voxels_behind_a_header(dsd):
    from dsdcli.data.dataset import Dataset

    foreign.ome_zarr("rock.zarr", "0.4")
    code, out, err = dsd("ingest", "rock.zarr", "-o", "zarr.dsd.h5")
    assert code == 0, err
    zarr = Dataset.open(out.strip())
    assert (zarr.voxel_size, zarr.voxel_unit) == (2.5, "um")
    Path("rock.dat").write_bytes(b"12345" + VOLUME.astype(">i4").tobytes())
    words = ["--shape", "10x12x14", "--dtype", "int32", "--offset", "5", "--endian", "big", "--voxel-size", "2.5um"]
    code, out, err = dsd("ingest", "rock.dat", *words)
    assert code == 0, err
    assert Dataset.open(out.strip()).digest == zarr.digest
