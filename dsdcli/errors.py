"""Errors that end a command with one clear line and a fixed exit code."""


class DsdError(Exception):
    """What went wrong, why, and the fix, in one line. ``exit_code`` is what the shell sees."""

    exit_code = 1


class UsageError(DsdError):
    """The command's words contradict each other or name something that does not exist."""

    exit_code = 2


class GateFailed(DsdError):
    """A quality gate asked for on the command line was not met."""

    exit_code = 3


class DataError(DsdError):
    """A file's content cannot be used."""

    exit_code = 4
