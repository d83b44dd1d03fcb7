from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from openmore.types import Reconstruction
from tests.scenes import make_scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Software rendering, so that a machine without a graphics card draws the same picture.
FLAGS = (
    "--headless=new --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--disable-background-networking"
).split()


@pytest.fixture(scope="session")
def scene() -> Reconstruction:
    return make_scene()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A headless Chromium; skips when it or playwright is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page that remembers what it asked for and complained about."""

    def __init__(self, browser, url: str):
        self.page = browser.new_page(viewport={"width": 1200, "height": 700})
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.goto(url)

    def foreign_requests(self, *ours: str) -> list[str]:
        return [url for url in self.requests if not url.startswith(("blob:", "data:", *ours))]
