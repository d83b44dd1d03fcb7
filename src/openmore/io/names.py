"""Names that become file names: letters of every script stay, what file systems and shells stumble over goes.

Choices
- Composed (NFC): two spellings that look the same are one name on some disks.
"""

from __future__ import annotations

import re
import unicodedata

PUNCTUATION = "._-"


def is_plain(character: str) -> bool:
    """A letter, digit or mark (the vowel signs of many scripts) of any script, or PUNCTUATION."""
    return character.isalnum() or character in PUNCTUATION or unicodedata.category(character).startswith("M")


def composed(name: str) -> str:
    """The name in NFC."""
    return unicodedata.normalize("NFC", name)


def plain_name(name: str, filler: str) -> str:
    """The composed name with one `filler` for each run of characters that are not plain; may be empty."""
    return re.sub(" +", filler, "".join(c if is_plain(c) else " " for c in composed(name)))
