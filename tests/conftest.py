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


@pytest.fixture
def unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """An online machine with an empty cache whose hub does not answer; the downloads that were tried all the same."""
    import huggingface_hub

    from openmore.model.weights.hub import PROXIES

    asked: list[tuple[object, ...]] = []
    for name in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(huggingface_hub, name, lambda *words, **_: asked.append(words))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    return asked
