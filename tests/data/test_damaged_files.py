"""Damaged and hostile files end in one line, soon, and nothing outside their folder is read."""

import json
import os
import signal
import struct
import subprocess
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image as Pictures

from dsdcli.data.formats import apart, limits, read_image
from dsdcli.data.samples import is_samples, read_samples, write_samples
from dsdcli.errors import DataError, UsageError
from dsdcli.pipeline.defaults import newest_samples

from . import foreign
from .foreign import VOLUME


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def refused(source: str, match: str) -> DataError:
    with pytest.raises(DataError, match=match) as caught:
        read_image(source)
    assert "\n" not in str(caught.value)
    assert source.partition(":")[0] in str(caught.value)
    return caught.value


def npy_claiming(path: str, shape: tuple[int, ...], content: bytes = b"\0" * 100) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    Path(path).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content)


def npz_claiming(path: str) -> None:
    npy_claiming("inside.npy", (9000, 1000, 1000))
    with zipfile.ZipFile(path, "w") as archive:
        archive.write("inside.npy", "volume.npy")


def hdf5(path: str, **options: object) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("volume", dtype="u1", **options)


def hdf5_one_chunk(path: str) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("volume", (9000, 1000, 1000), "u1", chunks=(1, 1000, 1000), fillvalue=1)[0] = 0


def tiff_cycle(path: str) -> None:
    tifffile.imwrite(path, VOLUME[0])
    content = bytearray(Path(path).read_bytes())
    first = struct.unpack("<I", content[4:8])[0]
    behind = first + 2 + 12 * struct.unpack("<H", content[first : first + 2])[0]
    content[behind : behind + 4] = struct.pack("<I", first)
    Path(path).write_bytes(content)


def tiff_without_strips(path: str) -> None:
    with tifffile.TiffWriter(path) as tif:
        for image in VOLUME:
            tif.write(image, contiguous=False, metadata=None, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[3].tags["StripByteCounts"].overwrite(0)


def tiff_of_rows(path: str, rows: int) -> None:
    tifffile.imwrite(path, VOLUME[0], compression="zlib", rowsperstrip=len(VOLUME[0]))
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags["ImageLength"].overwrite(rows)


def png_claiming(path: str) -> None:
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 90_000, 90_000, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def cut(path: str, make, keep: float = 0.6) -> None:
    make(path)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(keep * len(content))])


