"""The frames a sliding window holds, what they match, and which of them to keep.

Choices
- The newest view is always there; it stays as a keyframe if its matches have moved by `STEP` of the picture since the
  last one, or are few.
- Pairs name views by their place in the window, and are renamed when one is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from openmore.refinement.adjustment.bundle import Observations
from openmore.refinement.matching import tracks
from openmore.refinement.matching.features import Keypoints, detect, match
from openmore.refinement.matching.prior import Prior, moving_mask
from openmore.refinement.matching.twoview import Pair, verify
from openmore.types import FramePrediction

LOOK_BACK = 5  # keyframes each frame is matched with
STEP = 0.03  # median displacement that makes a keyframe, of the longer side
FEW_MATCHES = 60  # matches with the last keyframe up to which a frame is kept however little it moved
FEATURES = 1000
PER_CELL = 6  # tracks, see tracks.thin


@dataclass
class View:
    """A frame of the window."""

    keypoints: Keypoints
    unit: np.ndarray  # [M, 128]
    depth: np.ndarray  # [N], predicted, NaN = none
    weight: np.ndarray  # [N]
    network: np.ndarray  # [4, 4] world_from_cam as predicted
    pose: np.ndarray  # [4, 4] world_from_cam as solved so far
    solved: bool = False  # part of the map


@dataclass
class Keyframes:
    """Views, oldest first, and the verified pairs among them."""

    views: list[View] = field(default_factory=list)
    pairs: dict[tuple[int, int], Pair] = field(default_factory=dict)  # places in views

    def __len__(self) -> int:
        return len(self.views)

    def add(self, picture: np.ndarray, prediction: FramePrediction) -> None:
        """Take a frame [H, W, 3] uint8 and match it with the last ones; its pose follows the network so far."""
        self.views.append(self._view(picture, prediction))
        new = len(self.views) - 1
        view = self.views[new]
        for old in range(max(0, new - LOOK_BACK), new):
            other = self.views[old]
            pair = verify(old, new, other.keypoints.uv, view.keypoints.uv, match(other.unit, view.unit))
            if pair is not None:
                self.pairs[old, new] = pair

    def _view(self, picture: np.ndarray, prediction: FramePrediction) -> View:
        import cv2

        prior = Prior(prediction.depth, prediction.confidence, prediction.motion)
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        moving = moving_mask(prior, grey.shape)
        found = detect(grey, FEATURES, None if moving is None else ~moving)
        network = prediction.camera.world_from_cam
        pose = network.copy()
        if self.views:
            last = self.views[-1]
            pose = last.pose @ np.linalg.inv(last.network) @ network
        depth, weight = prior.depth_at(found.uv, grey.shape), prior.weight_at(found.uv, grey.shape)
        return View(found, found.unit(), depth, weight, network, pose)

    @property
    def keypoints(self) -> list[Keypoints]:
        return [view.keypoints for view in self.views]

    def pairs_of_newest(self) -> list[Pair]:
        """What the newest view matched."""
        return [pair for (_, b), pair in self.pairs.items() if b == len(self.views) - 1]

    def observations(self, shape: tuple[int, int]) -> Observations:
        """Tracks through the window."""
        depth, weight = [view.depth for view in self.views], [view.weight for view in self.views]
        return tracks.thin(tracks.link(self.keypoints, self.pairs.values(), depth, weight), PER_CELL, shape)

    def newest_adds_little(self, long_side: int) -> bool:
        """Whether the newest view sees what the one before it sees."""
        new = len(self.views) - 1
        pair = self.pairs.get((new - 1, new))
        if pair is None:
            return False
        a = self.views[new - 1].keypoints.uv[pair.index[:, 0]]
        b = self.views[new].keypoints.uv[pair.index[:, 1]]
        moved = float(np.median(np.linalg.norm(b - a, axis=1)))
        return moved < STEP * long_side and len(pair.index) > FEW_MATCHES

    def drop(self, place: int) -> None:
        """Forget a view."""
        del self.views[place]
        self.pairs = {
            (a - (a > place), b - (b > place)): replace(pair, a=a - (a > place), b=b - (b > place))
            for (a, b), pair in self.pairs.items()
            if place not in (a, b)
        }

    def keep_only_newest(self) -> None:
        """Begin anew."""
        self.views, self.pairs = [self.views[-1]], {}
        self.views[0].solved = False
