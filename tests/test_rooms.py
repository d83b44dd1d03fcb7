"""The house's order: a room imports only rooms above it; `import openmore` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "openmore"

# Top to bottom. A room may import itself and what stands before it.
ROOMS = (
    "errors checks progress cluster threads types geometry io model flow streaming data masks refinement pipeline "
    "training evaluation scale export viewer cli"
).split()
# Doors: imports inside a function that go down on purpose, because the object is the public face of the room below.
DOORS = {("types", "io"), ("types", "export"), ("model", "weights")}


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("openmore."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "openmore":
            rooms.update(alias.name for alias in node.names if alias.name in ROOMS)
        elif isinstance(node, ast.Import):
            rooms.update(a.name.split(".")[1] for a in node.names if a.name.startswith("openmore."))
    return rooms


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


MODULES = sorted(p for p in SOURCE.rglob("*.py") if room_of(p) != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS, f"{room} is not in the plan of the house (docs/design.md): add it to ROOMS on purpose"
    below = {r for r in imported_rooms(path) if ROOMS.index(r) > ROOMS.index(room)}
    assert {(room, r) for r in below} <= DOORS


def test_import_openmore_is_light() -> None:
    heavy = "torch cv2 av trimesh viser transformers roma scipy skimage matplotlib pycolmap".split()
    code = f"import sys, openmore, openmore.cli.main; print([m for m in {heavy!r} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
