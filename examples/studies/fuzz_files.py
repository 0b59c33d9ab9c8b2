"""Damage small files of every kind at random, and see that reading each one ends well.

    python examples/studies/fuzz_files.py --seconds 60

Every case must end in an image or in one line of error within 30 s (``--patience``) and 2 GiB of memory. One that does
not is printed, its file kept under ``--keep``, and the exit code is 1. Equal seeds make equal cases.
"""

import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import tifffile
from fuzzing import options, serve, watch
from PIL import Image as Pictures

from dsdcli.data.dataset import Dataset
from dsdcli.data.formats import read_image
from dsdcli.data.phases import Phase
from dsdcli.data.samples import is_samples, read_samples, write_samples
from dsdcli.errors import DataError, UsageError
from dsdcli.pipeline.ingest import ingest

MEMORY = 2**31  # bytes
PHASES = (Phase("pore", 0), Phase("solid", 255))
VOLUME = (np.random.default_rng(0).random((10, 12, 14)) < 0.7).astype(np.uint8)
LABELS = VOLUME * np.uint8(255)
NUMBERS = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def hdf5(path: Path, **options: object) -> None:
    with h5py.File(path, "w", **options) as file:
        file.create_dataset("deep/volume", data=LABELS, chunks=(4, 6, 7), compression="gzip", fletcher32=True)
        file["deep/volume"].attrs.update(element_size_um=[1.0, 1.0, 1.0], note="x" * 100)
        file["table"], file["nothing"] = np.arange(9), h5py.Empty("f4")


def matlab(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"rock": LABELS.transpose(1, 2, 0), "who": "me"}, do_compression=True)


def nifti(path: Path) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(LABELS.T, np.eye(4)), path)


def nrrd(path: Path, **options: object) -> None:
    import nrrd

    nrrd.write(str(path), LABELS.T, {"spacings": [1.0, 1.0, 2.0]}, **options)


def moving(path: Path) -> None:
    frames = [Pictures.fromarray(image) for image in LABELS]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def amira(path: Path) -> None:
    runs = bytes(byte for value in VOLUME.ravel().tolist() for byte in (1, value))
    path.write_bytes(
        b"# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\n\ndefine Lattice 14 12 10\n\n"
        b'Parameters {\n    BoundingBox 0 13 0 11 0 9,\n    CoordType "uniform"\n}\n\n'
        b"Lattice { byte Labels } @1(HxByteRLE,%d)\n\n@1\n%s\n" % (len(runs), runs)
    )


def zipped(path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), LABELS)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path.with_suffix(".tif"), "rock/rock.tif")
    path.with_suffix(".tif").unlink()


def dataset(path: Path) -> None:
    np.save(path.with_name("source.npy"), LABELS)
    ingest([str(path.with_name("source.npy"))], path)
    path.with_name("source.npy").unlink()


