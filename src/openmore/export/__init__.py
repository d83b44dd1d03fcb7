"""Scenes in other programs' formats: `export(recon, path)`, `formats()`. One file per format."""

from __future__ import annotations

from openmore.export.points import PointOptions
from openmore.export.registry import export, formats

__all__ = ["PointOptions", "export", "formats"]
