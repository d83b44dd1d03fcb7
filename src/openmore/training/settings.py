"""Nested dataclasses as configuration: dotted overrides, JSON there and back.

`apply(config, ["optim.lr=1e-4", "data.frames=2,8"])` returns a changed copy. Values are read by the field's type:
numbers, true/false, none, words, and comma lists for tuples. Every mistake names the setting and what it takes.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from openmore.errors import ConfigError

T = TypeVar("T")


def apply(config: T, assignments: Iterable[str]) -> T:
    """A copy with `a.b=value` assignments made in order. Raises ConfigError naming the first that cannot be."""
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f"cannot read setting {assignment!r}: write it as name=value, for example optim.lr=1e-4")
        config = _assign(config, path.strip().split("."), text.strip(), path.strip())
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """JSON-ready nested dictionary."""
    return asdict(config)


def from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """Inverse of `to_dict`. Raises ConfigError for settings this version does not know."""
    hints = get_type_hints(kind)
    if unknown := set(values) - set(hints):
        raise ConfigError(f"unknown settings {sorted(unknown)} for {kind.__name__}: written by another version?")
    return kind(**{name: _restore(hints[name], value) for name, value in values.items()})


def differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    """`name: old -> new` for every leaf in which two configurations of one kind differ."""
    found = []
    for f in fields(a):
        old, new = getattr(a, f.name), getattr(b, f.name)
        if is_dataclass(old) and type(old) is type(new):
            found += differences(old, new, f"{prefix}{f.name}.")
        elif old != new:
            found.append(f"{prefix}{f.name}: {old} -> {new}")
    return found


def _assign(config: Any, path: list[str], text: str, full: str) -> Any:
    name, rest = path[0], path[1:]
    if not is_dataclass(config) or isinstance(config, type):
        raise ConfigError(f"no setting {full!r}: {'.'.join(full.split('.')[: -len(path)])} holds a plain value")
    names = [f.name for f in fields(config)]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
        raise ConfigError(f"no setting {full!r}: {hint}")
    current = getattr(config, name)
    if rest:
        value = _assign(current, rest, text, full)
    elif is_dataclass(current):
        inside = ", ".join(f"{full}.{f.name}" for f in fields(current))
        raise ConfigError(f"{full} is a group of settings: set one of {inside}")
    else:
        value = _read(get_type_hints(type(config))[name], text, full)
    try:
        return replace(config, **{name: value})
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{full}={text}: {error}") from error


def _read(hint: Any, text: str, name: str) -> Any:
    """Text -> value of the hinted type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if text.lower() in ("none", "null") and type(None) in arguments:
            return None
        return _read(next(a for a in arguments if a is not type(None)), text, name)
    if origin is Literal:
        if text not in arguments:
            raise ConfigError(f"{name}={text}: choose from {', '.join(map(str, arguments))}")
        return text
    if origin is tuple:
        return _read_tuple(arguments, [part.strip() for part in text.split(",") if part.strip()], name)
    return _read_plain(hint, text, name)


def _read_tuple(arguments: tuple[Any, ...], parts: list[str], name: str) -> tuple[Any, ...]:
    if arguments[-1] is Ellipsis:
        return tuple(_read(arguments[0], part, name) for part in parts)
    if len(parts) != len(arguments):
        raise ConfigError(f"{name} takes {len(arguments)} values separated by commas, got {len(parts)}")
    return tuple(_read(kind, part, name) for kind, part in zip(arguments, parts))


def _read_plain(hint: Any, text: str, name: str) -> Any:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        if hint is bool:
            return words[text.lower()]
        if hint is int:
            return int(float(text)) if float(text).is_integer() else int(text)
        return hint(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{name}={text}: expected {hint.__name__}") from error


def _restore(hint: Any, value: Any) -> Any:
    if isinstance(value, dict) and is_dataclass(hint):
        return from_dict(hint, value)  # type: ignore[type-var]
    if isinstance(value, list):
        inner = get_args(hint)[0] if get_args(hint) else None
        return tuple(_restore(inner, item) for item in value)
    return value
