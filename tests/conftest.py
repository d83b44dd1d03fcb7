"""Shared fixtures. Real clips and golden tensors live beside the checkout and are never copied into it."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of reference tensors; skips when the shared folder is not beside the checkout."""
    path = SHARED / "golden"
    if not path.is_dir():
        pytest.skip("reference tensors are not beside this checkout (../shared/golden)")
    return path


@pytest.fixture(scope="session")
def clips() -> Path:
    """Folder of real clips; skips when absent."""
    path = SHARED / "data"
    if not path.is_dir():
        pytest.skip("real clips are not beside this checkout (../shared/data)")
    return path
