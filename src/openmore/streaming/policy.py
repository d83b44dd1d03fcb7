"""What a stream remembers: pure functions from the frames held to the frames kept.

A policy is asked once after each frame and says which frames stay whole and which keep only their camera and register
tokens ("specials"). It sees frame numbers, never tensors.

Semantics of `n` everywhere: PAST frames kept, the current one excluded (docs/streaming.md). The first `anchors`
frames are never dropped: frame 0 defines the world.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from openmore.checks import finite, require, shown, whole
from openmore.errors import ConfigError

DEFAULT_WINDOW = 16  # past frames


class Kept(NamedTuple):
    """Frame numbers in ascending order."""

    whole: tuple[int, ...]
    specials: tuple[int, ...] = ()  # frames of which only camera and register tokens are left


@runtime_checkable
class Policy(Protocol):
    """Decides what stays in the cache."""

    def after(self, held: Kept) -> Kept:
        """What to keep once the newest frame, `held.whole[-1]`, has been processed."""
        ...

    def most(self) -> tuple[int, int] | None:
        """Largest number of (whole frames, specials) ever held, the current frame included; None: unbounded."""
        ...


def _require_positive(**values: int) -> None:
    require(values, {name: whole(0 if name == "anchors" else 1) for name in values})


def _recent(whole: tuple[int, ...], n: int, anchors: int) -> tuple[int, ...]:
    """The anchors and the last `n` frames, ascending, without duplicates."""
    return tuple(sorted({*(i for i in whole if i < anchors), *whole[-n:]}))


@dataclass(frozen=True)
class KeepAll:
    """Remember everything: exact grouped causal attention, memory grows with the clip."""

    def after(self, held: Kept) -> Kept:
        return held

    def most(self) -> None:
        return None


@dataclass(frozen=True)
class Window:
    """The last `n` frames and the first `anchors` ones: constant memory and latency."""

    n: int
    anchors: int = 1

    def __post_init__(self) -> None:
        _require_positive(window=self.n, anchors=self.anchors)

    def after(self, held: Kept) -> Kept:
        return Kept(_recent(held.whole, self.n, self.anchors))

    def most(self) -> tuple[int, int]:
        return self.n + self.anchors + 1, 0


@dataclass(frozen=True)
class Specials:
    """The last `n` frames whole; of up to `old` earlier ones only the camera and register tokens."""

    n: int
    anchors: int = 1
    old: int = 64

    def __post_init__(self) -> None:
        _require_positive(window=self.n, anchors=self.anchors, old=self.old)

    def after(self, held: Kept) -> Kept:
        whole = _recent(held.whole, self.n, self.anchors)
        demoted = (*held.specials, *(i for i in held.whole if i not in set(whole)))
        return Kept(whole, tuple(sorted(demoted))[-self.old :])

    def most(self) -> tuple[int, int]:
        # While a frame is being demoted its specials are held beside the others.
        return self.n + self.anchors + 1, self.old


@dataclass(frozen=True)
class KeyframeEvery:
    """Every frame looks at the cache, only each `k`-th one stays in it; the last `n` of those are kept."""

    k: int
    n: int
    anchors: int = 1

    def __post_init__(self) -> None:
        _require_positive(keyframe_every=self.k, window=self.n, anchors=self.anchors)

    def after(self, held: Kept) -> Kept:
        keyframes = tuple(i for i in held.whole if i % self.k == 0 or i < self.anchors)
        return Kept(_recent(keyframes, self.n, self.anchors))

    def most(self) -> tuple[int, int]:
        return self.n + self.anchors + 1, 0


@dataclass(frozen=True)
class Budget:
    """As many recent frames as fit in `mb` megabytes of cache, the current frame included.

    `resolve` turns it into a Window once the size of a frame is known.
    """

    mb: float
    anchors: int = 1

    def __post_init__(self) -> None:
        _require_positive(anchors=self.anchors)
        if not finite(0).fits(self.mb) or self.mb == 0:
            raise ConfigError(f"a cache budget of {shown(self.mb)} MB is not a size: give megabytes above 0")

    def resolve(self, frame_bytes: int) -> Window:
        """Raises ConfigError saying the minimum when anchors, one past frame and the current one do not fit."""
        frames = int(self.mb * 1e6 // frame_bytes)
        least = self.anchors + 2
        if frames < least:
            raise ConfigError(
                f"a cache budget of {self.mb:g} MB is too small: one frame takes {frame_bytes / 1e6:.2f} MB here and "
                f"{least} must fit; give at least {math.ceil(least * frame_bytes / 1e4) / 100:g} MB"
            )
        return Window(frames - self.anchors - 1, self.anchors)


def choose_policy(
    name: str = "window",
    *,
    window: int | None = None,
    anchors: int = 1,
    budget_mb: float | None = None,
    old: int = 64,
    every: int = 5,
) -> Policy | Budget:
    """A policy by name, as the command line and `reconstruct` give it; a budget sizes a window by memory instead.

    window: past frames kept, 16 unless given. old: earlier frames of which `specials` keeps the camera and register
    tokens. every: distance of the frames that `keyframes` keeps. Raises ConfigError.
    """
    _require_positive(old=old, every=every)
    if budget_mb is not None:
        if window is not None or name != "window":
            raise ConfigError("a cache budget chooses the window itself: give either a budget, or a window or policy")
        return Budget(budget_mb, anchors)
    if name == "all" and window is not None:
        raise ConfigError("policy all keeps every frame: leave out the window, or choose policy window")
    n = DEFAULT_WINDOW if window is None else window
    makers: dict[str, Callable[[], Policy]] = {
        "window": lambda: Window(n, anchors),
        "all": KeepAll,
        "specials": lambda: Specials(n, anchors, old),
        "keyframes": lambda: KeyframeEvery(every, n, anchors),
    }
    if not isinstance(name, str) or name not in makers:
        raise ConfigError(f"policy {shown(name)} is unknown: choose {', '.join(makers)}")
    return makers[name]()
