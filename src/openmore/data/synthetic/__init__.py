"""A synthetic 4D world with exact truth: random dynamic scenes, ray-cast in torch.

Read layout.py for what is in the world, render.py for how it becomes pixels, truth.py for what is exact.
"""

from openmore.data.synthetic.layout import Recipe, describe
from openmore.data.synthetic.make import (
    SyntheticBatch,
    make_batch,
    make_clip,
    render_batch,
    render_sample,
    texture_bank,
)

__all__ = [
    "Recipe",
    "SyntheticBatch",
    "describe",
    "make_batch",
    "make_clip",
    "render_batch",
    "render_sample",
    "texture_bank",
]
