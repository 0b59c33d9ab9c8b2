"""Errors that end a command with one clear line and a fixed exit code.

Messages name the parameters of the library in backticks, like `holdout=0.2`; the command shows them as its options.
"""


class DsdError(Exception):
    """What went wrong, why, and the fix, in one line. ``exit_code`` is what the shell sees."""

    exit_code = 1


class UsageError(DsdError, ValueError):
    """What was asked for contradicts itself or names something that does not exist."""

    exit_code = 2


class GateFailed(DsdError):
    """A quality gate that was asked for was not met."""

    exit_code = 3


class DataError(DsdError):
    """A file's content cannot be used."""

    exit_code = 4


class ToldElsewhere(DsdError):
    """Another process that works on the same thing has failed, says why, and ends with ``exit_code``."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another rank failed")
        self.exit_code = exit_code
