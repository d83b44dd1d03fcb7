"""The folder that `openmore masks` writes.

OUT/masks/00000.png   palette PNG as in DAVIS: 0 static, 1 moving, 255 unknown, at the source's resolution
OUT/report.json       every d_k, mu, sigma, threshold and reason
OUT/overlay.mp4       masks over the pictures
OUT/explain/00000.png overlay, residual and regions (on request)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from openmore.errors import DataError
from openmore.io.atomic import atomic_file, write_json
from openmore.io.output import Kind, numbered
from openmore.io.video import write_video
from openmore.masks.clip import MaskClip
from openmore.masks.pictures import explanation, overlay
from openmore.masks.pipeline import MaskResult

MASKS = Kind(
    "a folder of masks",
    marks=("report.json",),
    parts=(*numbered("masks/{}.png", 5), *numbered("explain/{}.png", 5), "overlay.mp4", "static.ply"),
)


def write_result(
    folder: Path, clip: MaskClip, result: MaskResult, shape: tuple[int, int], fps: float = 10.0, explain: bool = False
) -> None:
    """Write masks, report and video into an existing folder; `shape` = (H, W) of the source's frames."""
    (folder / "masks").mkdir()
    for t, mask in enumerate(result.masks):
        write_mask(folder / "masks" / f"{t:05d}.png", resize_mask(mask, shape))
    write_json(folder / "report.json", result.report.to_json())
    write_video(folder / "overlay.mp4", (overlay(i, m) for i, m in zip(clip.images, result.masks)), fps=fps)
    if explain:
        (folder / "explain").mkdir()
        for t, picture in enumerate(explanations(clip, result)):
            _write_png(folder / "explain" / f"{t:05d}.png", picture)


def explanations(clip: MaskClip, result: MaskResult) -> Sequence[np.ndarray]:
    """One explaining picture [H, W, 3] uint8 per frame."""
    rows = zip(clip.images, result.masks, result.residuals, result.regions, result.report.frames)
    return [explanation(*row) for row in rows]


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Labels [h, w] at another resolution, by nearest neighbour."""
    import cv2

    return cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write labels [H, W] uint8 as a palette PNG, atomically."""
    from PIL import Image

    image = Image.fromarray(mask, mode="P")
    image.putpalette(palette().ravel().tolist())
    with atomic_file(path) as handle:
        image.save(handle, format="PNG")


def read_mask(path: Path) -> np.ndarray:
    """Labels [H, W] uint8 of a palette or grey PNG. Raises DataError when it is neither."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise DataError(f"{path} is a picture of kind {image.mode}: expected a palette or grey PNG of labels")
            return np.array(image)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a mask: {error}") from error


def palette() -> np.ndarray:
    """[256, 3] uint8, the colours DAVIS and VOC give to labels: the label's bits, dealt to red, green, blue in turn."""
    colours = np.zeros((256, 3), np.uint8)
    for label in range(256):
        for bit in range(8):
            colours[label, bit % 3] |= ((label >> bit) & 1) << (7 - bit // 3)
    return colours


def _write_png(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    with atomic_file(path) as handle:
        Image.fromarray(picture).save(handle, format="PNG")
