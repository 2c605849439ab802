"""The shape of the package: few rooms, files that are read in one sitting, imports that go down, never round."""

from __future__ import annotations

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cqlib"
FILE_LINES = 340


def test_the_core_knows_nothing_of_the_suite_and_imports_go_down():
    """The layers are in pyproject.toml, `[tool.importlinter]`."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_itself_through_others():
    """Imports within functions count too."""
    graph = grimp.build_graph("cqlib", "benchmarks", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # CycleError, with the circle


def test_few_rooms_and_no_long_file():
    entries = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert len(entries - {"__init__.py", "__main__.py"}) <= 12
    lengths = {file: len(file.read_text().splitlines()) for file in PACKAGE.rglob("*.py")}
    assert [str(file.relative_to(ROOT)) for file, lines in lengths.items() if lines > FILE_LINES] == []


@pytest.mark.slow
def test_types():
    """As `[tool.mypy]` of pyproject.toml says. What has not changed since the last time comes from .mypy_cache/."""
    command = [sys.executable, "-m", "mypy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
