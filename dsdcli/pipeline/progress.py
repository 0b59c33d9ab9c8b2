"""What a pipeline tells while it works, to whoever wants to hear it; by default nobody."""

from collections.abc import Callable

Note = Callable[[str], object]  # a line for the user: what was picked or assumed
Progress = Callable[[float, float | None, str], object]  # done, of how much (None: nobody knows), what was done last


def silent(line: str) -> None:
    """A `Note` that nobody hears."""


def unseen(done: float, total: float | None, what: str) -> None:
    """A `Progress` that nobody sees."""
