"""Make the gallery's pictures from scene folders, in a headless Chromium and with the package's own figures.

    python docs/gallery/make.py SCENE [SCENE ...]

For every scene: NAME_viewer.png (the 4D viewer at three times), NAME_preview.png (contact sheet), NAME_path.png and
NAME.webp (the animated picture of the README). Needs chromium and `pip install playwright`. Mind the licences of the
clips: a picture made from a clip is bound to them like the clip itself.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from openmore.export.cameras import frame_times
from openmore.io.preview import preview_sheet
from openmore.io.trajectories import Trajectory
from openmore.types import Reconstruction
from openmore.viewer.plots import plot_trajectory
from openmore.viewer.preview_video import write_preview_video
from openmore.viewer.scene_view import SceneView
from openmore.viewer.server import address, open_server

GALLERY = Path(__file__).parent
SIZE = {"width": 1280, "height": 720}
FLAGS = "--no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader".split()
ANIMATION_HEIGHT, ANIMATION_FRAMES = 160, 48


def viewer_pictures(scene: Reconstruction, times: list[int]) -> list[Image.Image]:
    """Screenshots of the viewer at the given frames."""
    view = SceneView(open_server(), {"scene": scene})
    view.wait_until_loaded()
    pictures = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(address(view.server))
        while not view.server.get_clients():
            time.sleep(0.1)
        page.locator(".mantine-Notification-closeButton").first.click()  # the remark about software rendering
        for frame in times:
            view.show(frame)
            while view.stages[0].drawn != frame:
                time.sleep(0.05)
            time.sleep(3)  # software rendering is slow; let the picture settle
            pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    view.close()
    return pictures


def make(path: Path) -> None:
    """All pictures of one scene."""
    scene, name = Reconstruction.load(path), path.resolve().name
    last = len(scene) - 1
    shots = viewer_pictures(scene, sorted({0, last // 2, last}))
    Image.fromarray(np.concatenate([np.asarray(shot) for shot in shots])).save(GALLERY / f"{name}_viewer.png")
    Image.fromarray(preview_sheet(scene.frames)).save(GALLERY / f"{name}_preview.png")
    estimate = Trajectory(np.asarray(frame_times(scene)), scene.world_from_cam)
    plot_trajectory(GALLERY / f"{name}_path.png", estimate, title=name)
    short = Reconstruction(scene.frames[:ANIMATION_FRAMES], scene.info)
    write_preview_video(short, GALLERY / f"{name}.webp", height=ANIMATION_HEIGHT, columns=2, overwrite=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="+", type=Path)
    for given in parser.parse_args().scenes:
        make(given)
