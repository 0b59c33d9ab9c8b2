"""Samples files: what goes in comes out, in the user's labels and units; sheets show it unchanged."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures

from dsdcli.data.phases import Phase
from dsdcli.data.samples import is_samples, read_samples, write_samples
from dsdcli.data.writers import check_samples_name
from dsdcli.errors import DataError, DsdError, UsageError
from dsdcli.view.sheet import colours, sheet_image, write_sheet

CELL = (Phase("pore", 0), Phase("nmc", 85), Phase("cbd", 170))


def stack(*shape: int, phases: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, phases, shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".h5", ".hdf5"])
@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 7, 9), (4, 3, 5, 7), (1, 3, 5, 7), (1, 1, 5, 7)])
def test_samples_come_back_with_phases_and_voxel_size(tmp_path, suffix, shape):
    path, images = tmp_path / f"samples{suffix}", stack(*shape)
    write_samples(path, images, CELL, 0.398, "um", {"format": "dsd-audit", "seed": 3})
    found = read_samples(path)
    assert np.array_equal(found.stack, images)
    assert found.stack.dtype == np.uint8
    assert (found.phases, found.voxel_size, found.voxel_unit) == (CELL, 0.398, "um")
    assert found.audit == {"format": "dsd-audit", "seed": 3}
    assert is_samples(path)


@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 7, 9), (4, 3, 5, 7), (1, 3, 5, 7)])
def test_bare_labels_get_their_meaning_from_the_audit_record_or_the_caller(tmp_path, shape):
    path, images = tmp_path / "samples.npy", stack(*shape)
    write_samples(path, images, CELL)
    assert np.array_equal(np.load(path), images * 85)
    assert np.array_equal(read_samples(path, CELL).stack, images)
    assert [phase.name for phase in read_samples(path).phases] == ["phase0", "phase85", "phase170"]
    assert not is_samples(path)
    record = {"format": "dsd-audit", "phases": [{"name": p.name, "label": p.label} for p in CELL]}
    (tmp_path / "samples.json").write_text(json.dumps({**record, "voxel_size": 2, "voxel_unit": "nm"}))
    found = read_samples(path)
    assert (found.phases, found.voxel_size, found.voxel_unit) == (CELL, 2, "nm")
    assert is_samples(path)


@pytest.mark.parametrize(
    ("labels", "dtype"), [((0, 255), "u1"), ((0, 300), "u2"), ((-3, 9), "i2"), ((0, 70_000), "i4")]
)
@pytest.mark.parametrize("suffix", [".tif", ".h5", ".npy"])
def test_files_hold_the_labels_of_the_user(tmp_path, labels, dtype, suffix):
    phases, images = (Phase("pore", labels[0]), Phase("solid", labels[1])), stack(3, 6, 5, phases=2)
    path = tmp_path / f"samples{suffix}"
    write_samples(path, images, phases, 5.0, "um")
    if suffix == ".tif":
        raw = tifffile.imread(path)
    elif suffix == ".h5":
        raw = h5py.File(path)["samples"][...]
    else:
        raw = np.load(path)
    assert raw.dtype == np.dtype(dtype)
    assert np.array_equal(raw, np.array(labels)[images])
    assert np.array_equal(read_samples(path, phases).stack, images)


def test_imagej_reads_stack_axes_and_voxel_size(tmp_path):
    for shape, axes in (((4, 6, 5), "TYX"), ((4, 3, 6, 5), "TZYX")):
        path = tmp_path / f"{axes}.tif"
        write_samples(path, stack(*shape), CELL, 0.4, "um")
        with tifffile.TiffFile(path) as tif:
            assert tif.is_imagej
            assert tif.series[0].axes == axes
            assert tif.imagej_metadata["unit"] == "um"
            assert tif.imagej_metadata["spacing"] == pytest.approx(0.4)
            numerator, denominator = tif.pages[0].tags["XResolution"].value
            assert denominator / numerator == pytest.approx(0.4)


def test_strange_names_and_extreme_sizes_survive(tmp_path):
    phases = (Phase("Näh孔", 0), Phase("b", 1))
    write_samples(tmp_path / "samples.tif", stack(2, 4, 4, phases=2), phases, 1e-10, "m")
    found = read_samples(tmp_path / "samples.tif")
    assert (found.phases, found.voxel_size, found.voxel_unit) == (phases, 1e-10, "m")


def test_phases_are_matched_by_name_then_by_label(tmp_path):
    path, images = tmp_path / "samples.tif", stack(3, 6, 5, phases=2)
    write_samples(path, images, (Phase("pore", 0), Phase("solid", 255)))
    inverted = read_samples(path, (Phase("solid", 0), Phase("pore", 255)))
    assert np.array_equal(inverted.stack, 1 - images)
    renamed = read_samples(path, (Phase("pore", 0), Phase("grain", 255)))
    assert np.array_equal(renamed.stack, images)
    with pytest.raises(DataError, match=r"labels that belong to no phase: 255; the phases are pore=0, grain=1"):
        read_samples(path, (Phase("pore", 0), Phase("grain", 1)))


def test_images_from_elsewhere_are_samples_too(tmp_path):
    images = stack(4, 6, 5) * 85
    tifffile.imwrite(tmp_path / "stack.tif", images, photometric="minisblack")
    assert read_samples(tmp_path / "stack.tif", CELL).stack.shape == (4, 6, 5)
    tifffile.imwrite(tmp_path / "volume.tif", images, imagej=True, metadata={"axes": "ZYX"})
    assert read_samples(tmp_path / "volume.tif", CELL).stack.shape == (1, 4, 6, 5)
    Pictures.fromarray(images[0]).save(tmp_path / "one.png")
    assert read_samples(tmp_path / "one.png", CELL).stack.shape == (1, 6, 5)
    (tmp_path / "folder").mkdir()
    for number, image in enumerate(images):
        Pictures.fromarray(image).save(tmp_path / f"folder/{number}.png")
    assert np.array_equal(read_samples(tmp_path / "folder", CELL).stack * 85, images)
    Pictures.fromarray(images[0, :3]).save(tmp_path / "folder/5.png")
    with pytest.raises(DataError, match="differ in size"):
        read_samples(tmp_path / "folder", CELL)
    assert not any(is_samples(tmp_path / name) for name in ("stack.tif", "volume.tif", "one.png"))


def test_damaged_files_are_refused_in_one_line(tmp_path):
    for suffix in (".tif", ".h5", ".npy"):
        path = tmp_path / f"samples{suffix}"
        write_samples(path, stack(20, 30, 30), CELL)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(DataError) as caught:
            read_samples(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no file"):
        read_samples(tmp_path / "missing.tif")


def test_unknown_extensions_and_folders_are_refused_before_and_while_writing(tmp_path):
    for name in ("samples.jpg", "samples", "samples.dat"):
        with pytest.raises(UsageError, match=r"\.tif .*\.h5"):
            check_samples_name(name)
        with pytest.raises(UsageError):
            write_samples(tmp_path / name, stack(1, 2, 2), CELL)
    with pytest.raises(UsageError, match="does not exist"):
        write_samples(tmp_path / "nowhere/samples.tif", stack(1, 2, 2), CELL)


@pytest.mark.parametrize("suffix", [".tif", ".h5", ".npy"])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_rubbish(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"samples{suffix}"
    write_samples(path, stack(2, 4, 4), CELL)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DsdError, match="No space left"):
        write_samples(path, stack(3, 5, 5), CELL)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_sheet_shows_every_voxel_enlarged_and_unchanged(tmp_path):
    images = stack(6, 10, 8)
    picture = np.asarray(sheet_image(images, CELL, columns=3))
    colour_of = colours(CELL)
    factor, gutter = 8, 4
    for number, image in enumerate(images):
        row, column = divmod(number, 3)
        y, x = gutter + row * (10 * factor + gutter), gutter + column * (8 * factor + gutter)
        tile = picture[y : y + 10 * factor, x : x + 8 * factor]
        assert np.array_equal(tile, colour_of[np.kron(image, np.ones((factor, factor), np.uint8))])


def test_a_sheet_of_volumes_shows_three_planes_in_line_and_a_view_of_each():
    volumes = stack(2, 5, 10, 8)
    picture = np.asarray(sheet_image(volumes, CELL, columns=1))
    factor, gutter = 8, 4
    apart = (10 + 10) * factor + 3 * gutter  # the largest side has room for the view
    for number, volume in enumerate(volumes):
        top, left, down, right = (gutter + number * (apart + gutter), gutter, 10 * factor + gutter, 8 * factor + gutter)
        for y, x, plane in ((0, 0, volume[2]), (0, right, volume[:, :, 4].T), (down, 0, volume[:, 5])):
            tile = np.kron(plane, np.ones((factor, factor), np.uint8))
            height, width = tile.shape
            place = picture[top + y : top + y + height, left + x : left + x + width]
            assert np.array_equal(place, colours(CELL)[tile])
        view = picture[top + down : top + down + 80, left + right : left + right + 80]
        assert 0.05 < (view == 255).all(2).mean() < 0.9
    many = sheet_image(stack(20, 5, 10, 8), CELL, columns=4)
    assert many.size == sheet_image(stack(16, 5, 10, 8), CELL, columns=4).size
    assert many.tobytes() != sheet_image(stack(20, 5, 10, 8)[:16], CELL, columns=4).tobytes()  # it says: 16 of 20


def test_phases_have_colours_of_their_own_and_the_pore_is_dark():
    phases = (*(Phase(f"phase{i}", i) for i in range(9)), Phase("pore", 9))
    table = colours(phases).astype(int)
    assert len({tuple(row) for row in table.tolist()}) == 10
    assert table.sum(1).argmin() == 9
    assert colours(tuple(Phase(str(i), i) for i in range(255))).shape == (255, 3)


def test_titles_take_room_and_a_sheet_is_never_read_as_data(tmp_path):
    images = stack(4, 10, 8)
    plain, titled = (sheet_image(images, CELL, 2, titles) for titles in (None, list("abcd")))
    assert titled.height > plain.height
    write_sheet(tmp_path / "sheet.png", images, CELL, titles=list("abcd"))
    with pytest.raises(DataError, match="contact sheet"):
        read_samples(tmp_path / "sheet.png", CELL)


def test_a_thousand_samples_still_make_a_sheet_of_sane_size(tmp_path):
    write_sheet(tmp_path / "sheet.png", stack(1000, 64, 64), CELL)
    with Pictures.open(tmp_path / "sheet.png") as picture:
        assert max(picture.size) < 3000


def test_writing_is_reproducible(tmp_path):
    for suffix in (".tif", ".h5", ".npy"):
        one, two = Path(tmp_path, f"one{suffix}"), Path(tmp_path, f"two{suffix}")
        for path in (one, two):
            write_samples(path, stack(3, 8, 8), CELL, 1.0, "um")
        assert one.read_bytes() == two.read_bytes()
