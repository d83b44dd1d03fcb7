"""The walk that gives every frame of a clip its dense depth and motion under solved cameras.

Choices
- Each frame is seen from its neighbours at OFFSETS, before and after, inside its shot; the same flow serves depth,
  motion and both frames of a pair. A window of frames is held, nothing grows with the clip.
- Frames are independent but for the flow they share, and are measured on several threads.
- Wider steps are left out once flow no longer holds between the frames: fast walks pay for what they use.
- A frame without parallax (fixed or turning camera) keeps the predicted depth and still gets its motion; a frame whose
  camera was not solved keeps both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from openmore.flow.base import FlowEstimator
from openmore.masks.decision import Rule
from openmore.masks.evidence import combine
from openmore.refinement.adjustment.shutter import Shutter
from openmore.refinement.dense import residual_motion
from openmore.refinement.dense.background import FEWEST, Background, is_fixed
from openmore.refinement.dense.cues import Cues, cues_of, looked_up
from openmore.refinement.dense.depth import DenseDepth, complete, confidence_of, guess, noise_of
from openmore.refinement.dense.flow_window import FlowWindow
from openmore.refinement.dense.smoothing import Edges, edges_of
from openmore.refinement.dense.triangulated import Sight, sight, triangulate
from openmore.threads import in_order

OFFSETS = (1, 2, 4, 8)
MOTION_OFFSETS = (1, 2)
FLOW_SIDE = 384  # pixels
AGAIN = (1,)  # steps; at 2 as well costs a third more and changes depth and masks by a hundredth
AGAIN_PX = 4.0  # median parallax above which flow is estimated once more with the known depth undone
LOST_FLOW = 0.2  # share of the pixels with flow below which wider steps are not tried
RIM = 9  # pixels
UNKNOWN_DEPTH = 0.5  # relative uncertainty of depth that was not measured


@dataclass(frozen=True)
class DenseFrame:
    """The answer for one frame, at the resolution of the predictions; None = keep the network's."""

    depth: np.ndarray | None  # [h, w] float32
    confidence: np.ndarray | None  # [h, w] float32, >= 1
    motion: np.ndarray | None  # [h, w] float32, 0..1
    triangulated: float  # share of the pixels
    residuals: np.ndarray | None = None  # [h, w] float16, motion before it was settled, where it was


