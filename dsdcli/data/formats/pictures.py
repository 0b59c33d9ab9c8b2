"""The pictures of everyday: PNG, BMP, GIF, PNM."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dsdcli.data.formats.labels import grey_of_colours
from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.raster import Raster, plain_raster
from dsdcli.errors import DataError

_KINDS = ("PNG", "BMP", "GIF", "PPM", "PCX", "JPEG", "WEBP", "JPEG2000")  # others run programs, or are none of images
_LOSSY = ("JPEG", "WEBP", "JPEG2000")
HEADS = (b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"RIFF")  # of pictures that nothing else looks like


def read_picture(path: Path) -> Raster:
    """Read a picture, of a palette the indices; the frames of a moving GIF are a stack.

    Raises:
        DataError: damaged, coloured, or of a lossy format.
    """
    from PIL import UnidentifiedImageError

    name = str(path)
    try:
        with _opened(path) as picture:
            kind, software = picture.format, picture.info.get("Software")
            coded = picture.mode == "P"
            frames = getattr(picture, "n_frames", 1)
            if software == "dsd contact sheet":
                raise DataError(
                    f"{path} is a contact sheet, made for the eye; use the samples file (.tif, .h5) instead"
                )
            if kind in _LOSSY:
                raise DataError(f"{path} is a {kind} picture: lossy compression changes labels; save it as PNG or TIFF")
            if frames > 1 and kind != "GIF":
                raise DataError(f"{path} is a moving {kind} of {frames} frames; save them as a TIFF stack or a folder")
            channels = len(picture.getbands())
            wide = {"I": 4, "F": 4, "I;16": 2}.get(picture.mode, channels)
            check_claim((frames, picture.height, picture.width), wide, name, path.stat().st_size)
            array = _frames(picture, frames, name) if frames > 1 else np.asarray(picture)
    except UnidentifiedImageError as error:
        raise DataError(
            f"cannot tell what {path} is; dsd reads TIFF, HDF5, MATLAB, npy, npz, NRRD, MetaImage, NIfTI, Amira, VTK, "
            "Zarr, PNG, BMP, GIF, folders of slices, and raw voxels (with `shape=(Z, Y, X)` and `dtype`)"
        ) from error
    except (OSError, SyntaxError, ValueError, struct.error, OverflowError) as error:
        raise DataError(f"cannot read {path}: damaged picture ({error})") from error
    remarks: tuple[str, ...] = ()
    if coded:
        remarks = (f"{name} has a palette of colours; labels are the stored numbers, whatever colours a viewer shows",)
    if frames > 1:
        remarks += (f"{name} moves: its {frames} frames are read as a stack",)
    if array.ndim - (frames > 1) == 3:
        array, more = grey_of_colours(array, name)
        remarks += more
    return plain_raster(array, name, remarks=remarks)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The picture, of whatever size: mosaics of electron micrographs exceed what PIL takes for an attack."""
    from PIL import GifImagePlugin
    from PIL import Image as Pictures

    most, strategy = Pictures.MAX_IMAGE_PIXELS, GifImagePlugin.LOADING_STRATEGY
    Pictures.MAX_IMAGE_PIXELS = None
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
    try:
        with Pictures.open(path, formats=_KINDS) as picture:
            yield picture
    finally:
        Pictures.MAX_IMAGE_PIXELS, GifImagePlugin.LOADING_STRATEGY = most, strategy


def _frames(picture: Any, frames: int, name: str) -> np.ndarray:
    """Every frame as it is shown: (frames, Y, X), or with colours last."""
    found, size = [], picture.size
    for number in range(frames):
        picture.seek(number)
        if picture.size != size:
            raise DataError(f"{name} is damaged: frame {number} is of another size than the first")
        found.append(np.asarray(picture))
    if len({frame.shape for frame in found}) > 1:
        raise DataError(f"{name} is a moving picture whose frames have palettes of their own; save them as PNG slices")
    return np.stack(found)
