"""The `openmore` command: one verb per file, one line per user error.

Verb modules import nothing heavy at module level: `openmore --help` must not import torch.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from importlib import import_module

import typer

from openmore.cli.endings import Verbs
from openmore.errors import InputError, OpenMoReError, refusal

VERBS = (
    # one module of openmore.cli each, in the order `--help` shows; each has a `register(app)`
    "reconstruct",
    "stream",
    "view",
    "export",
    "masks",
    "batch",
    "attention",
    "evaluate",
    "data",
    "train",
    "fusion",
    "synth",
    "bench",
    "weights",
    "doctor",
)

app = typer.Typer(
    name="openmore",
    cls=Verbs,
    help="Video in; cameras, depth, points and moving-object masks out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def print_version(wanted: bool) -> None:
    """Answer --version before a verb is asked for."""
    if wanted:
        from openmore import __version__

        print(f"openmore {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of user errors too."),
    version: bool = typer.Option(
        False, "--version", callback=print_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Options before the verb."""


for _verb in VERBS:
    import_module(f"openmore.cli.{_verb}").register(app)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0 fine, 1 bug (traceback), 2 bad input, 3 weights, 4 missing extra.

    What is ended from outside has the shell's codes, see `cli.endings`.
    """
    args = sys.argv[1:] if argv is None else argv
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # a download that fails is one line, not a line per attempt
    try:
        app(args=args, standalone_mode=True)
    except OpenMoReError as error:
        if "--debug" in args:
            traceback.print_exc()
        print(f"openmore: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (OSError, MemoryError, RuntimeError) as error:
        if (line := refused_by_the_system(error)) is None:
            raise
        if "--debug" in args:
            traceback.print_exc()
        print(f"openmore: {line}", file=sys.stderr)
        sys.exit(InputError.exit_code)


def refused_by_the_system(error: Exception) -> str | None:
    """One line for an error that is no bug but rights, space or memory that are not there; else None."""
    if isinstance(error, OSError):
        return refusal(error)
    # torch says so in a RuntimeError, of CPU and GPU
    if isinstance(error, MemoryError) or re.search("allocate memory|out of memory", str(error)):
        what = next(iter(str(error).splitlines()), "")
        return f"there is not enough memory ({what}): give fewer frames or smaller pictures"
    return None


if __name__ == "__main__":
    main()
