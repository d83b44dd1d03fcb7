"""A COLMAP project: images/, masks/ and sparse/0, ready for splatting (gsplat, 3DGS) or COLMAP itself.

Choices
- Intrinsics belong to the pictures that are written: original resolution when the source is still there.
- Movers stay out of the points by default and are black in masks/, so that a static splat ignores them.
- Points are the tracks the cameras were solved from, where geometric refinement left some; else, or with `dense`, the
  filtered depth maps, each point with the one pixel it was seen in. Tracks are static and are not filtered: options
  that choose among depth's points are refused beside them.
- Equal intrinsics share one camera; a network that predicts each frame's field of view gives one camera per frame
  unless `shared_camera` takes their median.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openmore.errors import InputError
from openmore.export.cameras import corner_K, corner_pixels
from openmore.export.cloud import join
from openmore.export.colmap_files import ColmapCamera, ColmapImage, ColmapModel, write_binary, write_text
from openmore.export.images import ImageSet, write_images, write_masks
from openmore.export.points import PointOptions, gather
from openmore.geometry.rotation import matrix_to_quaternion
from openmore.progress import ProgressCallback, silent
from openmore.types import Reconstruction

_DEPTH_ONLY = ("confidence", "edge", "voxel", "static_only", "max_points", "max_mover_points")


@dataclass(frozen=True)
class Tracks:
    """Points and the pixels they were seen in. Rows of `point`, `frame` and `pixel` are observations."""

    xyz: np.ndarray  # [N, 3] world
    rgb: np.ndarray  # [N, 3] uint8
    point: np.ndarray  # [M] int, row of xyz
    frame: np.ndarray  # [M] int, position in Reconstruction.frames
    pixel: np.ndarray  # [M, 2] (u, v) at model resolution, integer centres


def write(
    recon: Reconstruction,
    path: Path,
    *,
    points: PointOptions = PointOptions(static_only=True),
    tracks: Tracks | None = None,
    dense: bool = False,
    images: str = "auto",
    text: bool = False,
    shared_camera: bool = False,
    progress: ProgressCallback = silent,
) -> None:
    """Write the project. `tracks` replaces the points; `text` adds the text files beside the binary ones."""
    if tracks is None:
        tracks = None if dense else solved_tracks(recon)
    if tracks is None:
        tracks = dense_tracks(recon, points, progress)
    pictures = write_images(recon, path / "images", images, progress)
    write_masks(recon, path / "masks", pictures, points.motion, points.motion_margin)
    model = build_model(recon, tracks, pictures, shared_camera)
    write_binary(model, path / "sparse" / "0")
    if text:
        write_text(model, path / "sparse" / "0")


def idle(recon: Reconstruction, options: dict[str, Any]) -> dict[str, str]:
    """Those of `options` that choose among points from depth, where tracks are the points, with what to do."""
    if options.get("tracks") is not None:
        why = "the points are the tracks that are given, leave it out"
    elif not options.get("dense") and solved_tracks(recon) is not None:
        why = "the points are the tracks the cameras were solved from, add --dense (dense=True) for points from depth"
    else:
        return {}
    static = ("static_only", True)  # as tracks are anyway
    return {name: why for name, value in options.items() if name in _DEPTH_ONLY and (name, value) != static}


def solved_tracks(recon: Reconstruction) -> Tracks | None:
    """The tracks of geometric refinement at model resolution; None when there are none."""
    found = recon.tracks
    if found is None or not len(found.xyz):
        return None
    (h, w), (height, width) = recon.info.model_shape, recon.info.original_shape
    pixel = found.pixel.astype(np.float64) * (w / width, h / height)
    return Tracks(found.xyz, found.rgb, found.point.astype(np.int64), found.frame.astype(np.int64), pixel)


def dense_tracks(recon: Reconstruction, options: PointOptions, progress: ProgressCallback = silent) -> Tracks:
    """The filtered cloud, each point with the pixel it came from; movers of all frames unless `static_only`."""
    cloud = gather(recon, options, progress)
    rows = join([cloud.static, *cloud.movers])
    return Tracks(rows["xyz"], rows["rgb"], np.arange(len(rows)), rows["frame"], rows["pixel"])


def build_model(recon: Reconstruction, tracks: Tracks, images: ImageSet, shared_camera: bool) -> ColmapModel:
    """Cameras, images and points in COLMAP's conventions. Raises InputError when tracks name absent frames."""
    if len(tracks.frame) and not 0 <= tracks.frame.min() <= tracks.frame.max() < len(recon):
        raise InputError(f"tracks name frames {tracks.frame.min()}..{tracks.frame.max()}, the scene has {len(recon)}")
    Ks = np.stack([corner_K(camera, recon.info.model_shape, images.shape) for camera in recon.cameras])
    if shared_camera:
        Ks[:] = np.median(Ks, 0)
    params = Ks[:, (0, 1, 0, 1), (0, 1, 2, 2)]
    unique, which = np.unique(params.round(6), axis=0, return_inverse=True)
    height, width = images.shape
    cameras = [ColmapCamera(width, height, tuple(row)) for row in unique.tolist()]
    xy = corner_pixels(tracks.pixel.astype(np.float64), recon.info.model_shape, images.shape)
    cam_from_world = np.stack([camera.cam_from_world for camera in recon.cameras])
    xyz = tracks.xyz.astype(np.float64)
    error = _mean_error(xyz, tracks, xy, Ks, cam_from_world)
    quaternions = matrix_to_quaternion(torch.from_numpy(cam_from_world[:, :3, :3])).numpy()[:, [3, 0, 1, 2]]
    rows = _rows_by_frame(tracks.frame, len(recon))
    posed = [
        ColmapImage(name, int(which[i]), quaternions[i], cam_from_world[i, :3, 3], xy[rows[i]], tracks.point[rows[i]])
        for i, name in enumerate(images.names)
    ]
    return ColmapModel(cameras, posed, xyz, tracks.rgb, error)


def _rows_by_frame(frame: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.searchsorted(frame[order], np.arange(1, count)))


def _mean_error(
    xyz: np.ndarray, tracks: Tracks, xy: np.ndarray, Ks: np.ndarray, cam_from_world: np.ndarray
) -> np.ndarray:
    """[N] mean distance in pixels between observations and projections; 0 for points without observations."""
    total, count = np.zeros(len(xyz)), np.zeros(len(xyz))
    for i, rows in enumerate(_rows_by_frame(tracks.frame, len(Ks))):
        points = xyz[tracks.point[rows]] @ cam_from_world[i, :3, :3].T + cam_from_world[i, :3, 3]
        projected = points @ Ks[i].T
        distance = np.linalg.norm(projected[:, :2] / projected[:, 2:] - xy[rows], axis=-1)
        np.add.at(total, tracks.point[rows], distance)
        np.add.at(count, tracks.point[rows], 1)
    return total / np.maximum(count, 1)
