"""Phases: the names behind the integer labels of a segmented image.

Inside the program an image holds *phase indices* (uint8, position in a tuple of phases); files hold *labels*, whatever
integers the user's segmentation gave.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from dsdcli.data.large import let_go, room, slabs
from dsdcli.errors import DataError, UsageError

MAX_LABELS = 16  # more different values than this look like grey levels (or numbered grains), not phases
MAX_PHASES = 255
_MOSTLY = 0.5  # an assumed porosity above this is doubted
IGNORED = 255  # the index of voxels that are left out: those of no phase


@dataclass(frozen=True)
class Phase:
    """A named phase; ``label`` is its value in the user's files."""

    name: str
    label: int


def to_json(phases: Sequence[Phase]) -> str:
    """The phases as a JSON list of objects, for an attribute or a file."""
    return json.dumps([asdict(phase) for phase in phases])


def from_json(text: str | bytes) -> tuple[Phase, ...]:
    """Inverse of `to_json`.

    Raises:
        DataError: the text is not such a list.
    """
    try:
        return tuple(Phase(str(entry["name"]), int(entry["label"])) for entry in json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DataError(f"the list of phases is damaged ({error})") from error


def find_phase(phases: Sequence[Phase], name: str) -> int:
    """Index of the phase called ``name``.

    Raises:
        UsageError: there is none; lists those that exist.
    """
    names = [phase.name for phase in phases]
    if name not in names:
        raise UsageError(f"there is no phase '{name}'; the phases are {', '.join(names)}")
    return names.index(name)


def relabel(phases: Sequence[Phase], named: Sequence[tuple[str, int]]) -> tuple[Phase, ...]:
    """The phases with the labels that (name, label) pairs give some of them.

    Raises:
        UsageError: no such phase, one named twice, or two with the same label.
    """
    given: dict[str, int] = {}
    for name, label in named:
        find_phase(phases, name)
        if name in given:
            raise UsageError(f"`phases` names '{name}' twice; here every phase has one label")
        given[name] = label
    changed = tuple(Phase(phase.name, given.get(phase.name, phase.label)) for phase in phases)
    if len({phase.label for phase in changed}) < len(changed):
        raise UsageError(
            f"two phases have the same label ({in_words(changed)}); give " + "`phases={'NAME': LABEL}` for each phase"
        )
    return changed


def in_words(phases: Sequence[Phase]) -> str:
    """``pore=0, grain=255``."""
    return ", ".join(f"{phase.name}={phase.label}" for phase in phases)


def count_labels(array: np.ndarray) -> dict[int, int]:
    """Voxels of each label that occurs in an integer array, by ascending label."""
    if array.dtype in (np.uint8, np.uint16):
        total = np.zeros(2 ** (8 * array.dtype.itemsize), np.int64)
        for rows in slabs(array):  # bincount copies its input to 64-bit integers
            total += np.bincount(array[rows].reshape(-1), minlength=total.size)
        found = np.flatnonzero(total)
        return {int(label): int(total[label]) for label in found}
    labels, counts = np.unique(array, return_counts=True)
    return {int(label): int(count) for label, count in zip(labels, counts, strict=True)}


def choose_phases(
    labels: Iterable[int], named: Sequence[tuple[str, int]] = (), pore: int | None = None
) -> tuple[tuple[Phase, ...], dict[int, int], list[str]]:
    """Decide which label is which phase.

    With ``named`` (name, label) pairs every label must be named; a name given twice merges its labels, and the first
    of them becomes the label of the phase. Without, the pore is ``pore`` or else the smallest label; the other one of
    two is called "solid", others "phase<label>". Phases are ordered by ascending label.

    Returns:
        phases, the phase index of every label, and remarks that the user should see.

    Raises:
        UsageError: a named label does not occur, is named twice, or a name is unusable.
        DataError: fewer than two phases, labels left without a name, or too many labels for a segmented image.
    """
    labels = sorted(labels)
    listed = ", ".join(map(str, labels[:MAX_LABELS])) + (", ..." if len(labels) > MAX_LABELS else "")
    named = list(named)
    for name, label in named:
        if not name or set(name) & set("=, \t\n"):
            raise UsageError(f"'{name}' cannot name a phase: leave out '=', commas and spaces")
        if label not in labels:
            raise UsageError(f"`phases={{{name!r}: {label}}}`: no voxel has the label {label}; the labels are {listed}")
    if pore is not None:
        if pore not in labels:
            raise UsageError(f"`pore={pore}`: no voxel has the label {pore}; the labels are {listed}")
        if any(name == "pore" for name, _ in named) and ("pore", pore) not in named:
            raise UsageError(f"`pore={pore}` and `phases` name different labels 'pore'; leave one out")
    if len(labels) > MAX_LABELS and not named:
        raise DataError(
            f"found {len(labels)} different values ({labels[0]} to {labels[-1]}): this looks like an unsegmented "
            f"greyscale image or numbered grains; segment it into phases first, or name every label with `phases`"
        )
    if len(labels) < 2:
        raise DataError(
            f"every voxel has the label {listed}: an image of one phase has no structure to learn; check the file"
        )
    remarks: list[str] = []
    if named:
        named = named if pore is None else [("pore", pore), *named]
    else:
        if pore is None:
            remarks.append(
                f"pore = label {labels[0]}, the smallest, by convention; if that is not so, say `pore=LABEL` "
                "or name every phase with `phases={'NAME': LABEL}`"
            )
        pore = labels[0] if pore is None else pore
        others = [label for label in labels if label != pore]
        named = [("pore", pore)] + [("solid" if len(others) == 1 else f"phase{label}", label) for label in others]
    owner: dict[int, str] = {}
    for name, label in named:
        if owner.setdefault(label, name) != name:
            raise UsageError(f"the label {label} is named twice: '{owner[label]}' and '{name}'")
    unnamed = [str(label) for label in labels if label not in owner]
    if unnamed:
        raise DataError(
            f"no name was given for the labels {', '.join(unnamed)}; name every label with `phases={{'NAME': LABEL}}` "
            "(repeat a name to merge labels)"
        )
    first_label: dict[str, int] = {}
    for name, label in named:
        first_label.setdefault(name, label)
    if len(first_label) < 2:
        raise DataError("all labels were given one name: an image of one phase has no structure to learn")
    if len(first_label) > MAX_PHASES:
        raise DataError(f"{len(first_label)} phases are too many; at most {MAX_PHASES} are possible")
    phases = tuple(sorted((Phase(name, label) for name, label in first_label.items()), key=lambda phase: phase.label))
    if "pore" not in first_label:
        remarks.append("no phase is called 'pore': wherever a porosity is asked for, use the names instead")
    index = {phase.name: position for position, phase in enumerate(phases)}
    return phases, {label: index[owner[label]] for label in labels}, remarks


def doubt_polarity(voxels: Mapping[int, int], pore: int) -> str | None:
    """What speaks against ``pore`` being the label of the pore, where it was only assumed; of two labels only.

    Args:
        voxels: how many each label has.
    """
    share = voxels[pore] / sum(voxels.values())
    other = next((label for label in voxels if label != pore), pore)
    if len(voxels) != 2 or (share <= _MOSTLY and set(voxels) != {0, 1}):
        return None
    doubt = f"with label {pore} as the pore the porosity is {share:.2f}, with label {other} it would be {1 - share:.2f}"
    if set(voxels) == {0, 1}:
        doubt += "; in arrays of true and false true (1) often means pore, as in porespy"
    return f"{doubt}: say `pore={other}` if that is right"


def to_indices(array: np.ndarray, index_of: dict[int, int]) -> np.ndarray:
    """Phase indices (uint8, same shape) of an array of labels; ``index_of`` must know every label that occurs."""
    labels = np.array(sorted(index_of), dtype=np.int64)
    indices = np.array([index_of[label] for label in labels.tolist()], dtype=np.uint8)
    table = None
    if array.dtype in (np.uint8, np.uint16):
        table = np.zeros(2 ** (8 * array.dtype.itemsize), np.uint8)
        table[labels] = indices
    found = room(array.shape)
    for rows in slabs(array):
        some = array[rows]
        found[rows] = indices[np.searchsorted(labels, some)] if table is None else table[some]
        let_go(found)
    return found


def label_dtype(phases: Sequence[Phase]) -> np.dtype:
    """The smallest integer type that holds every label."""
    labels = [phase.label for phase in phases]
    for dtype in (np.uint8, np.uint16, np.int16, np.int32, np.int64):
        if np.iinfo(dtype).min <= min(labels) and max(labels) <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise DataError(f"labels from {min(labels)} to {max(labels)} fit no integer type")


def to_labels(indices: np.ndarray, phases: Sequence[Phase]) -> np.ndarray:
    """Labels (smallest fitting integer type, same shape) of an array of phase indices."""
    return np.array([phase.label for phase in phases], dtype=label_dtype(phases))[indices]
