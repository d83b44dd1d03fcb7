"""A scene as plain arrays: primitives with materials, their transforms at every frame, one camera, light, optics.

Choices
- Every primitive is a unit shape inside [-1, 1]^3 under an affine transform: boxes, ellipsoids, cylinders and convex
  hulls with any size and shear share one representation and one renderer.
- `Stage` collects primitives while a layout builds the scene; `Scene` is the frozen result, small numpy arrays that
  travel between processes cheaply (a loader's workers describe, the trainer's device renders).
- The stage has its floor at y = 0 and y down; the first camera becomes the world only in the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from openmore.data.synthetic.motion import pose, rotation

if TYPE_CHECKING:
    from openmore.data.synthetic.tables import Tables

Random = np.random.Generator
BOX, ELLIPSOID, CYLINDER, HULL = range(4)
HULL_PLANES = 8
MOVING_METRES = 1e-3  # a surface that shifts less than this between two frames counts as at rest


@dataclass
class Material:
    """How a surface looks: two texture layers, mixed, then recoloured."""

    textures: tuple[int, int]  # numbers in the bank, taken modulo its size
    tiles_per_metre: float  # of the first layer
    ratio: float  # tiles of the second layer per tile of the first
    mix: float  # weight of the second layer, 0..1
    gain: np.ndarray  # [3] colour = gain * texture + offset
    offset: np.ndarray  # [3]


@dataclass
class Light:
    """A sun (or lamp far away), a sky, a fill light; intensities in linear units around 1."""

    to_sun: np.ndarray  # [3] unit vector, stage axes
    sun: np.ndarray  # [3] RGB
    ambient: np.ndarray  # [3] RGB
    to_fill: np.ndarray  # [3] unit vector
    fill: float
    shadow: float  # 0 none .. 1 black
    horizon: np.ndarray  # [3] RGB, colour of the haze and of the sky's rim
    sky: float  # brightness of the sky
    haze: float  # 1 / metres; 0 = clear


@dataclass
class Optics:
    """What the camera does to the picture after the light has arrived."""

    exposure: np.ndarray  # [S] gain on top of the metered one
    saturation: float  # 0 = a grey camera, 1 = as lit
    white: np.ndarray  # [3] colour balance
    vignette: float  # darkening at the corners, 0..1
    blur: float  # weight of a 3x3 binomial blur, 0..1
    contrast: float  # weight of an S-shaped tone curve; 0 = none
    shutter: float  # exposure time / frame interval; 0 = no motion blur
    noise: float  # standard deviation in a black pixel, 0..1 units
    shot_noise: float  # more of it where it is bright
    noise_start: np.ndarray  # [S] int64, where each frame reads the noise tile
    jpeg_quality: int  # 0 = none, otherwise 20..95


@dataclass
class Scene:
    """One clip, ready to render: S frames, K primitives."""

    name: str
    shape: tuple[int, int]  # (H, W)
    times_s: np.ndarray  # [S]
    K: np.ndarray  # [3, 3] pixels
    world_from_cam: np.ndarray  # [S, 4, 4] in stage axes
    kind: np.ndarray  # [K] int64
    world_from_unit: np.ndarray  # [S, K, 4, 4] affine, stage axes
    planes: np.ndarray  # [K, HULL_PLANES, 4] normals and offsets of hulls in unit axes (n . p <= h)
    half: np.ndarray  # [K, 3] metres, half sizes (texture coordinates are measured with them)
    instance: np.ndarray  # [K] int32; 0 = the room or ground
    casts: np.ndarray  # [K] bool, throws a shadow
    materials: list[Material]  # K of them, and one more for the sky
    light: Light
    optics: Optics
    moving: np.ndarray = field(init=False)  # [S, K] bool, the primitive moves in the world around this frame

    def __post_init__(self) -> None:
        self.moving = moving_primitives(self.world_from_unit)

    @cached_property
    def tables(self) -> Tables:
        """The renderer's numbers; once computed they travel with the scene."""
        from openmore.data.synthetic.tables import tables

        return tables(self)


def moving_primitives(world_from_unit: np.ndarray) -> np.ndarray:
    """[S, K] bool: does a corner of the primitive shift by more than MOVING_METRES to the next or from the last frame.

    A frame between rest and motion counts as moving: one of its two neighbours shows the motion.
    """
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8)
    at = world_from_unit[..., :3, :3] @ corners + world_from_unit[..., :3, 3:]
    shift = np.linalg.norm(np.diff(at, axis=0), axis=-2).max(-1) > MOVING_METRES
    still = np.zeros_like(shift[:1]) if len(shift) else np.zeros(world_from_unit.shape[:2], bool)
    if not len(shift):
        return still
    return np.concatenate((shift, still)) | np.concatenate((still, shift))


