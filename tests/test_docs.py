"""The documentation site: every page is in the navigation, every link leads somewhere, pictures stay small."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import openmore
from openmore.training.recipes import recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LARGEST, ALL = 1_500_000, 4_000_000  # bytes of a tracked picture, and of all together


def links(page: Path) -> Iterator[str]:
    """Targets of links and pictures outside code, without the other machines' ones."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield target


def test_the_navigation_holds_every_page() -> None:
    listed = re.findall(r"(\w+\.md)\s*$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_names_in_python_are_there(page: Path) -> None:
    """`import openmore` alone knows its public names: what is deeper is imported from its module."""
    text = page.read_text()
    assert set(re.findall(r"(?<![\w.])openmore\.(\w+)[\w.]*\(", text)) <= set(openmore.__all__)
    for module, names in re.findall(r"\bfrom (openmore[\w.]*) import (\w+(?:, \w+)*)", text):
        for name in names.split(", "):
            assert hasattr(import_module(module), name), f"{page.name} imports {name} from {module}"


def test_pictures_are_small_and_shown() -> None:
    pictures = [path for path in (DOCS / "gallery").iterdir() if path.suffix in (".webp", ".png", ".jpg", ".gif")]
    sizes = [path.stat().st_size for path in pictures]
    assert max(sizes, default=0) < LARGEST and sum(sizes) < ALL
    text = "".join(page.read_text() for page in PAGES)
    assert [path.name for path in pictures if path.name not in text] == []


@pytest.mark.slow
def test_the_site_builds_without_complaint() -> None:
    zensical = Path(sys.executable).with_name("zensical")
    if not zensical.exists() and shutil.which("zensical") is None:
        pytest.skip("zensical is not installed: make docs")
    done = subprocess.run([zensical, "build"], cwd=ROOT, capture_output=True, text=True, env={"NO_COLOR": "1"})
    assert done.returncode == 0 and "No issues found" in done.stdout + done.stderr, done.stdout + done.stderr
    assert 'class="doc doc-heading"' in (ROOT / "site/api/index.html").read_text()  # docstrings were read


def test_the_smoke_recipe_is_as_long_as_the_page_says() -> None:
    row = next(line for line in (DOCS / "training.md").read_text().splitlines() if line.startswith("| `tiny_smoke`"))
    assert f"{recipe('tiny_smoke').optim.steps} steps" in row
