"""Which keys of a published file belong to us, per preset. Our attribute names are the published names, so a map only
lists what a file may carry beyond the network (`ignored`, never silently: `openmore weights inspect` shows them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from openmore.errors import CheckpointError

# Parts of published models that this network does not have.
IGNORED: dict[str, tuple[str, ...]] = {
    "vggt-1b": ("track_head.*",),
    "streamvggt": ("track_head.*",),
    "stream3r": (),
    "more-full": ("track_head.*",),
    "more-stream": ("track_head.*",),
}
SAME_KEYS = ("vggt-1b", "stream3r", "streamvggt")  # whose files cannot be told apart
Shapes = Mapping[str, tuple[int, ...]]


@dataclass
class KeyMatch:
    """How a file's keys compare with a network's."""

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # the network has it, the file does not
    unexpected: list[str] = field(default_factory=list)  # the file has it, nobody knows it
    ignored: list[str] = field(default_factory=list)  # the file has it, the preset knowingly leaves it
    reshaped: list[str] = field(default_factory=list)  # both have it, in different shapes

    @property
    def exact(self) -> bool:
        """Whether strict loading succeeds."""
        return not (self.missing or self.unexpected or self.reshaped)


def match_keys(network: Shapes, file: Shapes, preset: str | None) -> KeyMatch:
    """Compare names and shapes."""
    patterns = IGNORED.get(preset or "", ())
    result = KeyMatch(missing=sorted(set(network) - set(file)))
    for key, shape in file.items():
        if key not in network:
            known = any(fnmatch(key, pattern) for pattern in patterns)
            (result.ignored if known else result.unexpected).append(key)
        elif tuple(network[key]) != tuple(shape):
            result.reshaped.append(f"{key} (file {list(shape)}, network {list(network[key])})")
        else:
            result.matched.append(key)
    return result


def require_exact(match: KeyMatch, path: Path, preset: str | None) -> None:
    """Raise CheckpointError listing the keys unless the file fits the network."""
    if match.exact:
        return
    parts = [
        f"{len(keys)} {word}: {_some(keys)}"
        for word, keys in (
            ("missing", match.missing),
            ("unexpected", match.unexpected),
            ("of another shape", match.reshaped),
        )
        if keys
    ]
    raise CheckpointError(
        f"{path} does not fit {preset or 'its stored configuration'}: {'; '.join(parts)} "
        f"(openmore weights inspect {path} lists all)"
    )


def _some(keys: list[str], limit: int = 6) -> str:
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")


def guess_preset(file: Shapes) -> str:
    """The published preset a file's keys point to. VGGT, StreamVGGT and STream3R share their names: see load."""
    if "aggregator.additional_camera_token" in file:
        return "more-stream"
    return "more-full" if any(key.startswith("motion_head.") for key in file) else "vggt-1b"