@dataclass
class Stage:
    """Collects the primitives of a scene while it is being laid out."""

    rng: Random
    t: np.ndarray  # [S] seconds from 0
    kind: list[int] = field(default_factory=list)
    transforms: list[np.ndarray] = field(default_factory=list)  # each [S, 4, 4] rigid or [4, 4] for a thing at rest
    shapes: list[np.ndarray] = field(default_factory=list)  # each [3, 3], shape from unit
    halves: list[np.ndarray] = field(default_factory=list)
    planes: list[np.ndarray] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)
    casts: list[bool] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    last_instance: int = 0

    def __len__(self) -> int:
        return len(self.kind)

    def new_instance(self) -> int:
        """The id of a new object."""
        self.last_instance += 1
        return self.last_instance

    def add(
        self,
        kind: int,
        half: tuple[float, float, float] | np.ndarray,
        body: np.ndarray,
        at: tuple[float, float, float] | np.ndarray = (0.0, 0.0, 0.0),
        turn: np.ndarray | None = None,
        material: Material | None = None,
        instance: int = 0,
        shear: np.ndarray | None = None,
        casts: bool = True,
        planes: np.ndarray | None = None,
    ) -> None:
        """Add one primitive.

        Args:
            half: [3] half sizes in metres.
            body: world_from_body, [4, 4] or [S, 4, 4].
            at, turn: where the primitive sits in the body, [3] and rotation [3, 3] or [S, 3, 3] (joints).
            shear: [3, 3] applied to the sized shape; unit diagonal.
            planes: [HULL_PLANES, 4] for a hull.
        """
        half = np.asarray(half, dtype=np.float64)
        turn = np.eye(3) if turn is None else turn
        self.kind.append(kind)
        self.transforms.append(body @ pose(turn, np.asarray(at, dtype=np.float64)))
        self.shapes.append(np.diag(half) if shear is None else shear @ np.diag(half))
        self.halves.append(half)
        self.planes.append(np.zeros((HULL_PLANES, 4)) if planes is None else planes)
        self.instances.append(instance)
        self.casts.append(casts)
        self.materials.append(material or random_material(self.rng))

    def world_from_unit(self) -> np.ndarray:
        """[S, K, 4, 4] affine."""
        s = len(self.t)
        out = np.zeros((s, len(self), 4, 4))
        for k, (T, shape) in enumerate(zip(self.transforms, self.shapes)):
            out[:, k] = T
            out[:, k, :3, :3] = T[..., :3, :3] @ shape
        return out

    def freeze(self, name: str, shape: tuple[int, int], K: np.ndarray, world_from_cam: np.ndarray,
               sky: Material, light: Light, optics: Optics) -> Scene:  # fmt: skip
        """The finished scene; primitives are ordered by kind so that a batch can treat each kind at once."""
        order = np.argsort(np.array(self.kind), kind="stable")
        return Scene(
            name=name,
            shape=shape,
            times_s=self.t,
            K=K,
            world_from_cam=world_from_cam,
            kind=np.array(self.kind, dtype=np.int64)[order],
            world_from_unit=self.world_from_unit()[:, order],
            planes=np.stack(self.planes)[order],
            half=np.stack(self.halves)[order],
            instance=np.array(self.instances, dtype=np.int32)[order],
            casts=np.array(self.casts)[order],
            materials=[*(self.materials[k] for k in order), sky],
            light=light,
            optics=optics,
        )


def random_material(rng: Random, tiles_per_metre: float | None = None, group: int | None = None) -> Material:
    """A surface drawn from the whole bank; `group` keeps to one kind of pattern (number in patterns.PATTERNS)."""
    from openmore.data.synthetic.patterns import PATTERNS, palette

    first = int(rng.integers(0, 1 << 20))
    if group is not None:
        first = first // len(PATTERNS) * len(PATTERNS) + group
    tint = palette(rng, 1)[0]
    tint = tint / tint.max() if rng.random() < 0.6 else np.ones(3)
    contrast = rng.uniform(0.6, 1.0)
    gain = contrast * tint * rng.uniform(0.6, 1.2)
    if rng.random() < 0.1:
        gain = -gain  # a negative
    return Material(
        textures=(first, int(rng.integers(0, 1 << 20))),
        tiles_per_metre=float(np.exp(rng.uniform(np.log(0.25), np.log(2.5))) if tiles_per_metre is None
                              else tiles_per_metre),
        ratio=float(np.exp(rng.uniform(np.log(0.15), np.log(5.0)))),
        mix=float(rng.beta(1.0, 2.0) * 0.6),
        gain=gain,
        offset=(1 - contrast) * rng.uniform(0.0, 0.5) * tint - np.minimum(gain, 0),
    )  # fmt: skip


def random_turn(rng: Random) -> np.ndarray:
    """A uniform-ish random rotation [3, 3]."""
    return (
        rotation("y", rng.uniform(0, 6.283))
        @ rotation("x", rng.uniform(0, 6.283))
        @ rotation("z", rng.uniform(0, 6.283))
    )


def hull_planes(rng: Random) -> np.ndarray:
    """Eight planes [8, 4] of a random convex stone, wedge or pyramid that just fits the unit cube."""
    walls = np.array([[0, 1, 0], [0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, -1, 0]], dtype=np.float64)
    style = rng.integers(0, 3)
    if style == 0:  # a stone: tilted walls and two corners cut off
        normals = np.concatenate((walls + rng.normal(0, 0.35, (6, 3)), rng.normal(0, 1, (2, 3))))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        offsets = rng.uniform(0.6, 1.0, HULL_PLANES)
    else:  # two slopes make a ridge, four a pyramid: they meet y = +1 at the rim and y = -1 in the middle
        around = np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]])[: 2 * style]
        normals = np.concatenate((around * 2 + np.array([0, -1.0, 0]), walls))[:HULL_PLANES]
        offsets = np.ones(HULL_PLANES)
    reach = np.abs(_vertices(normals, offsets)).max()
    return np.concatenate((normals, offsets[:, None] / reach), 1)


def _vertices(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """[N, 3] corners of the polytope n . p <= h: intersections of three planes that no other plane cuts off."""
    triples = np.array([(i, j, k) for i in range(len(normals)) for j in range(i) for k in range(j)])
    A, h = normals[triples], offsets[triples]
    solid = np.abs(np.linalg.det(A)) > 1e-6
    points = np.linalg.solve(A[solid], h[solid][..., None])[..., 0]
    return points[(points @ normals.T <= offsets + 1e-9).all(1)]
