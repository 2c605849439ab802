"""The notebooks as they are committed, and one real run of each under `smoke`."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from scripts import script

from cqlib.suite.cli.notebooks import Job, execute, parameter_names
from cqlib.suite.cli.tasks import thread_limits
from cqlib.suite.experiments.rows import notebooks
from cqlib.suite.notebook_page import notebook_page

FOLDER = Path(__file__).resolve().parent.parent.parent / "notebooks"
BOOKS = sorted(notebooks().values())
TEACHERS = sorted(FOLDER.glob("solutions/*.ipynb"))
TAUGHT = {path.stem for path in TEACHERS if path.stem[0].isdigit()}  # lessons
ALL = pytest.mark.parametrize("path", BOOKS + TEACHERS, ids=lambda path: f"{path.parent.stem}/{path.stem}")
TABLE1 = FOLDER / "table1_objectives.ipynb"
OTHERS = [path for path in BOOKS if path.stem not in TAUGHT and path != TABLE1]
RUN = [TABLE1, *OTHERS, *TEACHERS]
FULLEST = pytest.mark.parametrize("path", RUN, ids=lambda path: f"{path.parent.stem}/{path.stem}")
"""Each notebook once: a lesson's student's copy is the teacher's without solutions. Table 1 first: others show its
models."""


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory) -> Path:
    """One folder of runs for all notebooks and all processes of the test run: each row is trained once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke-runs"


def code(path: Path) -> list[str]:
    """The code of a notebook."""
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@ALL
def test_it_is_valid_and_without_outputs(path):
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor) >= (4, 5) and book.metadata.kernelspec.name == "python3"
    assert not [cell for cell in book.cells if cell.get("outputs") or cell.get("execution_count")]
    assert [cell.id for cell in book.cells] == [str(i) for i in range(len(book.cells))]


@ALL
def test_it_uses_each_of_its_parameters(path):
    if path.parent.stem == "solutions" and path.stem not in TAUGHT:
        return  # its parameters are the student's copy's
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    code = "\n".join(cell.source for cell in cells if "parameters" not in cell.metadata.get("tags", []))
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert parameter_names(path) <= used


@FULLEST
def test_every_formula_is_understood_on_its_page(path):
    """The converter leaves a command that it does not know as it stands, with its backslash."""
    book = nbformat.read(path, 4)
    book.cells = [cell for cell in book.cells if cell.cell_type == "markdown"]
    pieces = BeautifulSoup(notebook_page(book, path.parent, path.stem), "html.parser").find_all("math")
    assert (pieces or path in TEACHERS) and not [piece.get_text(" ") for piece in pieces if "\\" in piece.get_text()]


@ALL
def test_it_refuses_a_wrong_profile_or_change(path):
    """Where it takes changes, by making a `Selection` of them, whether or not it trains or reads runs."""
    if "changes" not in parameter_names(path):
        return
    calls = [node for node in ast.walk(ast.parse("\n".join(code(path)))) if isinstance(node, ast.Call)]
    used = [ast.unparse(call) for call in calls if getattr(call.func, "id", "") == "Selection"]
    assert any("profile" in one and "changes" in one for one in used)


@pytest.mark.parametrize("path", TEACHERS, ids=lambda path: path.stem)
def test_each_exercise_has_a_solution(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    text = "\n".join(cell.source for cell in cells)
    solved = [int(number) for number in re.findall(r"^### Solution (\d+):", text, re.MULTILINE)]
    asked = "\n".join(cell.source for cell in cells if "solution" not in cell.metadata.get("tags", []))
    _, exercises = re.split("^## Exercises$", asked, flags=re.MULTILINE)
    assert solved == [int(number) for number in re.findall(r"^(\d+)\. ", exercises, re.MULTILINE)]


def test_each_notebook_has_solutions():
    assert [path.name for path in TEACHERS] == [path.name for path in BOOKS]


def test_students_copies_and_parameters_are_in_step_with_their_source(capsys):
    """`python tools/notebooks.py` writes what is not."""
    assert script("tools/notebooks.py").main(["--check"]) == 0, capsys.readouterr().out
    for path in BOOKS + TEACHERS:
        for runs in re.findall(r'^runs_dir = "(.*?)"', "\n".join(code(path)), re.MULTILINE):
            assert (path.parent / runs).resolve() == FOLDER.parent / "runs"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all notebooks of this process: it imports torch and matplotlib once."""
    manager = AsyncKernelManager(transport="ipc", ip=str(tmp_path_factory.mktemp("kernel") / "socket"))
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


def run_notebook(path: Path, kernel: AsyncKernelManager, parameters: dict) -> nbformat.NotebookNode:
    """The executed notebook. It starts from an empty namespace, whatever the kernel has run before."""
    book = parameterize_notebook(load_notebook_node(str(path)), parameters)
    book.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(book, km=kernel, timeout=None, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env={**os.environ, **thread_limits(1)})
    del book.cells[0]
    return book


def wrong_predictions(book: nbformat.NotebookNode) -> list[str]:
    """What `check` says of the solutions' predictions, where it is not "Right"."""
    cells = [cell for cell in book.cells if cell.cell_type == "code" and "check(predicted, " in cell.source]
    said = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
    assert cells and all("Right" in text for text in said)
    return [line for line in "".join(said).splitlines() if "predicted" in line and "Right" not in line]


@pytest.mark.slow
@FULLEST
def test_it_runs_from_top_to_bottom(path, kernel, smoke_runs):
    """Under smoke on its own data; it trains what no other one has trained."""
    given = {"profile": "smoke", "data": [], "seeds": [0], "runs_dir": str(smoke_runs), "data_dir": None,
             "feature_weights": None}  # fmt: skip
    parameters = {name: value for name, value in given.items() if name in parameter_names(path)}
    if path.stem in ("colourisation", TABLE1.stem):
        parameters["train"] = True
    book = run_notebook(path, kernel, parameters)
    soup = BeautifulSoup(notebook_page(book, path.parent, path.stem), "html.parser")
    text = soup.get_text(" ")
    assert not re.search(r"HBox\(|VBox\(|interactive\(|Traceback", text)
    if path == TABLE1:
        assert "seen once" in text and "This machine" in text
    if path.stem in TAUGHT:
        assert wrong_predictions(book) == []
    for element in soup.find_all(src=True):
        assert element["src"].startswith("data:")


@pytest.mark.slow
def test_table_2_trains_nothing_unless_told_to(tmp_path):
    """As in the default run: published records alone, and commands for what is missing."""
    path = FOLDER / "table2_architectures.ipynb"
    where = {"runs_dir": str(tmp_path / "runs"), "data_dir": None, "feature_weights": None}
    parameters = {"profile": "quick", "data": [], "seeds": [0], **where}
    job = Job(path, parameters, tmp_path / "out" / path.stem, (tmp_path / "runs",))
    execute(job)
    assert not (tmp_path / "runs").exists()
    text = " ".join(BeautifulSoup(job.page.read_text(encoding="utf-8"), "html.parser").get_text(" ").split())
    assert "0 finished here" in text and "--only table2" in text and "Traceback" not in text
