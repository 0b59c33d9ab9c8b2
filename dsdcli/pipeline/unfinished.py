"""Going on with a job that was killed: what it has made is kept beside its output until that is complete."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsdcli.data.journal import Journal, about_journal
from dsdcli.data.samples import is_samples, read_audit
from dsdcli.errors import UsageError
from dsdcli.moves import claim
from dsdcli.pipeline.output import SHEET, Written, unfinished, unfinished_walk
from dsdcli.pipeline.progress import Note
from dsdcli.pipeline.walks import WalkFile

# What decides the samples, by its name in an audit record.
_WORDS = {
    "job": "request",
    "model": "model",
    "size": "size",
    "boundary": "boundary",
    "seed": "seed",
    "sampler": "sampler",
    "class": "class",
    "guidance": "guidance",
    "steering": "steering",
    "targets": "targets",
    "slabs": "rows of the units of slabs",
    "device": "device",
    "versions": "version of dsd or PyTorch",
    "indices": "range of samples",
}


def identity(audit: dict[str, Any]) -> dict[str, Any]:
    """What decides the samples of a job, from its audit record, with or without entries: as JSON has it."""
    planes = (audit.get("planes") or {}).items()
    whole = [0, audit["job"]["samples"]]
    return {
        "job": audit["job"],
        "model": [audit["model"]["digest"], *(about["digest"] for _, about in planes)],
        **{name: audit[name] for name in ("size", "boundary", "seed", "sampler")},
        **{name: audit.get(name) for name in ("class", "guidance", "steering", "targets")},
        "slabs": (audit.get("slabs") or {}).get("unit"),
        "device": audit["device"].partition(":")[0],
        "versions": {name: audit["versions"][name] for name in ("dsd", "torch")},
        "indices": audit.get("indices", whole),
    }


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first thing in which the identities of two jobs differ, in words; nothing where they are equal."""
    for name, words in _WORDS.items():
        if ours[name] != theirs.get(name):
            long = name in ("job", "model", "steering", "targets")
            return words if long else f"{words} ({theirs.get(name)}, not {ours[name]})"
    return ""


def begun_seed(out: Path) -> int | None:
    """The seed of the job that is begun, or complete, at ``out``; None where there is none."""
    about = about_journal(unfinished(out))
    try:
        if about is not None:
            return int(about["job"]["seed"])
        audit = read_audit(out.with_suffix(".json")) if is_samples(out) else None
        return None if audit is None else int(audit["seed"])
    except (KeyError, TypeError, ValueError):
        return None


def complete(out: Path, ours: dict[str, Any]) -> Written | None:
    """The files of a job that is finished already; None where there are none.

    Raises:
        UsageError: they are those of another job.
    """
    record = out.with_suffix(".json")
    audit = read_audit(record) if is_samples(out) else None
    if audit is None:
        return None
    try:
        other = difference(ours, identity(audit))
    except (KeyError, TypeError, AttributeError):
        other = "record"
    if not other and audit.get("samples_file") == out.name:
        with claim(unfinished(out)) as held:
            if held:  # it was begun once more, or killed just before this was removed
                _remove(out)
        return Written(out, out.with_suffix(SHEET), record, audit)
    if about_journal(unfinished(out)) is not None:
        return None  # what is there is about to be replaced
    raise UsageError(
        f"{out} is complete, of another job, by its {other or 'file'}; without `resume=True` it is replaced"
    )


@contextlib.contextmanager
def begin(out: Path, ours: dict[str, Any], resume: bool, note: Note) -> Iterator[tuple[Journal, WalkFile]]:
    """The samples of a job so far, and where to keep the walk that is under way, both beside ``out`` if the block does
    not end well, and removed if it does.

    Raises:
        UsageError: there is an unfinished job, and ``resume`` is not said, or it is another one, or still at work.
    """
    path, walk, indices = unfinished(out), WalkFile(unfinished_walk(out), note), range(*ours["indices"])
    with claim(path) as held:
        if not held:
            raise UsageError(f"another dsd is at work on {path}; wait until it ends, or choose another name")
        with _open(path, walk.path, ours, indices) as journal:
            have = f"{len(journal)} of {len(indices)} samples{' and a walk' if walk.path.exists() else ''}"
            if other := difference(ours, journal.job):
                raise UsageError(f"{path} has {have} of another job, by its {other}; delete it to begin anew")
            if _worth(journal, walk.path) and not resume:
                raise UsageError(f"{path} has {have} of a job that was cut; say `resume=True` to go on, or delete it")
            if len(journal):
                note(f"going on with {path}: {have} are there")
            try:
                yield journal, walk
            except BaseException:
                if _worth(journal, walk.path):
                    note(f"what was made is kept in {path}; the same command with `resume=True` goes on from there")
                else:
                    _remove(out)
                raise
        _remove(out)


def _worth(journal: Journal, walk: Path) -> bool:
    """Whether something was made that is worth keeping."""
    return len(journal) > 0 or walk.exists()


def _remove(out: Path) -> None:
    """Remove what a job has kept, last that which says whose it is."""
    unfinished_walk(out).unlink(missing_ok=True)
    unfinished(out).unlink(missing_ok=True)


def _open(path: Path, walk: Path, ours: dict[str, Any], indices: range) -> Journal:
    """What a job has kept; a new file where that is nothing yet."""
    if path.exists():
        journal = Journal(path)
        if _worth(journal, walk):
            return journal
        journal.close()
    walk.unlink(missing_ok=True)  # of a job that was deleted
    return Journal.create(path, ours, indices, ours["size"])
