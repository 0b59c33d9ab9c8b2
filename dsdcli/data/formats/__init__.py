"""Foreign image files as arrays of labels: one reader per family of formats, chosen by content, not by name."""

import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dsdcli.data.formats import amira, medical, metaimage, pictures, raw
from dsdcli.data.formats.archive import read_zip
from dsdcli.data.formats.arrays import read_matlab, read_npy, read_npz
from dsdcli.data.formats.hdf5 import is_hdf5, read_hdf5
from dsdcli.data.formats.ome_zarr import is_zarr, read_zarr
from dsdcli.data.formats.raster import Raster
from dsdcli.data.formats.tiff import read_tiff
from dsdcli.data.formats.vtk import read_vtk
from dsdcli.data.formats.vtk_image import is_vtk
from dsdcli.data.large import is_large, let_go, room
from dsdcli.data.voxel import VoxelSize, from_name, unit_name
from dsdcli.errors import DataError, DsdError, UsageError
from dsdcli.files import parse_json

__all__ = [
    "Raster",
    "guarded",
    "identity",
    "image_files",
    "is_slices",
    "natural_order",
    "read_folder",
    "read_image",
    "split_inner",
]

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZIP = b"PK\x03\x04"
_SLICES = (".tif", ".tiff", ".png", ".bmp", ".npy", ".raw", ".gif", ".jpg", ".jpeg", ".pgm", ".pbm")
_ENDINGS = (
    *(*_SLICES, ".h5", ".hdf5", ".npz", ".mat", ".nrrd", ".nhdr", ".mhd", ".mha", ".nii", ".am", ".vti", ".vtk"),
    *(".zarr", ".zip", ".dat", ".bin", ".nii.gz"),
)
_LONGEST = 4000  # characters of an error or a remark
_HEAD = 512  # bytes that tell formats apart


@dataclass(frozen=True)
class _Bare:
    """What a user says of raw voxels."""

    shape: tuple[int, ...] | None
    dtype: str | None
    offset: int
    endian: str

    def said(self) -> bool:
        return self != _Bare(None, None, 0, "little")


def split_inner(text: str) -> tuple[Path, str | None]:
    """Split ``file.h5:/path`` into the file (or zarr folder) and the path inside it (None without one)."""
    path = Path(text)
    if ":" in text and not path.exists():
        file, _, inner = text.rpartition(":")
        if Path(file).is_file() or is_zarr(Path(file)):
            return Path(file), inner
    return path, None


def identity(text: str) -> tuple[Path, str | None]:
    """What is equal for two names of one image."""
    path, inner = split_inner(text)
    return path.resolve(), inner


def read_image(
    text: str,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
    offset: int = 0,
    endian: str = "little",
) -> Raster:
    """Read the image file that ``text`` names (``file.h5:/path`` for an array inside a file).

    Args:
        text: the file, or a zarr folder.
        shape: (Z, Y, X) or (Y, X), used for files of bare voxels.
        dtype: their type.
        offset: bytes before them.
        endian: their byte order, "little" or "big".

    Raises:
        UsageError: there is no such file, or no such part of it.
        DataError: unreadable, or no labels; one line that says what to do.
    """
    path, inner = split_inner(text)
    with guarded(path):
        raster = _read(path, inner, _Bare(shape, dtype, offset, endian))
        voxel = raster.voxel or _sidecar(path) or from_name(path.name)
        return replace(raster, voxel=voxel, remarks=tuple(_on_one_line(remark) for remark in raster.remarks))


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Let whatever reading ``path`` raises end in a DataError that names it and keeps the error met as its cause."""
    try:
        yield
    except DsdError as error:
        if _on_one_line(str(error)) == str(error):
            raise
        raise type(error)(_on_one_line(str(error))) from error
    except MemoryError as error:
        raise DataError(f"{path} needs more memory than is free; crop or coarsen it first") from error
    except Exception as error:  # readers of foreign formats raise every kind on a damaged file
        said = (str(error).splitlines() or [""])[0][:200]
        raise DataError(
            f"cannot read {path}: damaged, or not what it looks like ({type(error).__name__}{': ' * bool(said)}{said})"
        ) from error


def _on_one_line(text: str) -> str:
    """``text`` without what names in a file can do to a terminal: line breaks, control characters, no end."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_LONGEST])


