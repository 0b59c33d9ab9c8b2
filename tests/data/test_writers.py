"""Samples in every format come back whole, and other programs read what they expect."""

import json
from pathlib import Path

import numpy as np
import pytest

from dsdcli.data.formats import read_image
from dsdcli.data.phases import Phase
from dsdcli.data.samples import is_samples, read_samples, write_samples
from dsdcli.data.writers import check_samples_name
from dsdcli.data.writers.ome_zarr import ZarrSamples
from dsdcli.errors import DsdError, UsageError

CELL = (Phase("pore", 0), Phase("nmc", 85), Phase("cbd", 170))
NEW = [".zarr", ".ome.zarr", ".vti", ".mhd", ".mha"]


def stack(*shape: int, phases: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, phases, shape, dtype=np.uint8)


@pytest.mark.parametrize("suffix", NEW)
@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 7, 9), (4, 3, 5, 7), (1, 3, 5, 7), (1, 1, 5, 7)])
def test_samples_come_back_with_phases_voxel_size_and_audit(tmp_path, suffix, shape):
    path, images = tmp_path / f"samples{suffix}", stack(*shape)
    write_samples(path, images + np.uint8(1), (Phase("old", 9), *CELL))
    write_samples(path, images, CELL, 0.398, "um", {"format": "dsd-audit", "seed": 3})
    found = read_samples(path)
    assert np.array_equal(found.stack, images)
    assert (found.phases, found.voxel_size, found.voxel_unit) == (CELL, 0.398, "um")
    assert found.audit == {"format": "dsd-audit", "seed": 3}
    assert is_samples(path)


@pytest.mark.parametrize("suffix", NEW)
@pytest.mark.parametrize(("labels", "unit"), [((0, 300), "nm"), ((-3, 70_000), "m"), ((0, 1), None)])
def test_labels_and_units_survive(tmp_path, suffix, labels, unit):
    phases, images = (Phase("Näh孔", labels[0]), Phase("b", labels[1])), stack(2, 3, 4, 5, phases=2)
    path = tmp_path / f"samples{suffix}"
    write_samples(path, images, phases, 12.5 if unit else None, unit)
    raster = read_image(str(path))
    assert np.array_equal(raster.array, np.array(labels)[images])
    assert raster.axes == "TZYX"
    found = read_samples(path)
    assert (found.phases, found.voxel_size, found.voxel_unit) == (phases, 12.5 if unit else None, unit)


@pytest.mark.parametrize("suffix", NEW)
def test_a_failed_write_keeps_the_old_file_and_leaves_no_rubbish(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"samples{suffix}"
    write_samples(path, stack(2, 4, 4), CELL)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr("os.rename", full)
    with pytest.raises(DsdError, match="No space left"):
        write_samples(path, stack(3, 5, 5), CELL)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_nothing_that_dsd_did_not_make_is_overwritten(tmp_path):
    (tmp_path / "scan.raw").write_bytes(b"voxels")
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "file.zarr").write_bytes(b"")
    for name in ("scan.mhd", "folder.zarr", "file.zarr"):
        with pytest.raises(UsageError, match="did not make it"):
            check_samples_name(tmp_path / name)
        with pytest.raises(UsageError):
            write_samples(tmp_path / name, stack(1, 2, 2), CELL)
    write_samples(tmp_path / "ours.mhd", stack(1, 2, 2), CELL)
    check_samples_name(tmp_path / "ours.mhd")


def test_paraview_sees_a_cell_for_each_voxel(tmp_path):
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    images = stack(2, 3, 5, 7)
    write_samples(tmp_path / "samples.vti", images, CELL, 0.4, "um")
    reader = vtkXMLImageDataReader()
    reader.SetFileName(str(tmp_path / "samples.vti"))
    reader.Update()
    image = reader.GetOutput()
    assert image.GetDimensions() == (8, 6, 4)
    assert image.GetSpacing() == (0.4, 0.4, 0.4)
    for number, sample in enumerate(images):
        cells = vtk_to_numpy(image.GetCellData().GetArray(f"sample{number:04d}"))
        assert np.array_equal(cells.reshape(3, 5, 7), sample * 85)


@pytest.mark.parametrize("suffix", [".mhd", ".mha"])
def test_vtk_reads_the_metaimage(tmp_path, suffix):
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOImage import vtkMetaImageReader

    images = stack(1, 3, 5, 7)
    write_samples(tmp_path / f"samples{suffix}", images, CELL, 400, "nm")
    reader = vtkMetaImageReader()
    reader.SetFileName(str(tmp_path / f"samples{suffix}"))
    reader.Update()
    image = reader.GetOutput()
    assert image.GetSpacing() == pytest.approx((0.4, 0.4, 0.4))
    assert np.array_equal(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(3, 5, 7), images[0] * 85)