MAKE = {
    "plain.tif": lambda p: tifffile.imwrite(p, LABELS),
    "lzw.tif": lambda p: tifffile.imwrite(p, LABELS, compression="lzw", predictor=True),
    "tiled.tif": lambda p: tifffile.imwrite(p, LABELS, tile=(16, 16), compression="deflate"),
    "imagej.tif": lambda p: tifffile.imwrite(p, LABELS, imagej=True, metadata={"axes": "ZYX", "unit": "um"}),
    "some.ome.tif": lambda p: tifffile.imwrite(p, LABELS, ome=True, metadata={"axes": "ZYX"}),
    "old.h5": hdf5,
    "new.h5": lambda p: hdf5(p, libver="latest"),
    "seven.mat": lambda p: hdf5(p, userblock_size=512),
    "five.mat": matlab,
    "one.npy": lambda p: np.save(p, LABELS),
    "one.npz": lambda p: np.savez_compressed(p, volume=LABELS, table=np.arange(3)),
    "image.png": lambda p: Pictures.fromarray(LABELS[0]).save(p),
    "image.bmp": lambda p: Pictures.fromarray(LABELS[0]).save(p),
    "image.pgm": lambda p: Pictures.fromarray(LABELS[0]).save(p),
    "moving.gif": moving,
    "rock.nii": nifti,
    "rock.nii.gz": nifti,
    "raw.nrrd": lambda p: nrrd(p),
    "detached.nhdr": lambda p: nrrd(p, detached_header=True),
    "labels.am": amira,
    "rock.zip": zipped,
    "rock_14x12x10.raw": lambda p: LABELS.tofile(p),
    "text_14x12x10.dat": lambda p: np.savetxt(p, VOLUME.reshape(-1, 14), "%d"),
    "samples.tif": lambda p: write_samples(p, VOLUME, PHASES, 1.0, "um"),
    **{
        f"samples{ending}": lambda p: write_samples(p, VOLUME[None], PHASES, 1.0, "um", {"audit": "samples.json"})
        for ending in (".h5", ".zarr", ".vti", ".mhd", ".mha")
    },
    "rock.dsd.h5": dataset,
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three random faults."""
    for _ in range(rng.integers(1, 4)):
        size = len(content)
        near = int(rng.integers(max(1, size if rng.random() < 0.5 else min(size, 600))))  # headers are most of it
        kind = rng.integers(8)
        if kind == 0:
            content = content[:near]
        elif kind == 1:
            flipped = bytearray(content)
            for at in rng.integers(max(1, size), size=rng.integers(1, 9)):
                flipped[at : at + 1] = bytes([flipped[at] ^ (1 << rng.integers(8))]) if at < size else b""
            content = bytes(flipped)
        elif kind in (2, 3):
            width, order = int(rng.choice([1, 2, 4, 8])), rng.choice(["little", "big"])
            number = int(NUMBERS[rng.integers(len(NUMBERS))]) % 2 ** (8 * width)
            content = content[:near] + number.to_bytes(width, str(order)) + content[near + width :]
        elif kind == 4:
            found = list(re.finditer(rb"\d+", content[: 2**16]))
            if found:
                match = found[rng.integers(len(found))]
                number = rng.choice([b"0", b"-1", b"99999999", b"4294967296", b"9" * 30, b"1e999", b"nan"])
                content = content[: match.start()] + bytes(number) + content[match.end() :]
        elif kind == 5:
            content = content[:near] + content[near + int(rng.integers(1, 64)) :]
        elif kind == 6:
            content = content[:near] + rng.bytes(int(rng.integers(1, 64))) + content[near:]
        elif content[:1] in (b"{", b"["):
            content = b"[" * 100_000 if rng.random() < 0.5 else content.replace(b":", b":" + b"[" * 5000, 1)
        else:
            content = content[:near] + content[:near] + content[near:]
    return content


def make_case(seeds: Path, seed: int, number: int, folder: Path) -> Path:
    """Write case ``number`` into ``folder``, emptied before; the path of its file."""
    rng = np.random.default_rng([seed, number])
    name = list(MAKE)[number % len(MAKE)]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seeds / name, folder)
    parts = sorted(path for path in folder.rglob("*") if path.is_file())
    part = parts[rng.integers(len(parts))]
    part.write_bytes(damaged(part.read_bytes(), rng))
    if rng.random() < 0.1:
        (folder / name).with_suffix(".json").write_bytes(damaged(b'{"voxel_size": 2, "voxel_unit": "um"}', rng))
    return folder / name


def read(path: Path) -> str:
    """Read a case in every way; what came of it.

    Raises:
        AssertionError: an image that is none.
    """
    is_samples(path)
    try:
        if path.name.endswith(".dsd.h5"):
            Dataset.open(path)
            return "read"
        raster = read_image(str(path))
        assert raster.array.dtype.kind in "iu" and raster.array.size
        assert len(raster.axes or "ZYX") == raster.array.ndim
        if path.name.startswith("samples"):
            read_samples(path)
    except (DataError, UsageError) as error:
        assert "\n" not in str(error), "more than one line"
        return "refused"
    return "read"


def main() -> None:
    args = options(__doc__).parse_args()
    if args.serve:
        serve(args.first, lambda number: read(make_case(args.serve, args.seed, number, args.serve / "case")))
        return
    with tempfile.TemporaryDirectory(prefix="dsd-fuzz-") as name:
        seeds = Path(name)
        for kind, make in MAKE.items():
            (seeds / kind).mkdir()
            make(seeds / kind / kind)

        def keep(number: int) -> str:
            return str(make_case(seeds, args.seed, number, args.keep / str(number)))

        sys.exit(watch(args, seeds, ("read", "refused"), MEMORY, keep) > 0)


if __name__ == "__main__":
    main()