class DenseWalk:
    """Frames of one clip. `picture(s)` is uint8 [H, W, 3] at most FLOW_SIDE wide; K [S, 3, 3] in its pixels;
    `depth(s)` the predicted depth [h, w]; `shot` [S] the shot's number, -1 where the camera was not solved.
    Flow is between the pictures as they are; where their `shutter` rolls, its ends are set upright. `cues`: whether
    anybody wants them. `screen`: what of the pictures is no part of the scene (`on_screen`)."""

    def __init__(
        self, picture: Callable[[int], np.ndarray], K: np.ndarray, world_from_cam: np.ndarray, shot: np.ndarray,
        depth: Callable[[int], np.ndarray], flow: FlowEstimator, shutter: Shutter | None = None, cues: bool = True,
        screen: np.ndarray | None = None,
    ):  # fmt: skip
        self.window, self.cues = FlowWindow(picture, K, world_from_cam, flow, screen), cues
        self.shot, self.depth, self.rule = shot, depth, Rule()
        self.shutter = shutter if shutter is not None and shutter.rolls else None
        self._picture = picture
        self._backgrounds: dict[int, Background | None] = {}
        self._lock = threading.Lock()  # of the backgrounds

    def __iter__(self) -> Iterator[tuple[DenseFrame, Cues | None]]:
        """Frame by frame; cues where there is something to settle."""
        for s, frame in enumerate(in_order(self._measured, range(len(self.shot)))):
            yield frame
            self.window.forget(s + 1 - max(OFFSETS))

    def _measured(self, s: int) -> tuple[DenseFrame, Cues | None]:
        return self.frame(s) if self.shot[s] >= 0 else (DenseFrame(None, None, None, 0.0), None)

    def frame(self, s: int) -> tuple[DenseFrame, Cues | None]:
        """Depth and motion of frame s, and all that was measured of it: None where nobody wants it, and before a
        background to be trusted."""
        predicted = self.depth(s)
        grid = _Grid(predicted.shape, self.window.picture(s).shape[:2])
        image = grid.small(self.window.picture(s))
        edges = edges_of(image)
        sights = self._sights(s, grid)
        found = triangulate([x for _, x in sights], grid.shape)
        dense = complete(found, edges, predicted=predicted)
        if dense is not None:
            wide = [o for o, x in sights if abs(o - s) in AGAIN and parallax(x, dense) > AGAIN_PX]
            if wide:
                start = guess(dense)
                sights = sights + [(o, self._again(s, o, grid, start)) for o in wide]
                found = triangulate([x for _, x in sights], grid.shape)
                dense = complete(found, edges, predicted=predicted) or dense
        moving = self._motion(s, grid, image, edges, sights, dense, predicted, noise_of(found))
        motion = None if moving is None else moving.probability
        if dense is not None and motion is not None and (motion > residual_motion.MOVING).any():
            dense = complete(found, edges, 1 - spread(motion), predicted) or dense
        answer = DenseFrame(None, None, motion, 0.0)
        if dense is not None:
            answer = DenseFrame(1 / dense.inverse, confidence_of(dense), motion, float(dense.triangulated.mean()))
        background = self._background(int(self.shot[s]), grid)
        if not self.cues or (background is not None and background.trusted):
            return answer, None
        rays = grid.rays(self.window.K[s])
        inverse = 1 / np.maximum(predicted, 1e-6) if dense is None else dense.inverse
        K, upright = grid.K(self.window.K[s]), self.shutter is None
        beside = looked_up(image, lambda o: self._neighbour(s, s + o, grid), K, inverse, upright)
        return answer, cues_of(image, rays, [x for _, x in sights], found, dense, predicted, moving, beside)

    def _neighbour(self, s: int, other: int, grid: _Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Picture and K of another frame of the shot, pixels of the grid, and how its camera lies to that of s."""
        if not 0 <= other < len(self.shot) or self.shot[other] != self.shot[s]:
            return None
        return grid.small(self.window.picture(other)), grid.K(self.window.K[other]), self.window.b_from_a(s, other)

    def _sights(self, s: int, grid: _Grid) -> list[tuple[int, Sight]]:
        found = []
        for sign in (1, -1):
            for step in OFFSETS:
                other = s + sign * step
                if not 0 <= other < len(self.shot) or self.shot[other] != self.shot[s]:
                    break
                seen = self.window.seen(s, other)
                if seen is None or (seen[2] > 0.5).mean() < LOST_FLOW:
                    break
                found.append((other, self._sight(s, other, grid, grid.read(seen))))
        return found

    def _again(self, s: int, other: int, grid: _Grid, inverse: np.ndarray) -> Sight:
        """The sight of a neighbour, the motion that inverse depth [h, w] predicts undone before flow is estimated."""
        return self._sight(s, other, grid, grid.read(self.window.look_again(s, other, inverse)))

    def _sight(self, s: int, other: int, grid: _Grid, seen: np.ndarray) -> Sight:
        """`seen` [3, h, w]: where the grid's pixels were seen, and how surely."""
        K, turn = self.window.K, self.window.b_from_a(s, other)
        if self.shutter is None:
            return sight(K[s], K[other], turn, grid.u, grid.v, seen[:2], seen[2])
        at = np.stack((grid.u, grid.v))
        u, v = at - self.shutter.shift(s, at, K[s])
        return sight(K[s], K[other], turn, u, v, seen[:2], seen[2], self.shutter.shift(other, seen[:2], K[other]))

    def _motion(
        self, s: int, grid: _Grid, image: np.ndarray, edges: Edges, sights: Sequence[tuple[int, Sight]],
        dense: DenseDepth | None, predicted: np.ndarray, noise: float,
    ) -> residual_motion.Found | None:  # fmt: skip
        inverse = 1 / np.maximum(predicted, 1e-6) if dense is None else dense.inverse
        sigma = UNKNOWN_DEPTH * inverse if dense is None else dense.sigma
        floor = residual_motion.limit(noise * float(grid.per_pixel.mean()), grid.shape[1], self.rule)
        near, wide = [], []
        for other, x in sights:
            c, d = x.linear(inverse)
            seen = x.seen * grid.per_pixel
            # Where it was seen, less where it should be: minus the residual.
            expected = seen - (c + inverse * d) * grid.per_pixel
            told = np.concatenate((seen, np.isfinite(x.variance)[None])).astype(np.float32)
            along = d * sigma * grid.per_pixel
            if abs(other - s) in MOTION_OFFSETS:
                other_image = grid.small(self.window.picture(other))
                near.append(
                    residual_motion.evidence(other, expected, along, told, floor, image, other_image, self.rule)
                )
            else:
                wide.append(residual_motion.departure(expected, along, told, floor) / np.float32(floor))
        if not near:
            return None
        odds = residual_motion.log_odds(near)
        background = self._background(int(self.shot[s]), grid)
        if background is not None:
            odds = background.judge(odds, image)
        probability = residual_motion.probability(odds, edges)
        if background is None:
            probability = residual_motion.tidied(probability)
        nothing = np.full(grid.shape, np.nan, np.float32)
        return residual_motion.Found(probability, odds, combine(near), combine(wide) if wide else nothing)

    def _background(self, shot: int, grid: _Grid) -> Background | None:
        """That of a shot of a fixed camera; None when the camera moves or the shot is short."""
        with self._lock:
            if shot not in self._backgrounds:
                frames = np.flatnonzero(self.shot == shot)
                fixed = len(frames) >= FEWEST and is_fixed(self.window.world_from_cam[frames])
                made = Background(frames, lambda s: grid.small(self._picture(s))) if fixed else None
                self._backgrounds = {shot: made}
            return self._backgrounds[shot]


def spread(motion: np.ndarray) -> np.ndarray:
    """The largest motion [H, W] around each pixel: holes in a mover and its rim are no surface to measure either."""
    import cv2

    return cv2.dilate(motion, np.ones((RIM, RIM), np.uint8))


def parallax(x: Sight, dense: DenseDepth) -> float:
    """Median distance in pixels between where the pixels land and where those at infinity do."""
    return float(np.median(np.linalg.norm(x.linear(dense.inverse)[1], axis=0) * dense.inverse))


class _Grid:
    """The pixels of the predictions in the larger picture."""

    def __init__(self, shape: tuple[int, ...], picture: tuple[int, ...]):
        self.shape = int(shape[0]), int(shape[1])
        ratio = np.array([picture[1] / shape[1], picture[0] / shape[0]], np.float32)
        v, u = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)
        self.u, self.v = u * ratio[0], v * ratio[1]
        self.per_pixel = (1 / ratio)[:, None, None]  # pixels of the grid per pixel of the picture

    def rays(self, K: np.ndarray) -> np.ndarray:
        """[2, h, w] float32 x / z and y / z of what the pixels see; K of the larger picture."""
        return np.stack(((self.u - K[0, 2]) / K[0, 0], (self.v - K[1, 2]) / K[1, 1])).astype(np.float32)

    def K(self, K: np.ndarray) -> np.ndarray:
        """K [3, 3] of the larger picture in pixels of the grid."""
        return np.diag([*self.per_pixel.ravel(), 1.0]) @ K

    def small(self, image: np.ndarray) -> np.ndarray:
        import cv2

        if image.shape[:2] == self.shape:
            return image
        return cv2.resize(image, self.shape[::-1], interpolation=cv2.INTER_AREA)

    def read(self, fields: np.ndarray) -> np.ndarray:
        """Fields [C, H, W] of the larger picture at the grid's pixels."""
        import cv2

        return np.stack([cv2.remap(f, self.u, self.v, cv2.INTER_LINEAR) for f in fields])
