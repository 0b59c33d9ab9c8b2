"""What a command takes when no path is given: the newest file of its kind. What was picked is said."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dsdcli.data.dataset import Dataset
from dsdcli.data.samples import is_samples, read_audit
from dsdcli.data.writers import EXTENSIONS
from dsdcli.errors import DataError, UsageError
from dsdcli.moves import settle
from dsdcli.network.catalogue import CONFIG, MANIFEST, WEIGHTS, find_model
from dsdcli.pipeline.progress import Note


def newest_dataset(folder: Path = Path()) -> Path | None:
    """The dataset (``*.dsd.h5``) in ``folder`` that was written last."""
    return _newest(path for path in folder.glob("*.dsd.h5") if not path.name.startswith("."))


def default_dataset(note: Note) -> Path:
    """The newest dataset here, for those who name none.

    Raises:
        UsageError: there is none.
    """
    path = newest_dataset()
    if path is None:
        raise UsageError("no dataset (*.dsd.h5) in this folder; make one with: dsd ingest IMAGE")
    note(f"dataset: {path} (the newest here)")
    return path


def newest_samples(folder: Path = Path()) -> Path | None:
    """The samples file in ``folder`` that was written last; only files that `dsd generate` made count, not fillings."""

    def filled(path: Path) -> bool:
        return "filled_voxels" in (read_audit(path.with_suffix(".json")) or {})

    settle(folder)
    files = [path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")]
    files.sort(key=_age, reverse=True)
    return next((path for path in files if is_samples(path) and not filled(path)), None)


def newest_run(folder: Path = Path("runs"), trained: bool = False) -> Path | None:
    """The run in ``folder`` that was worked on last, of those that can be gone on with; with ``trained``, of the models
    there that have weights already. What a crash or a copy has left of others is passed over."""
    needed = WEIGHTS if trained else (MANIFEST,)
    runs = [
        path.parent
        for path in folder.glob(f"*/{CONFIG}")
        if _filled(path) and any(_filled(path.parent / name) for name in needed)
    ]
    return max(runs, key=lambda run: max(_age(path) for path in run.iterdir()), default=None)


def _filled(path: Path) -> bool:
    """Whether a file is there, and not the empty one that a crash of the machine leaves."""
    return path.is_file() and path.stat().st_size > 0


def choose_model(name: str | None) -> tuple[Path, str]:
    """The model a user names, or by default the newest run under ./runs, else berea-2d; and what to say of the choice.

    Raises:
        UsageError: there is no such model.
    """
    if name:
        return find_model(name), ""
    if path := newest_run(trained=True):
        return path, f"model: {path} (the newest run here)"
    return find_model("berea-2d"), "model: berea-2d (shipped; no run under ./runs)"


def recorded_dataset(record: Path, note: Note) -> str | None:
    """The dataset that an audit record names, None without a record that can be read."""
    try:
        return (read_audit(record) or {}).get("dataset")
    except DataError:
        note(f"note: cannot read the audit record {record}")
        return None


def of_class(dataset: Dataset, name: str | None, audit: Mapping[str, Any] | None, note: Note) -> Dataset:
    """The real images of a class: the one named, or that of the samples, if their record names one.

    Raises:
        UsageError: there is no such class.
    """
    if name is None and (made := (audit or {}).get("class")) in dataset.classes:
        name = made
        note(f"real: class {name}, as that of the samples")
    return dataset if name is None else dataset.of_class(name)


def _newest(paths: Iterable[Path]) -> Path | None:
    return max((path for path in paths if path.is_file()), key=_age, default=None)


def _age(path: Path) -> tuple[int, str]:
    """Sort key: time of the last change, then the name, so that ties are settled the same way everywhere."""
    return path.stat().st_mtime_ns, path.name
