"""What belongs to the screen and not to the scene: writing, logos, the bonnet of the car.

Choices
- While the camera moves, a pixel of the scene changes; a pixel of the screen is the same in every frame. Plain sky is
  too, so a patch that never changes counts only with a sharp edge in it that never moves by as much as half a pixel.
- Asked only where solved cameras moved the picture by `FAR` of its width, and not believed of half of the picture: then
  the camera stood still. In slow clips too much of the scene stays where it is.
- Depth cannot be measured there, and flow beside it is no parallax of the scene; masks say that it moves, which is
  what every user of a mask wants to hear of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from openmore.refinement.dense.flow_window import landing

SAMPLES, FEWEST = 32, 8  # frames compared, spread over the clip
FAR = 0.1  # of the picture's width
SAME = 16  # grey levels between the darkest and the brightest value of a pixel that never changes; JPEG takes most
EDGE = 250.0  # Sobel response of a sharp edge: 31 grey levels a pixel, half a pixel of motion is more than SAME
LEAST_EDGES = 24  # pixels of such an edge that a patch of the screen holds
MOST = 0.5  # share of the picture
STEP = 16  # pixels between those that are asked how far they go
RIM = 5  # pixels around what is found: codecs blur edges


def on_screen(pictures: Sequence[np.ndarray], frames: np.ndarray) -> np.ndarray | None:
    """[H, W] bool: what belongs to the screen in all pictures [H, W, 3] uint8; None where that is nothing.

    `frames`: numbers of those whose cameras moved.
    """
    import cv2

    if len(frames) < FEWEST:
        return None
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), SAMPLES)).round().astype(int))]
    darkest = brightest = least = None
    for s in chosen:
        picture = pictures[s]
        slope = _slope(picture)
        darkest = picture.copy() if darkest is None else np.minimum(darkest, picture)
        brightest = picture.copy() if brightest is None else np.maximum(brightest, picture)
        least = slope.copy() if least is None else np.minimum(least, slope)
    assert darkest is not None and brightest is not None and least is not None
    same = (brightest.astype(np.int16) - darkest).max(-1) <= SAME
    staying = same & (least > EDGE)
    _, patch = cv2.connectedComponents(same.astype(np.uint8), connectivity=8)
    edges = np.bincount(patch[staying], minlength=int(patch.max()) + 1)
    edges[0] = 0
    found = (edges >= LEAST_EDGES)[patch]
    if not 0 < found.mean() < MOST:
        return None
    return cv2.dilate(found.astype(np.uint8), np.ones((RIM, RIM), np.uint8)) > 0


def path(
    K: np.ndarray, world_from_cam: np.ndarray, depth: Callable[[int], np.ndarray], shape: tuple[int, int]
) -> float:
    """How far the median pixel goes, frame by frame, as a share of the picture's width.

    K [n, 3, 3] in pixels of pictures of `shape`; cameras [n, 4, 4]; `depth(i)` [h, w] in their units, i from 0.
    """
    import cv2

    far, small = 0.0, (max(shape[0] // STEP, 1), max(shape[1] // STEP, 1))
    scale = np.diag([small[1] / shape[1], small[0] / shape[0], 1.0])
    v, u = np.mgrid[: small[0], : small[1]].astype(np.float32)
    for i in range(len(K) - 1):
        inverse = 1 / np.maximum(cv2.resize(depth(i), small[::-1], interpolation=cv2.INTER_AREA), 1e-6)
        b_from_a = np.linalg.inv(world_from_cam[i + 1]) @ world_from_cam[i]
        there = landing(scale @ K[i], scale @ K[i + 1], b_from_a, inverse)
        moved = np.hypot(*(there - np.stack((u, v))))
        far += float(np.nanmedian(moved)) / small[1] if np.isfinite(moved).any() else 0.0
    return far


def painted_over(picture: np.ndarray, screen: np.ndarray) -> np.ndarray:
    """The picture [H, W, 3] uint8 with what surrounds the screen's part [H, W] bool spread over it.

    Sharp edges that never move would hold the flow around them, and the fusion network has seen no writing.
    """
    import cv2

    return cv2.inpaint(picture, screen.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def _slope(picture: np.ndarray) -> np.ndarray:
    """[H, W] float32: how steep the grey values are."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return np.hypot(across, down)
