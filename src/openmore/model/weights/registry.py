"""The weights we know by name: where they come from, how large they are, their licence and what they were trained on.

A file is found, in this order: shipped with the package, in the cache folder (OPENMORE_WEIGHTS or
~/.cache/openmore), or on the Hugging Face hub. Sizes and hashes are those their publishers state; three entries have
neither, for their files could not be had where this was written.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmore.errors import CheckpointError

PACKAGED = Path(__file__).parent / "files"


@dataclass(frozen=True)
class Entry:
    """One known set of weights."""

    name: str
    preset: str
    filename: str
    licence: str
    trained_on: str
    repo: str | None = None  # Hugging Face repository; None: shipped with the package
    size_bytes: int | None = None
    sha256: str | None = None  # None: not known, only that the file can be read is checked
    note: str = ""


REGISTRY: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "small",
            "small",
            "small.safetensors",
            "Apache-2.0",
            "the synthetic 4D world of openmore.data.synthetic, pools of 2,976 and 2,400 clips",
            size_bytes=17_887_538,
            sha256="ccdfe91247e2a03417e5f29fe19908b212384061debc2474481a920f8bde13d0",
            note="shipped with the package; docs/training_log.md says how it was trained and how good it is",
        ),
        Entry(
            "more-full",
            "more-full",
            "more_full.pt",
            "not stated by the authors; built on VGGT weights",
            "12 dynamic and static data sets named in the paper",
            repo="haikuoxin/more",
            size_bytes=5_677_547_294,
            sha256="8ac67b4870da62052a7529d9c71db200d943f9b061f71459c721665ca97454d0",
            note="unofficial mirror of the authors' shared folder",
        ),
        Entry(
            "more-stream",
            "more-stream",
            "more_stream.pt",
            "not stated by the authors; built on VGGT weights",
            "12 dynamic and static data sets named in the paper",
            repo="haikuoxin/more",
            size_bytes=5_677_555_805,
            sha256="7db3af5ec6b2a977e2fe24aa7789a713d26c607214fad1bfb1e70054bc358dac",
            note="unofficial mirror of the authors' shared folder",
        ),
        Entry(
            "vggt-1b",
            "vggt-1b",
            "model.safetensors",
            "CC BY-NC 4.0 (a commercial variant exists: facebook/VGGT-1B-Commercial)",
            "the VGGT training mixture",
            repo="facebook/VGGT-1B",
        ),
        Entry(
            "stream3r",
            "stream3r",
            "model.safetensors",
            "S-Lab License 1.0 (non-commercial)",
            "the STream3R training mixture",
            repo="yslan/STream3R",
        ),
        Entry(
            "streamvggt",
            "streamvggt",
            "checkpoints.pth",
            "CC BY-NC-SA 4.0 (non-commercial)",
            "distilled from VGGT-1B",
            repo="lch01/StreamVGGT",
        ),
    )
}


def find(name: str) -> Entry:
    """Look up a name. Raises CheckpointError with the nearest names there are."""
    if name in REGISTRY:
        return REGISTRY[name]
    near = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(REGISTRY)}"
    raise CheckpointError(f"no weights named {name!r} and no such file or folder: {hint} (openmore weights list)")


def cache_folder() -> Path:
    """Where downloaded weights are kept."""
    return Path(os.environ.get("OPENMORE_WEIGHTS") or Path.home() / ".cache" / "openmore")


def cached_file(entry: Entry) -> Path:
    """Where the entry's file is, or would be, in the cache folder."""
    return cache_folder() / entry.name / entry.filename


def local_file(entry: Entry) -> Path | None:
    """The entry's file on this machine, or None."""
    path = PACKAGED / entry.filename if entry.repo is None else cached_file(entry)
    return path if path.is_file() else None


def is_embedded(provenance: Mapping[str, object]) -> bool:
    """Whether loaded weights are the shipped `small`, byte for byte: the name alone may be a training run's."""
    return provenance.get("sha256") == REGISTRY["small"].sha256
