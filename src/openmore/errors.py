"""Errors that end with one clear line: what was given, what was expected, what to do.

Every class carries the exit code the command line uses (2 bad input or usage, 3 weights, 4 missing extra).
Anything that is not an `OpenMoReError` is a bug and keeps its traceback (exit code 1).
"""

from __future__ import annotations

import errno

USERS_TO_MEND = {  # what the system refuses, wherever it does, and what to do
    errno.EACCES: "give a place you have the rights to, or mend its rights",
    errno.EPERM: "give a place you have the rights to, or mend its rights",
    errno.EROFS: "give another place",
    errno.ENAMETOOLONG: "give a shorter one",
    errno.ENOSPC: "make room, or give another place",
    errno.EDQUOT: "make room, or give another place",
}


class OpenMoReError(Exception):
    """Base of every error a user can cause or mend."""

    exit_code = 2


class InputError(OpenMoReError):
    """A source, path or argument cannot be used."""


class DataError(OpenMoReError):
    """A dataset, scene folder or trajectory file is damaged or not what it claims to be."""


class ConfigError(OpenMoReError):
    """A setting is out of range or two settings contradict each other."""


class StreamError(OpenMoReError):
    """A streaming session was used out of order or received a frame it cannot take; its state is intact."""


class CheckpointError(OpenMoReError):
    """Weights are missing, damaged, unsafe, or belong to another architecture."""

    exit_code = 3


class MissingExtra(OpenMoReError):
    """An optional dependency is not installed; the message holds the exact pip command."""

    exit_code = 4

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'openmore[{extra}]'")
        self.package, self.extra, self.purpose = package, extra, purpose

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        """Survive the way from a worker process."""
        return type(self), (self.package, self.extra, self.purpose)


def refusal(error: OSError) -> str | None:
    """One line for what the system refuses and the user can mend (rights, room, a name); None for anything else."""
    advice = USERS_TO_MEND.get(error.errno or 0)
    return advice and f"{error.filename or 'the output'}: {error.strerror}: {advice}"
