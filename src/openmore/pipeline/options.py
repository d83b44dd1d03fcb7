"""What can be chosen about a reconstruction; what contradicts itself is refused before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from openmore.checks import FLAG, one_of, optional, require, whole
from openmore.errors import ConfigError
from openmore.flow.registry import require_name
from openmore.io.intrinsics import parse_intrinsics
from openmore.io.selection import Position, Selection
from openmore.streaming.policy import Budget, Policy, choose_policy

# The rest is checked by what it is made for: Selection, the policy, the flow, the intrinsics.
_EXPECTED = {
    "mode": one_of("full", "stream"),
    "long_side": optional(whole(1)),
    "points": FLAG,
    "refine": one_of("auto", "none", "attention", "geometry"),
    "fusion": one_of("auto", "none"),
    "global_pass": FLAG,
}


@dataclass
class Options:
    """Everything that can be chosen about a reconstruction. Units: pixels, frames; positions as in io.selection."""

    mode: Literal["full", "stream"] = "full"
    fps: float | None = None  # sample the source at this rate
    stride: int = 1
    start: Position | None = None  # frame number (120, "120") or time (4.0, "4s", "1:30")
    end: Position | None = None  # exclusive
    max_frames: int | None = None
    long_side: int | None = None  # default: what the weights were trained at
    points: bool = False  # also run the point head
    policy: str = "window"  # stream: what is remembered, see openmore.streaming.policy.choose_policy
    window: int | None = None  # stream: past frames kept, 16 unless given
    anchors: int = 1
    budget_mb: float | None = None  # stream: cache budget instead of a window
    # attention: cameras from the duplicate camera tokens. geometry: solved from matches, with the network's depth as a
    # prior. auto: geometry for the embedded weights, whose own cameras are weak, over a whole clip; else none.
    refine: Literal["auto", "none", "attention", "geometry"] = "auto"
    flow: str = "dis"  # of geometry's dense depth and motion, see openmore.flow.get_flow
    # Depth and motion settled by the fusion network. auto: for the embedded weights, whose depth it was trained on.
    fusion: Literal["auto", "none"] = "auto"
    global_pass: bool = False  # stream with geometry: also solve the whole clip at the end, as full does
    # Known intrinsics: "fx,fy,cx,cy", a file, numbers or K [3, 3], in pixels of the source. Taken as true by geometry.
    intrinsics: Any = None

    def __post_init__(self) -> None:
        require(vars(self), _EXPECTED)
        Selection(self.fps, self.stride, self.start, self.end, self.max_frames)
        self._check_memory()
        if self.intrinsics is not None:
            self.intrinsics = parse_intrinsics(self.intrinsics)
            if self.refine in ("none", "attention"):
                raise ConfigError(f"intrinsics were given with refine {self.refine!r}: only geometry can use them")
        require_name(self.flow)
        if self.global_pass and (self.mode, self.refine) != ("stream", "geometry"):
            raise ConfigError("global_pass ends a stream refined by geometry: give mode stream and refine geometry")

    def _check_memory(self) -> None:
        """A whole clip at once remembers everything: what limits a stream would silently do nothing."""
        self.memory()
        idle = {"policy": ("window", "all"), "window": (None,), "anchors": (1,), "budget_mb": (None,)}
        given = [name for name, values in idle.items() if getattr(self, name) not in values]
        if self.mode == "full" and given:
            raise ConfigError(
                f"{', '.join(given)} limits a stream's memory, mode is full: leave it out, or mode stream"
            )

    def memory(self) -> Policy | Budget:
        """The stream's memory. Raises ConfigError."""
        return choose_policy(self.policy, window=self.window, anchors=self.anchors, budget_mb=self.budget_mb)
