"""Parts of a job that are made apart, such as by the tasks of a batch system's array: their samples and names."""

from collections.abc import Mapping
from pathlib import Path

from dsdcli.errors import UsageError

Part = tuple[int, int]  # number, from 1 on, and of how many

# What batch systems tell the tasks of an array: number of the task, first, last, step.
_ARRAYS = {
    "SLURM": ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"),
    "SGE": ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
}
_COUNT = "SLURM_ARRAY_TASK_COUNT"
_UNCOUNTED = ("PBS_ARRAY_INDEX", "PBS_ARRAYID", "LSB_JOBINDEX")  # of systems that do not say how many tasks there are


def part_indices(part: Part, whole: int) -> range:
    """The samples of a part of a job of ``whole`` samples: ranges as equal as can be, which cover it in order.

    Raises:
        UsageError: there is no such part, or no sample in it.
    """
    number, of = part
    if not 1 <= number <= of:
        raise UsageError(f"`part={number}/{of}`: parts are numbered from 1 to how many there are, like 3/10")
    if of > whole:
        raise UsageError(f"`part={number}/{of}`: {whole} samples make no more than {whole} parts")
    return range(whole * (number - 1) // of, whole * number // of)


def part_name(out: Path, part: Part) -> Path:
    """Name of a part of what ``out`` would be: samples.h5 -> samples-0003-of-0010.h5."""
    return out.with_stem(f"{out.stem}-{part[0]:04d}-of-{part[1]:04d}")


def part_of_task(environment: Mapping[str, str]) -> tuple[Part | None, str]:
    """The part that falls to this task of an array, where a batch system says so, and what a user should know of that.

    An array of one task is none.

    Raises:
        UsageError: an array with gaps, or which begins late: its tasks are some of another.
    """
    for system, (task, *limits) in _ARRAYS.items():
        if not environment.get(task, "").isdigit():  # SGE says "undefined" outside of arrays
            continue
        try:
            first, last, step = (int(environment.get(name, "1" if "STEP" in name else "")) for name in limits)
            number, of = (int(environment[task]) - first) // step + 1, (last - first) // step + 1
        except (ValueError, ZeroDivisionError):
            return None, f"this is a task of an array ({system}), but not of how many; say which part with `part`"
        if of == 1:
            return None, ""
        if int(environment.get(_COUNT) or of) != of or first > 1:  # as when some tasks of an array are run again
            raise UsageError(
                f"the array of this task ({system}) does not count from 0 or 1 up without gaps; give `part`"
            )
        return (number, of), f"part {number} of {of}, as {task} says (`part=1/1` makes all)"
    for name in _UNCOUNTED:
        if environment.get(name, "0") not in ("", "0"):
            return None, f"{name} is {environment[name]}, but not of how many; say which part with `part`"
    return None, ""


def choose_part(
    part: Part | None, out: Path | None, seed: int | None, environment: Mapping[str, str]
) -> tuple[Part | None, Path | None, str]:
    """The part to make (None for all), its file, and what a user should know of that.

    Args:
        part: as it was asked for; None for the one that falls to this task of an array, if it is one.
        out: what the whole would be; by default samples.h5.

    Raises:
        UsageError: a part without a seed, or as `part_of_task`.
    """
    note = ""
    if part is None:
        part, note = part_of_task(environment)
    if part is None or part == (1, 1):
        return None, out, note
    if seed is None:
        raise UsageError(f"part {part[0]} of {part[1]}: the parts of a job share a seed; give `seed`, the same to all")
    return part, part_name(out or Path("samples.h5"), part), note