def test_the_zarr_folder_is_an_ome_image_of_version_0_4(tmp_path):
    import zarr

    images = stack(2, 70, 130, 90, phases=2)
    write_samples(tmp_path / "samples.zarr", images, CELL, 0.4, "um")
    attributes = json.loads((tmp_path / "samples.zarr/.zattrs").read_text())
    scales = attributes["multiscales"][0]
    assert scales["version"] == "0.4"
    assert [(axis["name"], axis["type"], axis.get("unit")) for axis in scales["axes"]] == [
        ("t", "time", None),
        *((name, "space", "micrometer") for name in "zyx"),
    ]
    group = zarr.open_group(str(tmp_path / "samples.zarr"), mode="r")
    levels = [group[level["path"]] for level in scales["datasets"]]
    assert [level.shape for level in levels] == [(2, 70, 130, 90), (2, 35, 65, 45), (2, 17, 32, 22)]
    assert [level.chunks for level in levels] == [(1, 64, 64, 64), (1, 35, 64, 45), (1, 17, 32, 22)]
    for number, level in enumerate(scales["datasets"]):
        scale, *translation = level["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": pytest.approx([1.0] + [0.4 * 2**number] * 3)}
        for step in translation:  # the first coarse voxel lies in the middle of the fine ones that it stands for
            assert step["translation"] == pytest.approx([0.0] + [0.4 * (2**number - 1) / 2] * 3)
    blocks = images[:, :70, :130, :90].reshape(2, 35, 2, 65, 2, 45, 2).sum((2, 4, 6))
    coarse = levels[1][...] // 85
    assert np.array_equal(coarse[blocks != 4], (blocks > 4)[blocks != 4])


def test_a_zarr_folder_grows_sample_by_sample_in_any_order(tmp_path):
    images = stack(3, 6, 7)
    about = {
        "phases": [{"name": phase.name, "label": phase.label} for phase in CELL],
        "voxel_size": None,
        "voxel_unit": None,
        "shape": images.shape,
        "extra": None,
    }
    samples = ZarrSamples(tmp_path / "samples.zarr", images.shape, CELL, about)
    for done, index in enumerate((2, 0, 1), 1):
        samples.write(index, images[index])
        written = [path for path in (tmp_path / "samples.zarr/0").rglob("*") if path.is_file() and path.name[0] != "."]
        assert len(written) == done  # a chunk for each sample
    assert np.array_equal(read_samples(tmp_path / "samples.zarr").stack, images)


@pytest.mark.parametrize("suffix", NEW)
def test_ingest_evaluate_and_info_read_the_samples_back(tmp_path, suffix, dsd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = stack(8, 24, 24)
    write_samples(f"samples{suffix}", images, CELL, 0.4, "um")
    code, out, err = dsd("ingest", f"samples{suffix}", "--phase", "pore=0", "--phase", "nmc=85", "--phase", "cbd=170")
    assert code == 0, err
    assert "0.4 um" in err
    code, text, err = dsd("evaluate", f"samples{suffix}", "--real", out.strip(), "--metrics", "interface", "--json")
    assert code == 0, err
    assert json.loads(text)
    code, text, err = dsd("info", f"samples{suffix}", "--json")
    assert code == 0, err
    assert f"samples{suffix}" in text


def test_an_image_is_filled_from_and_into_a_zarr_folder(tmp_path, dsd, monkeypatch):
    from dsdcli.network.checkpoint import save_config, save_tensors
    from tests.conftest import random_model

    monkeypatch.chdir(tmp_path)
    model = random_model(2, 2)
    Path("model").mkdir()
    save_config(Path("model"), model.config)
    save_tensors(Path("model/model.safetensors"), model.state_dict())
    images = stack(1, 8, 8, phases=2)
    write_samples("scan.zarr", images, model.config.phases, 2.0, "um")
    words = ["--box", "2:5,3:6", "--model", "model", "-n", "3", "--steps", "2", "-o", "filled.zarr"]
    code, out, err = dsd("inpaint", "scan.zarr", *words)
    assert code == 0, err
    filled = read_samples(out.strip())
    assert filled.stack.shape == (3, 8, 8)
    assert (filled.stack.sum((1, 2)) == images.sum()).all()
    outside = np.ones((8, 8), bool)
    outside[2:5, 3:6] = False
    assert (filled.stack[:, outside] == images[0][outside]).all()
    assert filled.audit["seed"] is not None
