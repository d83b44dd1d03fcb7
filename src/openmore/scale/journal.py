"""What a job leaves behind besides results: failures.jsonl and summary.json.

Choices
- A failure is written the moment it happens, one line per attempt, so a killed job has its failures on disk.
- Shards of a job write files of their own (failures.00003.jsonl): many machines cannot append to one safely.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from openmore.errors import InputError
from openmore.io.atomic import write_json
from openmore.scale.work import Outcome


@dataclass
class Summary:
    """How a job ended."""

    done: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)  # ids
    busy: list[str] = field(default_factory=list)  # ids that another job was making
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one item."""
        if outcome.status == "failed":
            self.failed.append(outcome.id)
        elif outcome.status == "busy":
            self.busy.append(outcome.id)
        elif outcome.status == "done":
            self.done += 1
        else:
            self.skipped += 1


class Journal:
    """Writes failures as they come and the summary at the end."""

    def __init__(self, out: Path, shard: int | None = None):
        suffix = "" if shard is None else f".{shard:05d}"
        self.failures, self.summary_file = out / f"failures{suffix}.jsonl", out / f"summary{suffix}.json"
        self.summary = Summary()

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; append it when it is a failure. Raises InputError when the disk is full."""
        self.summary.add(outcome)
        if outcome.status != "failed":
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = json.dumps({**asdict(outcome), "seconds": round(outcome.seconds, 2), "time": now}) + "\n"
        try:
            with open(self.failures, "a", encoding="utf-8") as handle:
                handle.write(line)
        except OSError as error:
            raise InputError(f"cannot write {self.failures}: {error.strerror or error}") from error

    def finish(self, seconds: float) -> Summary:
        """Write the summary."""
        self.summary.seconds = round(seconds, 2)
        write_json(self.summary_file, asdict(self.summary))
        return self.summary


def read_failures(out: Path) -> list[dict[str, object]]:
    """Every failure on record, of all shards and attempts."""
    lines: Iterable[str] = (line for path in sorted(out.glob("failures*.jsonl")) for line in path.open())
    return [json.loads(line) for line in lines]
