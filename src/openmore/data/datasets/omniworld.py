"""OmniWorld-Game: game recordings with bundle-adjusted cameras and arbitrary depth scale.

Layout: `<scene>/{color/%06d.png, depth/%06d.png, camera/split_<k>.json, gdino_mask/%06d.png, split_info.json}`.
Choices
- Cameras agree only within a split, so a sequence is `<scene>/split_<k>` and no clip crosses splits.
- Quaternions are w x y z of cam_from_world [the authors' tool; a third party says the opposite: the data check's
  reprojection error settles it]. Frames whose quaternion is off unit length by 1 %, frames on the invalid list and
  frames without depth are dropped and counted.
- The authors' tool lifts pixel u at u + 0.5: the principal point loses half a pixel here.
- Depth is an inverse near/far buffer; too near (raw <= 98) is unknown and beyond 65500 is sky.
- `gdino_mask` marks things that could move, found by a detector: it becomes instances, and motion stays unknown there
  and static elsewhere is not claimed either.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from openmore.data.datasets import axes, decode
from openmore.data.datasets.base import FrameDataset, Index, Pixels, invalid_cameras
from openmore.errors import DataError

NEAR_RAW, SKY_RAW = 98, 65500
FPS = 24.0
QUATERNION_TOLERANCE = 1e-2


class OmniWorld(FrameDataset):
    """OmniWorld-Game."""

    name = "omniworld"
    recalled: ClassVar[dict[str, str]] = {
        "quats and trans are cam_from_world (a third party says the opposite)": "a problem says INVERTED",
    }
    picture_shape = (720, 1280)

    def names(self) -> list[str]:
        found = [
            f"{scene}/{path.stem}"
            for scene in decode.subfolders(self.root)
            for path in sorted((self.root / scene / "camera").glob("split_*.json"))
        ]
        if not found:
            raise DataError(f"{self.root} has no <scene>/camera/split_0.json: unpack the <scene>_others archives too")
        return found

    def read_index(self, sequence: str) -> Index:
        scene, _, split = sequence.partition("/")
        folder, number = self.root / scene, decode.number_in(split)
        info = decode.read_json(folder / "split_info.json")
        ids = [int(decode.number_in(str(n))) for n in info["split"][number]]
        camera = decode.read_json(folder / "camera" / f"{split}.json")
        wxyz = np.array(camera["quats"], dtype=np.float64)
        if len(wxyz) != len(ids):
            raise DataError(f"{folder}/camera/{split}.json has {len(wxyz)} cameras for {len(ids)} frames")
        norm = np.linalg.norm(wxyz, axis=-1)
        safe = np.where((norm > 0)[:, None], wxyz, [1.0, 0, 0, 0])
        cam_from_world = axes.from_quaternion(safe[:, [1, 2, 3, 0]], np.array(camera["trans"], dtype=np.float64))
        K = np.stack([axes.intrinsics(f, f, camera["cx"] - 0.5, camera["cy"] - 0.5) for f in camera["focals"]])
        files = [folder / f"color/{n:06d}.png" for n in ids]
        poses = axes.invert(cam_from_world)
        # One mask per reason over the whole split, applied one after the other to what is left.
        reasons = {
            "quaternion off unit length": {n for n, x in zip(ids, norm) if abs(x - 1) > QUATERNION_TOLERANCE},
            "invalid camera": {n for n, bad in zip(ids, invalid_cameras(poses)) if bad},
            "listed as invalid": {int(n) for n in camera.get("invalid_frame", [])},
            "no depth": {n for n in ids if not (folder / f"depth/{n:06d}.png").is_file()},
            "no picture": {n for n, path in zip(ids, files) if not path.is_file()},
        }
        index = Index(ids, np.array(ids) / FPS, poses, K, files)
        for reason, bad in reasons.items():
            index = index.without(np.array([n in bad for n in index.ids], dtype=bool), reason)
        return index

    def read_pixels(self, sequence: str, index: Index, i: int) -> Pixels:
        folder, number = index.files[i].parents[1], index.ids[i]
        depth, sky = decode_depth(decode.read_raw(folder / f"depth/{number:06d}.png"))
        path = folder / f"gdino_mask/{number:06d}.png"
        instances = (decode.read_labels(path) > 0).astype(np.int32) if path.is_file() else None
        motion = np.full(depth.shape, 255, np.uint8)
        return Pixels(decode.read_rgb(index.files[i]), depth, motion, instances, sky)


def decode_depth(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """16-bit buffer [H, W] -> z in arbitrary units (0 = unknown) and the sky mask."""
    sky = raw > SKY_RAW
    known = (raw > NEAR_RAW) & ~sky
    d = np.where(known, raw, 0).astype(np.float64) / 65535
    return np.where(known, d / (1000 - 999 * d) / 0.004, 0).astype(np.float32), sky
