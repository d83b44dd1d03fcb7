"""Checks of settings that people give: from notebooks, JSON and other programs any type may arrive.

Choices
- A table says what each name may hold; the first value that does not fit is a ConfigError, one line like all others.
- Text is never read as a number here ("3" is not 3: the command line converts), and True is no count.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from openmore.errors import ConfigError


@dataclass(frozen=True)
class Expected:
    """What a value may be; `words` completes "NAME is VALUE, expected ..."."""

    fits: Callable[[Any], bool]
    words: str


FLAG = Expected(lambda value: isinstance(value, bool), "True or False")


def whole(least: int) -> Expected:
    """An integer of at least `least`."""
    return Expected(
        lambda value: _is(value, Integral) and value >= least,
        f"a whole number, {'0 or more' if least == 0 else f'at least {least}'}",
    )


def finite(least: float, most: float = math.inf) -> Expected:
    """A finite number within both bounds."""
    words = f"a number of {least:g} or more" if math.isinf(most) else f"a number in {least:g}..{most:g}"
    return Expected(lambda value: _is(value, Real) and math.isfinite(value) and least <= value <= most, words)


def one_of(*names: str) -> Expected:
    """One of these words."""
    return Expected(lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}")


def optional(expected: Expected) -> Expected:
    """That, or None."""
    return Expected(lambda value: value is None or expected.fits(value), f"{expected.words}, or None")


def require(values: Mapping[str, Any], table: Mapping[str, Expected]) -> None:
    """Raise ConfigError for the first value of `table`'s names that is not what is expected."""
    for name, expected in table.items():
        if not expected.fits(values[name]):
            raise ConfigError(f"{name} is {shown(values[name])}, expected {expected.words}")


def require_known(given: Iterable[str], known: Collection[str], what: str) -> None:
    """Raise ConfigError for the first name that `what` does not take, with those that look like it."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(known)}"
            raise ConfigError(f"{what} takes no {name!r}: {hint}")


def named_values(words: Iterable[str], what: str, example: str) -> dict[str, Any]:
    """NAME=VALUE words as a dictionary; values are JSON where they can be, else text. Raises ConfigError.

    Messages call a word `what` and show `example`.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"{what} {word!r} is not NAME=VALUE, for example {example}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def shown(value: object) -> str:
    """A value for a message: on one line, and not longer than that."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
