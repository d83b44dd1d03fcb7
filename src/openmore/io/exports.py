"""What `openmore export` writes: the names in SCENE/exports, and what the folder formats hold.

It is known here, below the exports themselves, because a scene that is replaced takes its exports with it: what lies
among them and is none of them must be told apart (`scene_writer.SCENE`).
"""

from __future__ import annotations

from openmore.io.output import numbered

# Other programs write COLMAP and nerfstudio folders too: only with this file in it is a folder known to be ours.
MARK = "openmore.json"
_PICTURES = (*numbered("images/{}.jpg"), *numbered("masks/{}.jpg.png"))
FOLDERS = {  # format -> what its folder holds beside the mark
    "colmap": (
        *_PICTURES,
        *(f"sparse/0/{n}.{suffix}" for n in ("cameras", "images", "points3D") for suffix in ("bin", "txt")),
    ),
    "nerfstudio": ("transforms.json", "sparse_pc.ply", *_PICTURES),
    "depth": ("depth.json", *numbered("{}.png"), *numbered("{}.exr")),
}
FILES = {  # format -> file name in a folder of exports; folder formats are named after themselves
    "tum": "trajectory.txt",
    "ply": "scene.ply",
    "glb": "scene.glb",
    "usd": "scene.usdc",
    "rerun": "scene.rrd",
    "npz": "scene.npz",
}


def parts(folder: str) -> tuple[str, ...]:
    """Patterns of all that `openmore export` leaves in `folder` when it is not told where to write."""
    held = [f"{name}/{part}" for name, inside in FOLDERS.items() for part in (MARK, *inside)]
    return tuple(f"{folder}/{name}" for name in (*FILES.values(), *held))
