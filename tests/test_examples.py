"""What a newcomer runs first: the examples, the notebook, and the code and commands quoted in the documentation.

Choices
- Examples run as a user runs them, in a process and an empty folder of their own, with random `tiny` weights; each must
  print the fact that it is there to show.
- Quoted Python must compile and name things that exist; quoted commands must be verbs with options that exist.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
NOTEBOOK = ROOT / "examples" / "openmore_quickstart.ipynb"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TINY = ["--weights", "untrained:tiny"]

slow = pytest.mark.slow


def run(script: Path, arguments: list[str], folder: Path) -> str:
    """Standard output of a script run in `folder`."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def number(pattern: str, text: str) -> float:
    """The number that a pattern's group catches."""
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return float(found.group(1))


# -- examples --------------------------------------------------------------------------------------------------------


@slow
def test_the_demo_measures_itself(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "01_demo.py", [], tmp_path)
    for pattern in (r"depth AbsRel +(\S+)", r"rotation error +(\S+)", r"motion mask IoU +(\S+)"):
        assert number(pattern, out) >= 0
    assert (tmp_path / "demo_out/scene/preview.png").is_file()


def test_exports_are_read_back(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "02_reconstruct_and_export.py", [*TINY, "--keep-movers"], tmp_path)
    for name in ("colmap", "nerfstudio"):
        assert number(rf"{name} .*differ by (\S+) at most", out) < 1e-6


def test_a_stream_resumes(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "03_streaming.py", TINY, tmp_path)
    assert "equal bit for bit" in out and "5 of 14 frames had been evicted" in out


def test_the_synthetic_world_survives_files(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "04_synthetic_world.py", [], tmp_path)
    assert "flow_backward" in out and "bit: NO" not in out
    assert number(r"cameras differ by (\S+) at most", out) < 1e-6
    assert (tmp_path / "out/04_world/truth.png").is_file()


def test_masks_from_truth_are_nearly_the_truth(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "05_motion_masks.py", [], tmp_path)
    assert number(r"exact regions +IoU ([\d.]+)", out) > 0.9


@slow
def test_training_resumes_and_its_weights_load(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "06_train_tiny.py", ["--steps", "4"], tmp_path)
    assert "finished at step 4: the second run went on from step 2" in out and "the weights load and run" in out


def test_a_trajectory_has_the_errors_put_in(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "07_evaluate_a_trajectory.py", [], tmp_path)
    assert number(r"sim3 +([\d.]+)", out) == pytest.approx(number(r"Put in: ATE ([\d.]+)", out), rel=0.15)


def test_attention_is_drawn(tmp_path: Path) -> None:
    out = run(ROOT / "examples" / "08_attention_maps.py", TINY, tmp_path)
    assert out.count("ratio") == 8 and (tmp_path / "out/08_attention/attention.png").is_file()


def test_every_example_has_a_test() -> None:
    tested = set(re.findall(r'"(\d\d_\w+\.py)"', Path(__file__).read_text()))
    assert set(EXAMPLES) == tested


@slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells), "commit the notebook without outputs"
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    script = tmp_path / "notebook.py"
    script.write_text(code.replace('WEIGHTS = "small"', 'WEIGHTS = "untrained:tiny"'))
    assert "cameras" in run(script, [], tmp_path)


# -- quoted Python ---------------------------------------------------------------------------------------------------


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    """(page, code) of every fenced block of a language; "" for blocks without one."""
    for page in PAGES:
        for code in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield page, code


@pytest.mark.parametrize(
    ("page", "code"), [pytest.param(*found, id=f"{found[0].name}-{i}") for i, found in enumerate(blocks("python"))]
)
def test_quoted_python_names_things_that_exist(page: Path, code: str) -> None:
    tree = ast.parse(code)
    names: dict[str, object] = {"openmore": import_module("openmore")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: import_module(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = import_module(node.module)
            names |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            resolve(node, names)


def resolve(node: ast.expr, names: dict[str, object]) -> object | None:
    """The object a dotted name stands for if it begins with an import; AttributeError when a module lacks it."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    owner = resolve(node.value, names)
    if isinstance(owner, ModuleType) and hasattr(owner, "__path__") and find_spec(f"{owner.__name__}.{node.attr}"):
        return import_module(f"{owner.__name__}.{node.attr}")
    return getattr(owner, node.attr) if isinstance(owner, ModuleType | type) else None


# -- quoted commands -------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[Path, str]]:
    """(page, command line) of everything that begins with `openmore` in blocks and in inline code."""
    for page in PAGES:
        text = page.read_text()
        fenced = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
        for line in [*lines, *re.findall(r"`(openmore [^`\n]+)`", text)]:
            if re.match(r"(\.venv/bin/)?openmore [a-z]", line.strip()):
                yield page, line.strip()


@pytest.mark.parametrize(
    ("page", "line"), [pytest.param(*found, id=f"{found[0].name}-{i}") for i, found in enumerate(commands())]
)
def test_quoted_commands_exist(page: Path, line: str) -> None:
    from typer.main import get_command

    from openmore.cli.main import app

    command: object = get_command(app)
    for word in line.partition("#")[0].split()[1:]:
        if word in ("|", "&&", ";", ">"):
            break
        verbs = getattr(command, "commands", {})
        if word.startswith("-"):
            known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}  # type: ignore[attr-defined]
            assert word.split("=")[0] in known, f"{page.name}: {line!r} uses {word}, which is not an option"
        elif verbs:
            assert word in verbs, f"{page.name}: {line!r} uses {word}, which is not a verb"
            command = verbs[word]
