"""How a command ends when somebody else ends it: Ctrl-C, SIGTERM, SIGHUP, or nobody reading its output any more.

Choices
- A signal becomes `Stopped`, a KeyboardInterrupt: whatever cleans up after Ctrl-C cleans up after a service manager or
  a scheduler too. A second signal ends the process at once, should the cleaning hang.
- Exit codes are the shell's: 128 + the signal (130 Ctrl-C, 143 SIGTERM), and for a closed pipe 141, as `cat` has.
- The line after a stop is true of the verb: what is there already is named by the verb itself (`kept`), what a verb
  leaves however far it was stands in KEPT.
- It sits in the group's own `invoke`, because click answers KeyboardInterrupt and closed pipes in its own way above it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.core import TyperGroup

KEPT = {  # verb -> how to go on; the others write their output whole at the end
    "batch": "finished clips are kept, the same command goes on with the rest",
    "fusion": "what is finished is kept, the same command goes on",
    "evaluate": "predictions are kept, the same command goes on from them",
    "stream": "frames that were written are kept; before the first the same command starts again",
    "synth": "finished sequences are kept, --seed and --count make the rest",
    "train": "--resume goes on from the last checkpoint, if there is one",
    "weights": "the same command starts again, a download from where it was",
}
STARTS_AGAIN = "nothing half-written is left, the same command starts again"

CLOSED_PIPE = 128 + 13


class Stopped(KeyboardInterrupt):
    """A signal that asks to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = signal.Signals(number)


class Verbs(TyperGroup):
    """The group of all verbs; says how one ended."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """`--help` and `--version` are printed here."""
        with closed_pipe_is_quiet():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            with closed_pipe_is_quiet(), signals_stop():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            by = "the user" if number == signal.SIGINT else number.name
            verb = ctx.invoked_subcommand
            onwards = getattr(stop, "__notes__", None) or [KEPT.get(verb, STARTS_AGAIN)]
            print(f"openmore: {verb} was stopped by {by}: {onwards[0]}", file=sys.stderr)
            raise SystemExit(128 + number) from None


@contextmanager
def kept(outputs: Sequence[Path], onwards: str = "with --overwrite the same command starts again") -> Iterator[None]:
    """When the block is stopped, say that `outputs`, which may grow in it, are there, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if outputs:
            stop.add_note(f"{', '.join(map(str, outputs))} written and whole; {onwards}")
        raise


@contextmanager
def signals_stop() -> Iterator[None]:
    """Raise `Stopped` in the block when a signal asks to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}  # nohup ignores

    def stop(number: int, _frame: Any) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def closed_pipe_is_quiet() -> Iterator[None]:
    """End silently with 141 when the reader of stdout has gone."""
    try:
        try:
            yield
        finally:  # `--help` leaves by an exception
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_gone():  # another pipe, to a worker for one, is no way to end
            raise
        _send_stdout_nowhere()
        raise SystemExit(CLOSED_PIPE) from None
    except SystemExit as end:  # rich, which prints the help, has met the closed pipe and ends with 1
        raise SystemExit(CLOSED_PIPE if isinstance(end.__context__, BrokenPipeError) else end.code) from None


def _reader_has_gone() -> bool:
    """Whether nobody holds the other end of stdout."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows; no file behind stdout
        return False


def _send_stdout_nowhere() -> None:
    """Python flushes stdout once more at exit, and would complain there."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
