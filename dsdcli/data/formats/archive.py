"""A zip archive that holds one image, with its header or sidecar."""

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from dsdcli.data.formats.limits import check_claim
from dsdcli.data.formats.raster import Raster
from dsdcli.errors import DataError, DsdError

_BESIDE = (".json", ".txt", ".csv", ".md", ".pdf", ".xml", ".html")


def read_zip(path: Path, read: Callable[[Path], Raster]) -> Raster:
    """Unpack an archive beside nothing of the user's, and have ``read`` read the one image in it.

    Raises:
        DataError: none or several, damaged, or larger than the memory.
    """
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="dsd-") as folder:
        members = [info for info in archive.infolist() if _counts(info)]
        images = [info for info in members if PurePosixPath(info.filename).suffix.lower() not in _BESIDE]
        headers = [info for info in images if info.filename.lower().endswith((".mhd", ".nhdr"))]
        chosen = headers if len(headers) == 1 else images
        if len(chosen) != 1:
            names = ", ".join(info.filename for info in images[:6])
            raise DataError(
                f"{path} holds {len(chosen)} files that could be images ({names or 'none'}); dsd reads an archive of "
                "one: unpack it, and name the file or the folder"
            )
        for info in members:
            check_claim((info.file_size,), 1, f"{path}:{info.filename}", info.compress_size)
            inside = Path(folder) / PurePosixPath(info.filename).name
            with archive.open(info) as packed, inside.open("wb") as plain:
                left = info.file_size
                while left and (block := packed.read(min(left, 2**22))):
                    plain.write(block)
                    left -= len(block)
        inside = Path(folder) / PurePosixPath(chosen[0].filename).name
        try:
            raster = read(inside)
        except DsdError as error:
            raise type(error)(str(error).replace(str(inside), f"{path}:{chosen[0].filename}")) from error
        remarks = tuple(remark.replace(str(inside), f"{path}:{chosen[0].filename}") for remark in raster.remarks)
        return replace(raster, remarks=remarks, files=())


def _counts(info: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(info.filename)
    return not info.is_dir() and not any(part.startswith((".", "__MACOSX")) for part in name.parts)
