"""dsd ingest: every format gives the same dataset, nothing is guessed silently, bad input ends in one clear line."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures

from dsdcli.data.dataset import Dataset
from dsdcli.data.hdf5 import _Disk
from dsdcli.data.voxel import from_name, parse_voxel_size
from dsdcli.errors import UsageError

SOLID = np.random.default_rng(0).random((10, 12, 14)) < 0.7
VOLUME = np.where(SOLID, 255, 0).astype(np.uint8)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def ingest(dsd):
    """Run `dsd ingest`, which must succeed, and open what it wrote."""

    def run(*words: object) -> Dataset:
        code, out, err = dsd("ingest", *words)
        assert code == 0, err
        return Dataset.open(out.strip())

    return run


def names() -> list[str]:
    """What lies in the folder."""
    return sorted(path.name for path in Path().iterdir())


def joined(dataset: Dataset) -> np.ndarray:
    """The images as they were before the split."""
    return np.concatenate([image.array for image in dataset.train + dataset.heldout])


def hdf5(path: str, **arrays: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array


def slices(folder: str, extension: str, array: np.ndarray = VOLUME) -> None:
    Path(folder).mkdir()
    for number, image in enumerate(array):
        Pictures.fromarray(image).save(f"{folder}/slice{number}.{extension}")


def multipage(path: str) -> None:
    with tifffile.TiffWriter(path) as tif:
        for image in VOLUME:
            tif.write(image, contiguous=False, metadata=None)


FORMATS = {
    "plain.tif": lambda p: tifffile.imwrite(p, VOLUME),
    "lzw.tif": lambda p: tifffile.imwrite(p, VOLUME, compression="lzw"),
    "deflate.tif": lambda p: tifffile.imwrite(p, VOLUME, compression="deflate", predictor=True),
    "packbits.tif": lambda p: tifffile.imwrite(p, VOLUME, compression="packbits"),
    "tiled.tif": lambda p: tifffile.imwrite(p, VOLUME, tile=(16, 16), compression="zstd"),
    "bigtiff.tif": lambda p: tifffile.imwrite(p, VOLUME, bigtiff=True),
    "bigendian.tif": lambda p: tifffile.imwrite(p, VOLUME.astype(">u2"), byteorder=">"),
    "pages.tif": multipage,
    "imagej.tif": lambda p: tifffile.imwrite(p, VOLUME, imagej=True, metadata={"axes": "ZYX"}),
    "some.ome.tif": lambda p: tifffile.imwrite(p, VOLUME, ome=True, metadata={"axes": "ZYX"}),
    "float.tif": lambda p: tifffile.imwrite(p, VOLUME.astype(np.float32)),
    "grey_as_rgb.tif": lambda p: tifffile.imwrite(p, np.stack([VOLUME] * 3, -1), photometric="rgb"),
    "one.h5": lambda p: hdf5(p, volume=VOLUME, table=np.arange(5)),
    "two.h5:/b/volume": lambda p: hdf5("two.h5", a=VOLUME[::-1], b__volume=VOLUME),
    "fivedim.h5": lambda p: hdf5(p, exported_data=VOLUME[None, ..., None]),
    "int64.h5": lambda p: hdf5(p, volume=VOLUME.astype(np.int64)),
    "c.npy": lambda p: np.save(p, VOLUME),
    "fortran.npy": lambda p: np.save(p, np.asfortranarray(VOLUME)),
    "one.npz": lambda p: np.savez_compressed(p, volume=VOLUME),
    "two.npz:b": lambda p: np.savez("two.npz", a=VOLUME[::-1], b=VOLUME),
    "rock_14x12x10.raw": lambda p: VOLUME.tofile(p),
    "rock_14x12x10_16bit.raw": lambda p: VOLUME.astype("<u2").tofile(p),
    "png": lambda p: slices(p, "png"),
    "bmp": lambda p: slices(p, "bmp"),
    "tif": lambda p: slices(p, "tif"),
}


@pytest.mark.parametrize("source", FORMATS)
def test_every_format_gives_the_same_dataset(source, ingest):
    np.save("reference.npy", VOLUME)
    FORMATS[source](source)
    expected = ingest("reference.npy")
    assert np.array_equal(joined(expected), SOLID)
    dataset = ingest(source, "-o", "other.dsd.h5")
    assert dataset.digest == expected.digest
    assert dataset.provenance["sources"][0]["name"] == source
    assert len(dataset.provenance["sources"][0]["sha256"]) == 64


def test_raw_voxels_take_their_shape_from_flags(ingest):
    VOLUME.astype("<u2").tofile("voxels.bin")
    dataset = ingest("voxels.bin", "--shape", "10x12x14", "--dtype", "uint16")
    assert np.array_equal(joined(dataset), SOLID)


@pytest.mark.parametrize("values", [[0, 1], [0, 255], [85, 170], [-7, 40_000]])
def test_any_two_labels_become_pore_and_solid(values, ingest):
    np.save("rock.npy", np.where(SOLID, values[1], values[0]))
    dataset = ingest("rock.npy")
    assert [(phase.name, phase.label) for phase in dataset.phases] == [("pore", values[0]), ("solid", values[1])]
    assert np.array_equal(joined(dataset), SOLID)


def test_bool_arrays_and_one_bit_images_have_the_labels_0_and_1(ingest):
    hdf5("bool.h5", mask=SOLID)
    tifffile.imwrite("bit.tif", SOLID, photometric="minisblack")
    Path("bits").mkdir()
    for number, image in enumerate(SOLID):
        Pictures.fromarray(image).save(f"bits/{number}.png")
    assert len({ingest(name, "-o", "x.dsd.h5").digest for name in ("bool.h5", "bit.tif", "bits")}) == 1


def test_the_label_table_and_the_assumed_polarity_are_shown_on_stderr(dsd):
    np.save("rock.npy", VOLUME)
    code, out, err = dsd("ingest", "rock.npy")
    assert code == 0
    assert out == "rock.dsd.h5\n"
    rows = [line.split() for line in err.splitlines()]
    share = SOLID.mean()
    assert ["label", "phase", "fraction", "voxels"] in rows
    assert ["0", "pore", f"{1 - share:.4f}", str((~SOLID).sum())] in rows
    assert ["255", "solid", f"{share:.4f}", str(SOLID.sum())] in rows
    assert "WARNING: pore = label 0, the smallest, by convention" in err
    for words in (["--pore", "255"], ["--phase", "pore=0", "--phase", "grain=255"], ["--pore", "0", "-q"]):
        assert "convention" not in dsd("ingest", "rock.npy", *words)[2]


def test_json_is_one_object_on_stdout_with_labels_and_warnings(dsd):
    np.save("rock.npy", VOLUME)
    code, out, _ = dsd("ingest", "rock.npy", "--voxel-size", "2um", "--downsample", "2", "--json")
    about = json.loads(out)
    assert code == 0
    assert [(entry["label"], entry["name"], entry["voxels"]) for entry in about["labels"]] == [
        (0, "pore", int((~SOLID).sum())),
        (255, "solid", int(SOLID.sum())),
    ]
    assert about["path"] == "rock.dsd.h5"
    assert (about["voxel_size"], about["voxel_unit"]) == (4.0, "um")
    assert any("convention" in warning for warning in about["warnings"])


def test_phases_can_be_named_and_merged(ingest):
    labels = np.random.default_rng(1).choice([0, 85, 170], (8, 9, 10))
    np.save("cell.npy", labels)
    named = ingest("cell.npy", "--phase", "cbd=170", "--phase", "pore=0", "--phase", "nmc=85")
    assert [(phase.name, phase.label) for phase in named.phases] == [("pore", 0), ("nmc", 85), ("cbd", 170)]
    assert np.array_equal(joined(named), labels // 85)
    merged = ingest("cell.npy", "--pore", "0", "--phase", "solid=170", "--phase", "solid=85")
    assert [(phase.name, phase.label) for phase in merged.phases] == [("pore", 0), ("solid", 170)]
    assert np.array_equal(joined(merged), labels > 0)
    assert merged.provenance["labels"] == {"pore": [0], "solid": [85, 170]}
    default = ingest("cell.npy", "--pore", "85")
    assert [phase.name for phase in default.phases] == ["phase0", "pore", "phase170"]


def test_stray_labels_are_pointed_out(dsd):
    labels = VOLUME.copy()
    labels[0, 0, 0] = 254
    np.save("rock.npy", labels)
    assert "WARNING: label 254 fills only" in dsd("ingest", "rock.npy")[2]


def test_metadata_decide_between_volume_and_images_and_axes_override_them(dsd, ingest):
    tifffile.imwrite("frames.tif", VOLUME, imagej=True, metadata={"axes": "TYX"})
    frames = ingest("frames.tif")
    assert (frames.slice_axes, frames.train[0].axes) == ("t", "TYX")
    volume = ingest("frames.tif", "--axes", "xyz")
    assert (volume.slice_axes, volume.train[0].axes) == ("zyx", "ZYX")
    np.save("unsaid.npy", VOLUME)
    assert "--axes t" in dsd("ingest", "unsaid.npy")[2]
    assert ingest("unsaid.npy").train[0].axes == "ZYX"
    images = ingest("unsaid.npy", "--axes", "t", "--downsample", "2")
    assert images.train[0].array.shape == (8, 6, 7)
    assert ingest("unsaid.npy", "--downsample", "2").train[0].array.shape == (4, 6, 7)


def test_an_imagej_hyperstack_holds_several_volumes(ingest):
    tifffile.imwrite("both.tif", np.stack([VOLUME, VOLUME[::-1]]), imagej=True, metadata={"axes": "TZYX"})
    dataset = ingest("both.tif")
    assert [image.array.shape for image in dataset.train] == [(8, 12, 14)] * 2
    assert np.array_equal(dataset.heldout[1].array, SOLID[::-1][8:])


def test_folders_are_volumes_in_natural_order_and_files_are_independent_images(ingest):
    slices("scan", "png", np.concatenate([VOLUME, VOLUME]))  # slice10 must come after slice9
    dataset = ingest("scan")
    assert dataset.slice_axes == "z"
    assert np.array_equal(joined(dataset), np.concatenate([SOLID, SOLID]))
    files = [f"scan/slice{number}.png" for number in (10, 2, 1)]
    images = ingest(*files, "-o", "images.dsd.h5")
    assert (images.slice_axes, images.train[0].axes) == ("t", "TYX")
    assert np.array_equal(joined(images), SOLID[[0, 2, 1]])
    volume = ingest(*files, "--axes", "z", "-o", "volume.dsd.h5")
    assert volume.train[0].axes == "ZYX"
    assert np.array_equal(joined(volume), SOLID[[1, 2, 0]])


def test_images_of_different_sizes_stay_apart(dsd, ingest):
    slices("scan", "png", VOLUME[:4])
    Pictures.fromarray(VOLUME[0, :5]).save("scan/slice9.png")
    code, _, err = dsd("ingest", "scan")
    assert code == 4
    assert "--axes t" in err
    dataset = ingest("scan", "--axes", "t", "-o", "scan.dsd.h5")
    assert [image.array.shape for image in dataset.train] == [(12, 14)] * 4
    assert [image.array.shape for image in dataset.heldout] == [(5, 14)]


def test_holdout_is_the_last_part(ingest):
    np.save("rock.npy", VOLUME)
    dataset = ingest("rock.npy", "--holdout", "0.35")
    assert np.array_equal(dataset.heldout[0].array, SOLID[6:])
    assert np.array_equal(dataset.train[0].array, SOLID[:6])
    Pictures.fromarray(VOLUME[0]).save("slice.png")
    image = ingest("slice.png", "--holdout", "0.25")
    assert np.array_equal(image.heldout[0].array, SOLID[0, 9:])
    assert ingest("rock.npy", "--holdout", "0").heldout == ()


IMAGEJ = {"imagej": True, "resolution": (1 / 2.5, 1 / 2.5)}
CM = {"resolutionunit": "CENTIMETER"}
UM = {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "µm", "PhysicalSizeX": 400, "PhysicalSizeY": 0.4}
SIZES = {
    "imagej_um": ({**IMAGEJ, "metadata": {"axes": "ZYX", "unit": "um", "spacing": 2.5}}, (2.5, "um", "ImageJ")),
    "imagej_escaped": ({**IMAGEJ, "metadata": {"axes": "ZYX", "unit": r"\u00B5m"}}, (2.5, "um", "ImageJ")),
    "imagej_pixel": ({**IMAGEJ, "metadata": {"axes": "ZYX", "unit": "pixel"}}, None),
    "imagej_inch": ({**IMAGEJ, "metadata": {"axes": "ZYX", "unit": "inch"}}, None),
    "ome_two_units": ({"ome": True, "metadata": {"axes": "ZYX", **UM}}, (400, "nm", "OME PhysicalSize")),
    "inch": ({"resolution": (5000, 5000), "resolutionunit": "INCH"}, None),
    "screen": ({"resolution": (72 / 2.54, 72 / 2.54), **CM}, None),
    "one_per_cm": ({"resolution": (1, 1), **CM}, None),
    "centimetre": ({"resolution": (2000, 2000), **CM}, (5, "um", "TIFF resolution")),
    "nothing": ({}, None),
    "berea_2p25um": ({}, (2.25, "um", "file name")),
    "berea_400nm_bin": ({}, (400, "nm", "file name")),
    "not_square": ({**IMAGEJ, "resolution": (1, 0.5), "metadata": {"axes": "ZYX", "unit": "um"}}, None),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_voxel_size_is_found_or_left_out_and_its_source_recorded(name, ingest):
    options, expected = SIZES[name]
    tifffile.imwrite(f"{name}.tif", VOLUME, **options)
    dataset = ingest(f"{name}.tif")
    found = (dataset.voxel_size, dataset.voxel_unit, dataset.provenance["voxel_size_source"])
    assert found == ((pytest.approx(expected[0], rel=1e-6), *expected[1:]) if expected else (None, None, None))


def test_a_flag_overrides_the_file_and_a_sidecar_or_attribute_helps_out(dsd, ingest):
    tifffile.imwrite("rock.tif", VOLUME, **IMAGEJ, metadata={"axes": "ZYX", "unit": "um", "spacing": 2.5})
    code, _, err = dsd("ingest", "rock.tif", "--voxel-size", "3 micron")
    assert code == 0
    assert "3 um as given, though ImageJ says 2.5 um" in err
    assert Dataset.open("rock.dsd.h5").voxel_size == 3
    np.save("plain.npy", VOLUME)
    Path("plain.json").write_text('{"voxel_size": 0.8, "voxel_unit": "mm"}')
    assert (ingest("plain.npy").voxel_size, ingest("plain.npy").voxel_unit) == (0.8, "mm")
    with h5py.File("fiji.h5", "w") as file:
        file["volume"] = VOLUME
        file["volume"].attrs["element_size_um"] = [1.5, 1.5, 1.5]
    assert (ingest("fiji.h5").voxel_size, ingest("fiji.h5").voxel_unit) == (1.5, "um")


def test_flat_voxels_are_said_loudly(dsd):
    tifffile.imwrite("rock.tif", VOLUME, **IMAGEJ, metadata={"axes": "ZYX", "unit": "um", "spacing": 5})
    _, _, err = dsd("ingest", "rock.tif")
    assert "WARNING: the slices lie 5 um apart, the pixels 2.5 um" in err


@pytest.mark.parametrize("text", ["5", "um", "-1um", "0um", "3 inch", "1.2.3um", "", "nanum", "1e999um"])
def test_sizes_without_value_or_unit_are_refused(text):
    with pytest.raises(UsageError, match=r"like 5\.3um"):
        parse_voxel_size(text)


def test_sizes_are_read_as_people_and_file_names_write_them():
    assert [(v.value, v.unit) for v in map(parse_voxel_size, ["5.345um", "0.4 µm", "12nm", "1e-1 mm"])] == [
        (5.345, "um"),
        (0.4, "um"),
        (12.0, "nm"),
        (0.1, "mm"),
    ]
    assert from_name("rock_300x300x300.raw") is None
    assert from_name("albumin_3umbrellas.raw") is None
    assert from_name("rock 1.5um (a).raw").value == 1.5


def damaged(path: str, keep: float) -> None:
    tifffile.imwrite("whole.tif", VOLUME, compression="lzw")
    content = Path("whole.tif").read_bytes()
    Path(path).write_bytes(content[: int(keep * len(content))])


def with_nan(path: str) -> None:
    array = VOLUME.astype(np.float32)
    array[0, 0, 0] = np.nan
    np.save(path, array)


GREY = np.random.default_rng(0).integers(0, 200, (10, 20, 20), dtype=np.uint8)
GREY[0, :10] = np.arange(200).reshape(10, 20)
BAD = {
    "missing.tif": (lambda p: None, 2, "no file missing.tif"),
    "grey.tif": (lambda p: tifffile.imwrite(p, GREY), 4, r"200 different values \(0 to 199.*segment it"),
    "thirds.npy": (lambda p: np.save(p, (SOLID.astype(int) + np.roll(SOLID, 1)) / 3), 4, "not whole numbers"),
    "nan.npy": (with_nan, 4, "NaN"),
    "onephase.tif": (lambda p: tifffile.imwrite(p, VOLUME * 0 + 255), 4, "label 255.*one phase"),
    "rgb.png": (lambda p: Pictures.fromarray(np.dstack([GREY[0], GREY[1], GREY[2]])).save(p), 4, r"colour \(RGB\)"),
    "photo.jpg": (lambda p: Pictures.fromarray(VOLUME[0]).save(p), 4, "lossy"),
    "empty.tif": (lambda p: Path(p).touch(), 4, "empty file"),
    "text.tif": (lambda p: Path(p).write_text("no image at all"), 4, "cannot tell what text.tif is"),
    "cut_in_half.tif": (lambda p: damaged(p, 0.5), 4, "damaged or truncated TIFF"),
    "cut_at_the_end.tif": (lambda p: damaged(p, 0.98), 4, "damaged or truncated TIFF"),
    "cut_header.tif": (lambda p: damaged(p, 0.005), 4, "damaged or truncated TIFF"),
    "twosizes.tif": (
        lambda p: [tifffile.imwrite(p, VOLUME[0, :side], append=True) for side in (12, 5)],
        4,
        "images of different kinds",
    ),
    "channels.tif": (lambda p: tifffile.imwrite(p, VOLUME[:2], imagej=True, metadata={"axes": "CYX"}), 4, "2 channels"),
    "broken.h5": (lambda p: Path(p).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), 4, "damaged HDF5"),
    "two.h5": (lambda p: hdf5(p, a=VOLUME, b=VOLUME), 4, r"two\.h5:/NAME; found: /a \(10x12x14 uint8\), /b"),
    "two.h5:/c": (lambda p: hdf5("two.h5", a=VOLUME, b=VOLUME), 2, "no dataset /c; it holds /a"),
    "none.h5": (lambda p: hdf5(p, a=np.arange(3)), 4, "0 datasets that could be images"),
    "broken.npy": (lambda p: Path(p).write_bytes(b"\x93NUMPY\x01\x00v\x00 nonsense"), 4, "damaged"),
    "objects.npy": (lambda p: np.save(p, np.array([{}]), allow_pickle=True), 4, "objects"),
    "empty.npy": (lambda p: np.save(p, np.zeros((0, 4, 4), np.uint8)), 4, "empty: its shape is 0x4x4"),
    "line.npy": (lambda p: np.save(p, np.arange(9)), 4, "1 dimensions"),
    "huge.npy": (lambda p: np.save(p, VOLUME.astype(np.int64) << 40), 4, "beyond 32 bits"),
    "noshape.raw": (lambda p: VOLUME.tofile(p), 4, "--shape ZxYxX"),
    "wrong_14x12x11.raw": (lambda p: VOLUME.tofile(p), 4, "1680 bytes, but 11x12x14"),
    "emptyfolder": (lambda p: Path(p).mkdir(), 4, "holds no images"),
    "plain.tif:/part": (lambda p: tifffile.imwrite("plain.tif", VOLUME), 2, "no part '/part'"),
}


@pytest.mark.parametrize("source", BAD)
def test_bad_input_ends_in_one_clear_line_and_writes_nothing(source, dsd):
    prepare, expected_code, message = BAD[source]
    prepare(source)
    before = names()
    code, out, err = dsd("ingest", source)
    assert (code, out) == (expected_code, "")
    assert err.startswith("dsd: error: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err
    assert names() == before


OPTIONS = {
    "--pore 7": (2, "the labels are 0, 255"),
    "--phase pore=0": (4, "labels 255"),
    "--phase pore=0 --phase a=255 --phase b=255": (2, "named twice"),
    "--phase pore=0 --phase pore=255": (4, "one phase"),
    "--phase 0=pore": (2, "NAME=LABEL"),
    "--phase a=254 --phase pore=0": (2, "no voxel has the label 254"),
    "--pore 0 --phase pore=255": (2, "leave one out"),
    "--holdout 1": (2, "less than 1"),
    "--downsample 11": (2, "smaller factor"),
    "--downsample 0": (2, "at least 1"),
    "--axes q": (2, "zyx"),
    "--shape 10x12x14": (2, "raw voxels"),
    "--voxel-size 5": (2, "unit"),
    "-o nowhere/x.dsd.h5": (2, "does not exist"),
    "-o x.tif": (2, r"\.dsd\.h5"),
    "--unknown": (2, "No such option"),
}


@pytest.mark.parametrize("words", OPTIONS)
def test_wrong_options_are_refused_and_nothing_is_written(words, dsd):
    tifffile.imwrite("rock.tif", VOLUME)
    code, out, err = dsd("ingest", "rock.tif", *words.split())
    expected_code, message = OPTIONS[words]
    assert (code, out) == (expected_code, "")
    assert re.search(message, err), err
    assert names() == ["rock.tif"]


def test_sources_that_do_not_belong_together_are_refused(dsd):
    np.save("volume.npy", VOLUME)
    np.save("image.npy", VOLUME[0])
    np.save("a_1um.npy", VOLUME)
    np.save("b_2um.npy", VOLUME)
    code, _, err = dsd("ingest", "volume.npy", "image.npy")
    assert (code, "mix volumes and independent 2D images" in err) == (4, True)
    code, _, err = dsd("ingest", "a_1um.npy", "b_2um.npy")
    assert (code, "differ in voxel size (1 um, 2 um)" in err) == (4, True)
    code, _, err = dsd("ingest", "image.npy", "--axes", "z")
    assert (code, "single 2D image" in err) == (2, True)


def test_a_training_part_of_one_phase_is_refused(dsd):
    labels = np.zeros((10, 8, 8), np.uint8)
    labels[9] = 1
    np.save("rock.npy", labels)
    code, _, err = dsd("ingest", "rock.npy")
    assert (code, "nothing to learn" in err) == (4, True)


def test_the_default_name_replaces_only_a_dataset_of_the_same_source(dsd):
    np.save("rock.npy", VOLUME)
    assert dsd("ingest", "rock.npy")[0] == 0
    assert dsd("ingest", "rock.npy", "--holdout", "0.5")[0] == 0
    assert len(Dataset.open("rock.dsd.h5").heldout[0].array) == 5
    tifffile.imwrite("rock.tif", VOLUME)
    code, _, err = dsd("ingest", "rock.tif")
    assert (code, "choose another name with --out" in err) == (2, True)
    assert len(Dataset.open("rock.dsd.h5").heldout[0].array) == 5
    assert dsd("ingest", "rock.tif", "-o", "rock.dsd.h5")[0] == 0
    assert len(Dataset.open("rock.dsd.h5").heldout[0].array) == 2


def test_a_source_is_never_overwritten(dsd):
    hdf5("rock.h5", volume=VOLUME)
    before = Path("rock.h5").read_bytes()
    code, _, err = dsd("ingest", "rock.h5:/volume", "-o", "rock.h5")
    assert (code, "is read as well" in err) == (2, True)
    assert Path("rock.h5").read_bytes() == before


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(dsd, monkeypatch):
    np.save("rock.npy", VOLUME)
    assert dsd("ingest", "rock.npy")[0] == 0
    before = Path("rock.dsd.h5").read_bytes()

    class Full(_Disk):
        def write(self, content):
            if self.tell() + len(memoryview(content).cast("B")) > 1000:
                self.failed = OSError(28, "No space left on device")
            return super().write(content)

    monkeypatch.setattr("dsdcli.data.hdf5._Disk", Full)
    code, out, err = dsd("ingest", "rock.npy", "--holdout", "0.5")
    assert (code, out) == (1, "")
    assert "No space left on device" in err
    assert Path("rock.dsd.h5").read_bytes() == before
    assert names() == ["rock.dsd.h5", "rock.npy"]
