"""Make the gallery's pictures from scene folders, in a headless Chromium and with the package's own figures.

    openmore reconstruct CLIP -o scenes/NAME
    python docs/gallery/make.py scenes/NAME [...] [--out docs/gallery]

For every scene: NAME_viewer.webp (the 4D viewer), NAME_times.webp (its view at three times), NAME_preview.webp (contact
sheet), NAME_path.png (the camera path), NAME_attention.webp (where the camera token looks) and NAME.webp, which moves:
the scene seen from a swaying camera over picture | depth | motion | path. It is drawn by the browser too.
Needs chromium and `pip install playwright`.

A picture made from a clip is bound to the clip's licence. Only clips named in CLIPS may go into the tracked gallery;
others need an --out of their own.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from openmore.viewer.preview_video import preview_frames
from openmore.viewer.scene_view import SceneView
from openmore.viewer.server import address, open_server
from openmore.viewer.stage import quaternion_wxyz

GALLERY = Path(__file__).parent
# Scene name -> what must be said beside every picture of it; docs/gallery.md says it.
CLIPS = {
    "tum_fr2_desk": "TUM RGB-D, freiburg2_desk (Sturm et al., IROS 2012), CC BY 4.0, undistorted, rim cropped",
    "static_dog_gallery": "facebookresearch/sam2, demo gallery, Apache-2.0",
    "hololens_office_a": "ardaduz/deep-video-mvs, sample data, MIT",
    "demo": "made by this project's generator",
}
SIZE = {"width": 1280, "height": 720}
PANEL_LEFT = 940  # pixels; the panel begins here
FLAGS = "--no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader".split()
ANIMATION_FRAMES, ANIMATION_MS = 24, 100
ANIMATION_SHAPE, STRIP_HEIGHT = (400, 750), 150  # the view; the panels below it
SWAY_DEG = 9.0
NIGHT = 20.0  # grey behind the points, as in the viewer
QUALITY = 82


@contextmanager
def visited(scene: Reconstruction) -> Iterator[tuple[SceneView, Any]]:
    """The viewer with all of its background, and a browser page that looks at it."""
    view = SceneView(open_server(), {"scene": scene})
    view.wait_until_loaded()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(address(view.server))
        while not view.server.get_clients():
            time.sleep(0.1)
        # The remark about software rendering.
        page.locator(".mantine-Notification-closeButton").first.click(timeout=60_000)
        yield view, page
        browser.close()
    view.close()


def go_to(view: SceneView, frame: int) -> None:
    """Show a frame and wait until it was drawn."""
    view.show(frame)
    while view.stages[0].drawn != frame:
        time.sleep(0.05)


def screenshots(view: SceneView, page: Any, frames: list[int]) -> list[Image.Image]:
    """What the window shows at the given frames."""
    pictures = []
    for frame in frames:
        go_to(view, frame)
        time.sleep(4)  # software rendering is slow; let the picture settle
        pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    return pictures


def swaying(view: SceneView, frames: range) -> Iterator[np.ndarray]:
    """[400, 750, 3] uint8 per frame: the scene from a camera that sways once around the middle of the view."""
    client = next(iter(view.server.get_clients().values()))
    aside = [0.1 * np.ptp(view.stages[0].extent_x()), 0, 0]  # there is no panel to stand beside
    position, look_at = (place - aside for place in view.first_view())
    for number, frame in enumerate(frames):
        go_to(view, frame)
        angle = np.radians(SWAY_DEG) * np.sin(2 * np.pi * number / len(frames))
        arm = position - look_at
        turned = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]] @ arm
        eye = look_at + turned
        height, width = ANIMATION_SHAPE
        wxyz = quaternion_wxyz(looking(eye, look_at))
        drawn = client.get_render(
            height, width, wxyz=wxyz, position=eye, fov=0.85, transport_format="png", timeout=120
        ).astype(float)
        alpha = drawn[..., 3:] / 255
        yield (alpha * drawn[..., :3] + (1 - alpha) * NIGHT).round().astype(np.uint8)


def looking(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """[4, 4] world_from_cam of an upright camera at `eye` (y points down)."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3], world_from_cam[:3, 3] = np.stack((x, np.cross(z, x), z), 1), eye
    return world_from_cam


def write_animation(path: Path, view: SceneView, scene: Reconstruction) -> None:
    """The swaying view over the panels of the preview video."""
    chosen = range(0, len(scene), -(-len(scene) // ANIMATION_FRAMES))
    short = Reconstruction(scene.frames[:: chosen.step], scene.info)
    pictures = []
    for above, strip in zip(swaying(view, chosen), preview_frames(short, STRIP_HEIGHT, legends=True), strict=True):
        height = round(strip.shape[0] * above.shape[1] / strip.shape[1])
        below = Image.fromarray(strip).resize((above.shape[1], height), Image.Resampling.LANCZOS)
        pictures.append(Image.fromarray(np.concatenate((above, np.asarray(below)))))
    options = {"duration": ANIMATION_MS, "loop": 0, "quality": 60, "method": 6}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)


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
    with visited(scene) as (view, page):
        shots = screenshots(view, page, sorted({0, last // 2, last}))
        write_animation(out / f"{name}.webp", view, scene)
    shots[len(shots) // 2].save(out / f"{name}_viewer.webp", quality=QUALITY)
    side_by_side(shots).save(out / f"{name}_times.webp", quality=QUALITY)
    Image.fromarray(preview_sheet(scene.frames, rows=4)).save(out / f"{name}_preview.webp", quality=QUALITY)
    estimate = Trajectory(np.asarray(frame_times(scene)), scene.world_from_cam)
    plot_trajectory(out / f"{name}_path.png", estimate, truth_beside(scene, estimate), title=name)
    looked = study(scene.info.source, MoRe.from_pretrained("small"), name="small", count=3)
    Image.fromarray(draw_sheets([looked])["layers.png"]).save(out / f"{name}_attention.webp", quality=QUALITY)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=GALLERY)
    arguments = parser.parse_args()
    for given in arguments.scenes:
        make(given, arguments.out)
