"""Tasks for the tests, importable by worker processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from openmore.errors import DataError, MissingExtra
from openmore.scale.manifest import Item
from openmore.scale.work import Runner


def obedient(greeting: str = "hello") -> Runner:
    """Does what the source says: ok, corrupt, bug, kill, die-once:FILE, sleep."""

    def run(item: Item, folder: Path) -> None:
        (folder / "begun.txt").write_text(item.id)
        word, _, rest = item.source.partition(":")
        if word == "corrupt":
            raise DataError(f"{item.id} is damaged:\nsecond line")
        if word == "bug":
            raise ZeroDivisionError("oops")
        if word == "kill" or (word == "die-once" and not Path(rest).exists()):
            if rest:
                Path(rest).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "sleep":
            time.sleep(60)
        (folder / "result.txt").write_text(f"{greeting} {item.id}")

    return run


def unavailable() -> Runner:
    """Cannot be set up."""
    raise MissingExtra("nothing", "masks", "this task")
