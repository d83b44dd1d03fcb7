"""Make the gallery's pictures from scene folders, in a headless Chromium and with the package's own figures.

    openmore reconstruct CLIP -o scenes/NAME
    python docs/gallery/make.py scenes/NAME [...] [--out docs/gallery]

For every scene: NAME_viewer.webp (the 4D viewer), NAME_times.webp (its view at three times), NAME_preview.webp (contact
sheet), NAME_path.png (the camera path), NAME_attention.webp (where the camera token looks) and NAME.webp, which moves.
Needs chromium and `pip install playwright`.

A picture made from a clip is bound to the clip's licence. Only clips named in CLIPS may go into the tracked gallery;
others need an --out of their own.
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

from openmore.export.cameras import frame_indices, frame_times
from openmore.io.preview import preview_sheet
from openmore.io.trajectories import Trajectory, read_trajectory
from openmore.model.more import MoRe
from openmore.types import Reconstruction
from openmore.viewer.attention_report import draw_sheets, study
from openmore.viewer.plots import plot_trajectory
from openmore.viewer.preview_video import write_preview_video
from openmore.viewer.scene_view import SceneView
from openmore.viewer.server import address, open_server

GALLERY = Path(__file__).parent
# Scene name -> what must be said beside every picture of it; docs/gallery.md says it.
CLIPS = {
    "tum_fr2_desk_20": "TUM RGB-D, freiburg2_desk (Sturm et al., IROS 2012), CC BY 4.0",
    "static_dog_gallery": "facebookresearch/sam2, demo gallery, Apache-2.0",
    "hololens_office_a": "ardaduz/deep-video-mvs, sample data, MIT",
    "demo": "made by this project's generator",
}
SIZE = {"width": 1280, "height": 720}
PANEL_LEFT = 940  # pixels; the panel begins here
FLAGS = "--no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader".split()
ANIMATION_HEIGHT, ANIMATION_FRAMES = 150, 48
QUALITY = 82


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
        # The remark about software rendering.
        page.locator(".mantine-Notification-closeButton").first.click(timeout=60_000)
        for frame in times:
            view.show(frame)
            while view.stages[0].drawn != frame:
                time.sleep(0.05)
            time.sleep(4)  # software rendering is slow; let the picture settle
            pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    view.close()
    return pictures


def side_by_side(shots: list[Image.Image]) -> Image.Image:
    """The shots without their panels, at 480 pixels each."""
    tiles = [shot.crop((0, 0, PANEL_LEFT, shot.height)) for shot in shots]
    tiles = [tile.resize((480, round(480 * tile.height / tile.width)), Image.Resampling.LANCZOS) for tile in tiles]
    return Image.fromarray(np.concatenate([np.asarray(tile) for tile in tiles], 1))


def truth_beside(scene: Reconstruction, estimate: Trajectory) -> Trajectory | None:
    """poses.txt beside the source's folder, one row per frame, on the scene's clock; None without, or at standstill."""
    path = Path(scene.info.source).parent / "poses.txt"
    if not path.is_file():
        return None
    poses = read_trajectory(path).world_from_cam[frame_indices(scene)]
    return Trajectory(estimate.times_s, poses) if np.ptp(poses[:, :3, 3], 0).max() > 0 else None


def make(path: Path, out: Path) -> None:
    """All pictures of one scene."""
    scene, name = Reconstruction.load(path), path.resolve().name
    if name not in CLIPS and out.resolve() == GALLERY.resolve():
        raise SystemExit(f"{name} is not in CLIPS: its licence must be known first, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    last = len(scene) - 1
    shots = viewer_pictures(scene, sorted({0, last // 2, last}))
    shots[len(shots) // 2].save(out / f"{name}_viewer.webp", quality=QUALITY)
    side_by_side(shots).save(out / f"{name}_times.webp", quality=QUALITY)
    Image.fromarray(preview_sheet(scene.frames, rows=4)).save(out / f"{name}_preview.webp", quality=QUALITY)
    estimate = Trajectory(np.asarray(frame_times(scene)), scene.world_from_cam)
    plot_trajectory(out / f"{name}_path.png", estimate, truth_beside(scene, estimate), title=name)
    looked = study(scene.info.source, MoRe.from_pretrained("small"), name="small", count=3)
    Image.fromarray(draw_sheets([looked])["layers.png"]).save(out / f"{name}_attention.webp", quality=QUALITY)
    short = Reconstruction(scene.frames[:ANIMATION_FRAMES], scene.info)
    write_preview_video(short, out / f"{name}.webp", height=ANIMATION_HEIGHT, overwrite=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=GALLERY)
    arguments = parser.parse_args()
    for given in arguments.scenes:
        make(given, arguments.out)