CASES = {
    "claims.npy": (lambda p: npy_claiming(p, (9000, 1000, 1000)), "ends before the 9000x1000x1000 voxels"),
    "negative.npy": (lambda p: npy_claiming(p, (-5, 20)), "damaged"),
    "header.npy": (lambda p: Path(p).write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': '''''"), "damaged"),
    "claims.npz": (npz_claiming, "ends before"),
    "cut.npz": (lambda p: cut(p, lambda p: np.savez_compressed(p, a=VOLUME)), "damaged"),
    "claims.png": (png_claiming, "claims 1x90000x90000 voxels"),
    "cut.png": (lambda p: cut(p, lambda p: Pictures.fromarray(VOLUME[0]).save(p)), "damaged picture"),
    "cycle.tif": (tiff_cycle, "no end"),
    "holes.tif": (tiff_without_strips, "lacks the voxels of 1 of its 10 pages"),
    "rows.tif": (lambda p: tiff_of_rows(p, 50), "lacks the voxels of 1 of its 1 pages"),
    "claims.tif": (lambda p: tiff_of_rows(p, 10**8), "claims 100000000x14 voxels"),
    "four.tif": (lambda p: Path(p).write_bytes(b"II*\0"), "damaged or truncated TIFF"),
    "claims.h5": (lambda p: hdf5(p, shape=(9000, 1000, 1000), fillvalue=1), "none were ever written"),
    "onechunk.h5": (hdf5_one_chunk, r"claims 9000x1000x1000 voxels \(8\.\d GiB\)"),
    "cut.h5": (lambda p: cut(p, lambda p: hdf5(p, data=VOLUME, compression="gzip")), "damaged HDF5"),
    "empty.mat": (lambda p: Path(p).write_bytes(b"MATLAB 5.0 MAT-file" + bytes(120)), "cannot read"),
    "rock_99999x99999x99999.raw": (lambda p: VOLUME.tofile(p), "1680 bytes, but 99999x99999x99999"),
    "cut.mhd": (lambda p: foreign.mhd(p, data=VOLUME.tobytes()[:-1]), "there are 1679"),
    "claims.mha": (lambda p: foreign.mhd(p, "DimSize = 9000 9000 9000\n", name="LOCAL"), "claims 9000x9000x9000"),
    "cut.am": (lambda p: foreign.amira(p, "HxByteRLE", b"\x01\x00"), "1680|there are 1"),
    "cut.vti": (lambda p: cut(p, foreign.vti), "VTK cannot read it"),
    "claims.vti": (
        lambda p: Path(p).write_text('<VTKFile type="ImageData"><ImageData WholeExtent="0 9999 0 9999 0 9999">'),
        "claims 10000x10000x10000",
    ),
    "mesh.vtk": (lambda p: Path(p).write_text("# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\n"), "POLYDATA"),
    "cut.nii.gz": (lambda p: cut(p, foreign.nifti), "cannot read"),
    "cut.nrrd": (lambda p: cut(p, foreign.nrrd), "cannot read"),
    "two.zip": (
        lambda p: [zipfile.ZipFile(p, "a").writestr(f"{n}.raw", b"x") for n in "ab"],
        r"2 files that could be images \(a.raw, b.raw\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", CASES)
def test_claims_that_the_file_does_not_keep_end_in_one_line(source):
    prepare, message = CASES[source]
    prepare(source)
    refused(source, message)


def test_what_a_reader_met_stays_the_cause(monkeypatch):
    np.save("rock.npy", VOLUME)

    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug\nof two lines")

    monkeypatch.setattr("dsdcli.data.formats.arrays.plain_raster", bug)
    error = refused("rock.npy", r"ZeroDivisionError: a bug\)")
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_an_image_larger_than_the_memory_is_refused_before_it_is_read(monkeypatch):
    np.save("rock.npy", np.zeros((90, 1000, 1000), np.uint8))
    monkeypatch.setattr(limits, "free_ram", lambda: 10**7)
    refused("rock.npy", r"need 85\.5 MiB of memory; 9\.5 MiB are free")


def test_pipes_are_refused_and_never_waited_for(dsd):
    os.mkfifo("rock.tif")
    refused("rock.tif", "no regular file")
    assert not is_samples(Path("rock.tif"))
    np.save("real.npy", VOLUME)
    os.mkfifo("real.json")
    assert read_image("real.npy").voxel is None


def test_json_nested_without_end_is_no_crash():
    deep = "[" * 100_000
    np.save("rock.npy", VOLUME)
    Path("rock.json").write_text(deep)
    assert read_image("rock.npy").voxel is None
    with pytest.raises(DataError, match="audit record"):
        read_samples("rock.npy")
    foreign.zarr_array("rock.zarr", 2)
    Path("rock.zarr/.zattrs").write_text(deep)
    refused("rock.zarr", "cannot read")


def test_an_empty_dataset_beside_the_image_is_no_crash():
    with h5py.File("rock.h5", "w") as file:
        file["volume"], file["nothing"] = VOLUME, h5py.Empty("f4")
    assert np.array_equal(read_image("rock.h5").array, VOLUME)
    with pytest.raises(DataError, match="no numbers"):
        read_image("rock.h5:/nothing")


def test_blocks_that_were_never_written_are_pointed_out():
    with h5py.File("rock.h5", "w") as file:
        file.create_dataset("volume", VOLUME.shape, "u1", chunks=(1, 12, 14))[:8] = VOLUME[:8]
    assert "only 8 of 10 blocks were written; the others read as 0" in read_image("rock.h5").remarks[0]


def virtual(path: str, source: str) -> None:
    layout = h5py.VirtualLayout(VOLUME.shape, "u1")
    layout[...] = h5py.VirtualSource(source, "volume", VOLUME.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("rock", layout)


def test_voxels_outside_the_folder_of_an_hdf5_file_are_not_followed():
    hdf5("../secret.h5", data=VOLUME)
    VOLUME.tofile("../secret.raw")
    virtual("virtual.h5", "../secret.h5")
    refused("virtual.h5", "outside its folder")
    hdf5("external.h5", shape=VOLUME.shape, external=[("../secret.raw", 0, VOLUME.size)])
    refused("external.h5", "outside its folder")
    with h5py.File("link.h5", "w") as file:
        file["rock"] = h5py.ExternalLink("../secret.h5", "/volume")
    refused("link.h5:/rock", r"link to \.\./secret\.h5:/volume; name that file")
    refused("link.h5", "0 datasets")
    hdf5("beside.h5", data=VOLUME)
    virtual("near.h5", "beside.h5")
    assert np.array_equal(read_image("near.h5").array, VOLUME)
    Path("beside.h5").unlink()
    refused("near.h5", "beside.h5, which is not there")


def test_voxels_outside_the_folder_of_a_header_are_not_followed():
    foreign.mhd("rock.mhd", name="../voxels.raw")
    refused("rock.mhd", "outside its folder")
    foreign.nrrd("rock.nhdr", detached_header=True)
    Path("rock.raw.gz").rename("../rock.raw.gz")
    Path("rock.nhdr").write_text(Path("rock.nhdr").read_text().replace("rock.raw.gz", "../rock.raw.gz"))
    refused("rock.nhdr", "outside its folder")


def test_a_reader_that_never_comes_back_ends_itself(monkeypatch):
    apart.close()
    loop = "import signal; signal.setitimer(signal.ITIMER_PROF, 0.2)\nwhile True: pass"
    start = subprocess.Popen
    command = ["-P", "-c", f"import sys; sys.stdout.buffer.write(b'h' + bytes(8)); sys.stdout.flush()\n{loop}"]
    monkeypatch.setattr(subprocess, "Popen", lambda words, **more: start([words[0], *command], **more))
    hdf5("rock.h5", data=VOLUME)
    refused("rock.h5", "did not come back")
    apart.close()


def test_a_reading_process_sets_itself_a_limit_of_computing_and_is_replaced_when_it_dies():
    hdf5("rock.h5", data=VOLUME)
    read_image("rock.h5")
    child = apart._running[0].process
    child.send_signal(signal.SIGPROF)  # what its timer sends; Python would ignore most others
    child.wait()
    assert np.array_equal(read_image("rock.h5").array, VOLUME)
    assert apart._running[0].process.pid != child.pid


def test_lzw_is_decoded_where_a_crash_harms_nobody():
    tifffile.imwrite("rock.tif", VOLUME, compression="lzw", predictor=True)
    apart.close()
    assert np.array_equal(read_image("rock.tif").array, VOLUME)
    child = apart._running[0].process
    content, rng = Path("rock.tif").read_bytes(), np.random.default_rng(0)
    for _ in range(30):
        broken = bytearray(content)
        for at in rng.integers(8, len(content), size=4):
            broken[at] ^= 1 << int(rng.integers(8))
        Path("broken.tif").write_bytes(broken)
        try:
            assert read_image("broken.tif").array.size
        except DataError as error:
            assert "\n" not in str(error)
    child.kill()
    child.wait()
    assert np.array_equal(read_image("rock.tif").array, VOLUME)


def test_a_half_copied_file_does_not_hide_the_good_samples_beside_it():
    phases = foreign.PHASES
    write_samples("good.tif", (VOLUME // 255)[:, :10], phases)
    for number, content in enumerate((b"II*\0", b"\x89HDF\r\n\x1a\n", b"<VTKFile", b"ObjectType")):
        path = Path(f"new.{('tif', 'h5', 'vti', 'mhd')[number]}")
        path.write_bytes(content)
        later = time.time() + 10
        os.utime(path, (later, later))
        assert not is_samples(path)
    assert newest_samples() == Path("good.tif")


def test_a_samples_file_with_a_strange_record_is_refused():
    about = {"phases": [{"name": "a", "label": float("inf")}], "shape": [1]}
    foreign.mhd("rock.mha", f"dsd = {json.dumps(about)}\n", name="LOCAL")
    with pytest.raises(DataError, match=r"rock\.mha"):
        read_samples("rock.mha")


def test_evaluate_leaves_out_what_is_no_image_of_a_folder():
    from dsdcli.pipeline.inputs import read_stack

    Path("folder").mkdir()
    for number in range(3):
        Pictures.fromarray(VOLUME[number]).save(f"folder/{number}.png")
    for name in ("Thumbs.db", "notes.docx", "desktop.ini", ".hidden.png"):
        Path("folder", name).write_bytes(b"no image")
    stack, bad = read_stack(Path("folder"), foreign.PHASES, False)
    assert (len(stack.stack), bad) == (3, [])


def test_names_in_a_file_never_reach_a_terminal_as_they_are():
    with h5py.File("rock.h5", "w") as file:
        file["a\x1b[2J\nb"], file["c"] = VOLUME, VOLUME
    error = refused("rock.h5", r"/a\\x1b\[2J\\nb")
    assert str(error).isprintable()


def test_a_missing_file_is_a_usage_error():
    for name in ("none.h5", "none.zarr", "none.h5:/a", "none"):
        with pytest.raises(UsageError, match="no file none"):
            read_image(name)
