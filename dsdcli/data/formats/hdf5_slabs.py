"""HDF5 as the reading process sees it: one dataset of a file, slab by slab, and only from where it may come."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dsdcli.data.formats.deadline import Slabs, more_time
from dsdcli.data.formats.limits import check_claim
from dsdcli.data.voxel import sides
from dsdcli.errors import DataError, UsageError

_AT_ONCE = 2**23  # bytes of a slab, or one chunk if that is more
_ATTRIBUTES = ("axes", "voxel_size", "voxel_unit", "element_size_um", "phases", "MATLAB_class")


def slabs(path: Path, inner: str | None) -> Slabs:
    """Header (shape, dtype, attributes, remarks), then the voxels of the dataset ``inner`` or the only one that fits.

    Raises:
        UsageError: no such dataset.
        DataError: several to choose from (lists them), or voxels that are not in the file or its folder.
    """
    with h5py.File(path, "r", locking=False) as file:
        if file.attrs.get("format") == "dsd-dataset":
            raise DataError(f"{path} is already a dataset made by dsd ingest; use it as it is")
        stored = _find(file, path, inner) if inner is not None else _only(file, path)
        remarks = _check(stored, path)
        yield {
            "shape": stored.shape,
            "dtype": np.dtype(stored.dtype).str,
            "name": stored.name,
            "stored": _attributes(stored),
            "file": _attributes(file),
            "extra": _text(file, "extra"),
            "remarks": remarks,
        }
        row = max(1, stored.nbytes // max(1, len(stored)))
        rows = max(1, _AT_ONCE // row)
        if stored.chunks:
            rows = -(-rows // stored.chunks[0]) * stored.chunks[0]
        for start in range(0, len(stored), rows):
            more_time(rows * row)
            yield stored[start : start + rows]


def about(path: Path, inner: str | None) -> Slabs:
    """A header alone: the format that the file says it has, and whether it holds samples of this program."""
    with h5py.File(path, "r", locking=False) as file:
        samples = file.get("samples") if file.get("samples", getlink=True).__class__ is h5py.HardLink else None
        names: list[str] = []
        file.visit(names.append)  # walks all that opening the file for good will walk
        yield {
            "format": _plain(file.attrs.get("format")),
            "samples": isinstance(samples, h5py.Dataset) and "phases" in samples.attrs,
            "items": len(names),
        }


def _only(file: h5py.File, path: Path) -> h5py.Dataset:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    fits = [item for item in found if _fits(item)]
    own = [item for item in fits if item.name == "/samples" and "phases" in item.attrs]
    if len(own or fits) != 1:
        fix = f"say which one as {path}:/NAME" if fits else "dsd needs a numeric array of 2 or 3 dimensions"
        raise DataError(
            f"{path} holds {len(fits)} datasets that could be images; {fix}; found: {_listed(fits or found)}"
        )
    return (own or fits)[0]


def _find(file: h5py.File, path: Path, inner: str) -> h5py.Dataset:
    """Walk to ``inner`` link by link, since a link may lead out of the file."""
    item: Any = file
    for part in (part for part in inner.split("/") if part):
        named = isinstance(item, h5py.Group) and part in list(item)  # `part in item` would follow the link
        link = item.get(part, getlink=True) if named else None
        if link is None:
            item = None
            break
        if isinstance(link, h5py.ExternalLink):
            raise DataError(f"{path}:{inner} is a link to {link.filename}:{link.path}; name that file instead")
        item = item[part]
    if not isinstance(item, h5py.Dataset):
        found: list[h5py.Dataset] = []
        file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
        fits = [item for item in found if _fits(item)]
        raise UsageError(f"{path} has no dataset {inner}; it holds {_listed(fits or found) or 'no dataset at all'}")
    if item.shape is None or item.dtype.kind not in "biuf":
        raise DataError(f"{path}:{inner} holds no numbers in an array; dsd needs integer labels")
    return item


def _fits(item: h5py.Dataset) -> bool:
    hidden = item.name.startswith(("/#refs#", "/#subsystem#"))  # where MATLAB keeps its own
    shaped = item.shape is not None and sum(side > 1 for side in item.shape) in (2, 3, 4)
    return shaped and not hidden and item.dtype.kind in "biuf"


def _listed(found: list[h5py.Dataset]) -> str:
    shown = (f"{item.name} ({sides(item.shape or ())} {item.dtype})" for item in found[:16])
    return ", ".join(shown) or "nothing"


def _check(stored: h5py.Dataset, path: Path) -> list[str]:
    """See where the voxels come from and whether they are there; remarks."""
    elsewhere = [name for name, *_ in stored.external or ()]
    if stored.is_virtual:
        elsewhere += [source.file_name for source in stored.virtual_sources() if source.file_name != "."]
    name = f"{path}:{stored.name}"
    for other in dict.fromkeys(elsewhere):
        whole = (path.parent / other).resolve()
        if whole.parent != path.parent.resolve():
            raise DataError(f"{name} takes its voxels from {other}, outside its folder, which is not followed")
        if not whole.is_file():
            raise DataError(f"{name} takes its voxels from {other}, which is not there; put it beside {path.name}")
        if stored.is_virtual and whole != path.resolve():
            _check_source(stored, other, whole, name)
    if elsewhere or stored.is_virtual:
        check_claim(stored.shape, stored.dtype.itemsize, name, spills=True)
        return []
    size = stored.id.get_storage_size()
    if stored.size and not size:
        raise DataError(f"{name} claims {sides(stored.shape)} voxels, but none were ever written")
    check_claim(stored.shape, stored.dtype.itemsize, name, size, spills=True)
    if stored.chunks:
        check_claim(stored.chunks, stored.dtype.itemsize, f"a chunk of {name}")
        chunks = int(np.prod([-(-side // chunk) for side, chunk in zip(stored.shape, stored.chunks, strict=True)]))
        if (written := stored.id.get_num_chunks()) < chunks:
            return [f"{name}: only {written} of {chunks} blocks were written; the others read as {stored.fillvalue}"]
    return []


def _check_source(stored: h5py.Dataset, other: str, whole: Path, name: str) -> None:
    """A source of a virtual set holds its voxels itself."""
    with h5py.File(whole, "r", locking=False) as file:
        for source in stored.virtual_sources():
            if source.file_name == other:
                held = file.get(source.dset_name)
                if not isinstance(held, h5py.Dataset):
                    raise DataError(f"{name} takes its voxels from {other}:{source.dset_name}, which is not there")
                if held.is_virtual or held.external:
                    raise DataError(f"{name} takes its voxels from {other}, which has them from elsewhere again")


def _attributes(item: h5py.File | h5py.Dataset) -> dict[str, Any]:
    return {key: _plain(item.attrs[key]) for key in _ATTRIBUTES if key in item.attrs}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str | int | float | list) else None


def _text(file: h5py.File, name: str) -> str | None:
    """A string dataset of the file itself."""
    item = file.get(name) if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(item, h5py.Dataset) or item.shape != () or h5py.check_string_dtype(item.dtype) is None:
        return None
    return item[()].decode()