def _read(path: Path, inner: str | None, bare: _Bare) -> Raster:
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    if path.is_dir() and not is_zarr(path):
        raise DataError(f"{path} is a folder, not an image")
    if not path.is_dir() and not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path} is no regular file (a pipe or a device); save the image to a file first")
    head = _head(path)
    reader, parts = _reader(path, head)
    if reader is not None and bare.said():
        raise UsageError(
            f"`shape` and `dtype` are for raw voxels, but {path} says itself what it holds; leave them out "
            "(and `offset`, `endian`)"
        )
    if inner is not None and not parts:
        raise UsageError(f"{path} is of a format without parts, so it has no part '{inner}'; leave out ':{inner}'")
    if reader is not None:
        return reader(path, inner) if parts else reader(path)
    named = raw.shape_in_name(path)
    ending = path.suffix.lower()
    if bare.said() or ending == ".raw" or (named and ending not in _SLICES):
        return raw.read_raw(path, bare.shape, bare.dtype, bare.offset, bare.endian)
    if raw.looks_like_text(path):
        return raw.read_text(path)
    return pictures.read_picture(path)


def _head(path: Path) -> bytes:
    if path.is_dir():
        return b""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not head:
        raise DataError(f"{path} is an empty file")
    return head


def _reader(path: Path, head: bytes) -> tuple[Callable[..., Raster] | None, bool]:
    """Who reads a file that says itself what it is, and whether such files have parts; None for others."""
    if path.is_dir():
        return read_zarr, True
    if head.startswith(_ZIP):
        return (read_npz, True) if _is_npz(path) else (lambda file: read_zip(file, _unpacked), False)
    choices: tuple[tuple[bool, Callable[..., Raster], bool], ...] = (
        (is_hdf5(path), read_hdf5, True),
        (head.startswith(b"\x93NUMPY"), read_npy, True),
        (head.startswith(_TIFF), read_tiff, False),
        (head.startswith(b"MATLAB 5.0") or path.suffix.lower() == ".mat", read_matlab, True),
        (head.startswith(b"NRRD000"), medical.read_nrrd, False),
        (medical.is_nifti(path, head), medical.read_nifti, False),
        (head.startswith(amira.HEADS), amira.read_amira, True),
        (is_vtk(head), read_vtk, True),
        (metaimage.is_metaimage(head, path), metaimage.read_metaimage, False),
        (head.startswith(pictures.HEADS), pictures.read_picture, False),
    )
    return next(((reader, parts) for fits, reader, parts in choices if fits), (None, False))


def _is_npz(path: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return path.suffix.lower() == ".npz"


def _unpacked(path: Path) -> Raster:
    """A file from an archive, which must not be an archive again."""
    if _head(path).startswith(_ZIP) and not _is_npz(path):
        raise DataError(f"{path} is an archive inside an archive; unpack it first")
    return read_image(str(path))


def is_slices(path: Path) -> bool:
    """Whether ``path`` is a folder whose files are images, rather than an image that is a folder."""
    return path.is_dir() and not is_zarr(path)


def read_folder(folder: Path, read: Callable[[str], Raster] = read_image) -> list[Raster]:
    """Read the images of a folder in natural order (``slice2`` before ``slice10``), a set of files once.

    Args:
        read: reads one of them.

    Raises:
        DataError: none, or of several formats.
    """
    files = [file for file in image_files(folder) if file.suffix.lower() in _SLICES]
    kinds = sorted({file.suffix.lower() for file in files})
    if not files:
        raise DataError(f"the folder {folder} holds no images ({' '.join(_SLICES)})")
    if len({kind.replace("tiff", "tif") for kind in kinds}) > 1:
        raise DataError(f"the folder {folder} mixes {' and '.join(kinds)} files; keep one kind in it")
    rasters: list[Raster] = []
    done: set[Path] = set()
    stack: np.ndarray | None = None  # of slices that are too many for the memory
    for file in files:
        if file.resolve() not in done:
            rasters.append(read(str(file)))
            done.update(other.resolve() for other in rasters[-1].files)
            array = rasters[-1].array
            if stack is None and is_large(array.nbytes * len(files)):
                stack = room((len(files), *array.shape), array.dtype)
            if stack is not None and (array.shape, array.dtype) == (stack.shape[1:], stack.dtype):
                stack[len(rasters) - 1] = array
                rasters[-1] = replace(rasters[-1], array=stack[len(rasters) - 1])
                let_go(stack)
    return rasters


def image_files(folder: Path) -> list[Path]:
    """What lies in a folder and has the ending of an image, in natural order; hidden files do not count."""
    files = (file for file in folder.iterdir() if not file.name.startswith("."))
    return sorted((file for file in files if file.name.lower().endswith(_ENDINGS)), key=natural_order)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key that compares runs of digits as numbers."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]


def _sidecar(path: Path) -> VoxelSize | None:
    """``voxel_size`` and ``voxel_unit`` of a JSON file of the same name."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    try:
        found = parse_json(beside.read_bytes())
        value, unit = float(found["voxel_size"]), unit_name(str(found["voxel_unit"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return VoxelSize(value, unit, f"sidecar {beside.name}") if unit and 0 < value < float("inf") else None
