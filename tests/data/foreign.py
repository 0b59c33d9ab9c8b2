"""Small files of formats that this program reads but does not write, each holding the same volume of two labels."""

import json
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import tifffile
from PIL import Image as Pictures

from dsdcli.data.phases import Phase

VOLUME = np.where(np.random.default_rng(0).random((10, 12, 14)) < 0.7, 255, 0).astype(np.uint8)  # Z, Y, X
PHASES = (Phase("pore", 0), Phase("solid", 255))
MATLAB = VOLUME.transpose(1, 2, 0)  # rows, columns, pages


def mat5(path: str) -> None:
    from scipy.io import savemat

    savemat(path, {"rock": MATLAB, "note": "text", "size": 2.5}, do_compression=True)


def mat73(path: str) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["rock"] = MATLAB.transpose()
        file["rock"].attrs["MATLAB_class"] = np.bytes_("uint8")
        file["#refs#/a"] = VOLUME
    with Path(path).open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


def nrrd(path: str, **more: object) -> None:
    import nrrd

    spacings = {"space directions": np.diag([2.5, 2.5, 5.0]), "space": "left-posterior-superior"}
    nrrd.write(path, VOLUME.T, {**spacings, "space units": ["um"] * 3}, **more)


def nifti(path: str) -> None:
    import nibabel

    image = nibabel.Nifti1Image(VOLUME.T, np.diag([2.5, 2.5, 5.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, path)


def mhd(path: str, more: str = "", data: bytes | None = None, name: str = "voxels.raw") -> None:
    local = name == "LOCAL"
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 14 12 10\nElementSpacing = 2.5 2.5 5\nDistanceUnits = um\n"
        f"{more}ElementType = MET_UCHAR\nElementDataFile = {name}\n"
    ).encode()
    content = VOLUME.tobytes() if data is None else data
    Path(path).write_bytes(header + content * local)
    if not local:
        (Path(path).parent / name).write_bytes(content)


def mhd_slices(path: str) -> None:
    mhd(path, name="z%03d.raw 1 10 1")
    Path("z%03d.raw 1 10 1").unlink()
    for number, image in enumerate(VOLUME, 1):
        image.tofile(f"z{number:03d}.raw")


def runs_of(content: bytes) -> bytes:
    """HxByteRLE with both kinds of runs."""
    out, at = b"", 0
    while at < len(content):
        same = 1
        while at + same < len(content) and content[at + same] == content[at] and same < 127:
            same += 1
        if same > 2:
            out, at = out + bytes([same, content[at]]), at + same
        else:
            plain = content[at : at + 5]
            out, at = out + bytes([128 + len(plain)]) + plain, at + len(plain)
    return out


def amira(path: str, packing: str = "", data: bytes | None = None, first: str = "BINARY-LITTLE-ENDIAN 2.1") -> None:
    data = VOLUME.tobytes() if data is None else data
    packed = f"({packing},{len(data)})" if packing else ""
    Path(path).write_bytes(
        f"# AmiraMesh {first}\n\ndefine Lattice 14 12 10\n\nParameters {{\n    Units {{\n        "
        'Coordinates "µm"\n    }\n    BoundingBox 0 32.5 0 27.5 0 45,\n    CoordType "uniform"\n}\n\n'
        f"Lattice {{ byte Labels }} @1{packed}\nLattice {{ float Probability }} @2\n\n# Data section follows\n"
        "@1\n".encode("latin-1") + data + b"\n\n@2\n" + np.zeros(VOLUME.size, "<f4").tobytes() + b"\n"
    )  # fmt: skip


def vti(path: str, arrays: int = 1) -> None:
    texts = " ".join(map(str, VOLUME.ravel().tolist()))
    data = "".join(
        f'<DataArray type="UInt8" Name="phase{number}" format="ascii">{texts}</DataArray>' for number in range(arrays)
    )
    Path(path).write_text(
        '<?xml version="1.0"?>\n<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian">'
        '<ImageData WholeExtent="0 14 0 12 0 10" Origin="0 0 0" Spacing="2.5 2.5 5"><Piece Extent="0 14 0 12 0 10">'
        f"<CellData>{data}</CellData></Piece></ImageData></VTKFile>"
    )


def vtk(path: str) -> None:
    Path(path).write_bytes(
        b"# vtk DataFile Version 3.0\nrock\nBINARY\nDATASET STRUCTURED_POINTS\nDIMENSIONS 14 12 10\nORIGIN 0 0 0\n"
        b"SPACING 1 1 1\nPOINT_DATA 1680\nSCALARS phase unsigned_char 1\nLOOKUP_TABLE default\n" + VOLUME.tobytes()
    )


def zarr_array(path: str, version: int) -> None:
    import zarr

    array = zarr.create_array(path, shape=VOLUME.shape, chunks=(4, 5, 6), dtype="u1", zarr_format=version)
    array[...] = VOLUME


def ome_zarr(path: str, version: str, labels: bool = False) -> None:
    """Axes c, z, y, x; a coarse level that must not be read."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    for level, array in enumerate((VOLUME, VOLUME[::2, ::2, ::2])):
        group.create_array(str(level), shape=(1, *array.shape), chunks=(1, 8, 8, 8), dtype="u1")[0] = array
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = [1.0, 5.0, 2.5, 2.5]
    levels = [
        {
            "path": str(n),
            "coordinateTransformations": [{"type": "scale", "scale": [1.0, *(np.array(scale[1:]) * 2**n)]}],
        }
        for n in range(2)
    ]
    multiscales = [{"version": version, "axes": axes, "datasets": levels}]
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    else:
        group.attrs["multiscales"] = multiscales
    if labels:
        group.create_group("labels").create_array("mask", shape=VOLUME.shape, dtype="u1")[...] = VOLUME // 255


def zipped(path: str) -> None:
    tifffile.imwrite("inside.tif", VOLUME)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write("inside.tif", "rock/rock.tif")
        archive.writestr("rock/readme.txt", "two phases")
        archive.writestr("__MACOSX/._rock.tif", b"\0")
    Path("inside.tif").unlink()


def gif(path: str) -> None:
    frames = [Pictures.fromarray(image) for image in VOLUME]
    frames[0].save(path, save_all=True, append_images=frames[1:], optimize=False)


def ome_set(folder: Path) -> list[Path]:
    """Two files of five slices each that are one OME-TIFF image."""
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{n}" for n in range(2)]
    names = ["first.ome.tif", "second.ome.tif"]
    for own in range(2):
        data = "".join(
            f'<TiffData FirstZ="{5 * n}" IFD="0" PlaneCount="5"><UUID FileName="{names[n]}">{uuids[n]}</UUID>'
            "</TiffData>"
            for n in range(2)
        )
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{uuids[own]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
            'SizeX="14" SizeY="12" SizeZ="10" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{data}</Pixels></Image></OME>"
        )
        with tifffile.TiffWriter(folder / names[own]) as tif:
            for number in range(5):
                page = VOLUME[5 * own + number]
                tif.write(page, description=xml if not number else None, metadata=None, contiguous=False)
    return [folder / name for name in names]


FOREIGN = {
    "five.mat": mat5,
    "two.mat:rock": lambda p: mat5("two.mat"),
    "seven.mat": mat73,
    "gzip.nrrd": nrrd,
    "beside.nhdr": lambda p: nrrd(p, detached_header=True),
    "plain.nii": nifti,
    "packed.nii.gz": nifti,
    "beside.mhd": mhd,
    "slices.mhd": mhd_slices,
    "zlib.mhd": lambda p: mhd(p, "CompressedData = True\n", zlib.compress(VOLUME.tobytes())),
    "skip.mhd": lambda p: mhd(p, "HeaderSize = 7\n", b"1234567" + VOLUME.tobytes()),
    "one.mha": lambda p: mhd(p, name="LOCAL"),
    "plain.am": amira,
    "rle.am": lambda p: amira(p, "HxByteRLE", runs_of(VOLUME.tobytes())),
    "zip.am": lambda p: amira(p, "HxZip", zlib.compress(VOLUME.tobytes())),
    "ascii.am": lambda p: amira(p, data="\n".join(map(str, VOLUME.ravel())).encode(), first="3D ASCII 2.0"),
    "cells.vti": vti,
    "several.vti:phase1": lambda p: vti("several.vti", 2),
    "points.vtk": vtk,
    "two.zarr": lambda p: zarr_array(p, 2),
    "three.zarr": lambda p: zarr_array(p, 3),
    "ome4.zarr": lambda p: ome_zarr(p, "0.4"),
    "ome5.ome.zarr": lambda p: ome_zarr(p, "0.5"),
    "rock.zip": zipped,
    "rock_14x12x10.dat": lambda p: VOLUME.tofile(p),
    "rock_14x12x10_float32.bin": lambda p: VOLUME.astype("<f4").tofile(p),
    "rock_14x12x10": lambda p: VOLUME.tofile(p),
    "text_14x12x10.dat": lambda p: np.savetxt(p, VOLUME.reshape(-1, 14), "%d"),
    "columns_14x12x10.txt": lambda p: Path(p).write_text("\n".join(map(str, VOLUME.ravel()))),
    "commas_14x12x10.csv": lambda p: np.savetxt(p, VOLUME.reshape(-1, 14), "%d", ","),
    "moving.gif": gif,
}


def sidecar(path: str, value: float) -> None:
    Path(path).with_suffix(".json").write_text(json.dumps({"voxel_size": value, "voxel_unit": "um"}))
