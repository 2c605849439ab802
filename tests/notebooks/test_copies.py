"""Cells for Colab, the same in all notebooks; and students' copies, their teacher's without the solutions."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from scripts import script

ROOT = Path(__file__).resolve().parent.parent.parent
notebooks = script("tools/notebooks.py")


@pytest.fixture
def folder(tmp_path):
    """A folder of notebooks with one teacher's copy that has been run, and a notebook that is no walkthrough."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Title"), v4.new_code_cell("x = 1"), v4.new_markdown_cell("## Exercises"),
             v4.new_code_cell("print(x)"), v4.new_code_cell("seeds = [0]")]  # fmt: skip
    cells[3].metadata["tags"] = ["solution"]
    cells[3].outputs = [v4.new_output("stream", text="1\n")]
    cells[1].execution_count = 7
    cells[1].metadata["execution"] = {"started": "today"}
    cells[4].metadata["tags"] = ["parameters"]
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    teacher = v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "mine", "display_name": "Mine"}})
    nbformat.write(teacher, tmp_path / "notebooks" / "solutions" / "01_x.ipynb")
    nbformat.write(v4.new_notebook(cells=cells[:2]), tmp_path / "notebooks" / "table.ipynb")
    return tmp_path / "notebooks"


def test_the_student_gets_all_but_the_solutions_and_no_outputs(folder, capsys):
    assert notebooks.main([], folder) == 0
    copy = nbformat.read(folder / "01_x.ipynb", 4)
    nbformat.validate(copy)
    assert [cell.source for cell in copy.cells[2:]] == ["# Title", "x = 1", "## Exercises", "seeds = [0]"]
    assert [cell.id for cell in copy.cells] == [*"012345"]
    assert copy.cells[3].execution_count is None and not copy.cells[3].metadata
    assert copy.cells[5].metadata.tags == ["parameters"] and copy.metadata.kernelspec.name == "python3"
    teacher = nbformat.read(folder / "solutions" / "01_x.ipynb", 4)
    assert [cell.id for cell in teacher.cells] == [*"0123456"]
    assert not teacher.cells[5].outputs and teacher.cells[5].metadata.tags == ["solution"]
    assert capsys.readouterr().out.count("written") == 3
    assert notebooks.main([], folder) == 0 and capsys.readouterr().out == ""  # nothing left to do


def test_of_a_notebook_that_is_no_lesson_the_teacher_gets_exercises_and_solutions(folder):
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Figure\n\nA text."), v4.new_code_cell("train = True  # or not\nseeds = [0]"),
             v4.new_markdown_cell("## Runs"), v4.new_code_cell("x = 1"), v4.new_code_cell("print(x)"),
             v4.new_markdown_cell("## Exercises of [losses](../cqlib/losses.py)")]  # fmt: skip
    solution = v4.new_code_cell("print(x + 1)", metadata={"tags": ["solution"]})
    nbformat.write(v4.new_notebook(cells=cells), folder / "figure.ipynb")
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("old"), solution]), folder / "solutions" / "figure.ipynb")
    assert notebooks.main([], folder) == 0 and notebooks.main(["--check"], folder) == 0
    student, teacher = (nbformat.read(folder / part / "figure.ipynb", 4).cells for part in (".", "solutions"))
    assert [cell.source for cell in student[2:]] == [cell.source for cell in cells]
    sources = [cell.source for cell in teacher[3:]]
    exercises = "## Exercises of [losses](../../cqlib/losses.py)"  # a folder deeper
    assert sources == ["train = False  # or not\nseeds = [0]", "x = 1", exercises, "print(x + 1)"]
    assert teacher[2].source.startswith("# Solutions: Figure\n\nThe exercises of [figure.ipynb](../figure.ipynb)")


def test_solutions_of_no_notebook_are_refused_in_one_line_and_nothing_is_written(folder):
    nbformat.write(nbformat.v4.new_notebook(), folder / "solutions" / "renamed.ipynb")
    with pytest.raises(SystemExit, match=r"^notebooks/solutions/renamed.ipynb: there is no notebook of that name .*"):
        notebooks.main([], folder)
    assert not (folder / "01_x.ipynb").exists()


FILE = """import math

# From here on the cells, written by tools/notebooks.py


x = "of before"


# The end of the cells


print(x)
"""


def test_the_example_has_the_code_of_the_lessons_cells(folder, capsys):
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Title"), v4.new_code_cell("def f(): ..."), v4.new_code_cell("f()"),
             v4.new_code_cell(r"x = '\1'")]  # fmt: skip
    for cell in (cells[1], cells[3]):
        cell.metadata["tags"] = ["example"]
    lesson, file = notebooks.TAUGHT
    nbformat.write(v4.new_notebook(cells=cells), folder / "solutions" / lesson)
    path = folder.parent / file
    path.parent.mkdir()
    path.write_text(FILE)
    notebooks.main([], folder)
    assert path.read_text() == FILE.replace('x = "of before"', "def f(): ...\n\n\nx = '\\1'")
    assert notebooks.main(["--check"], folder) == 0
    path.write_text(path.read_text().replace("def f", "def g"))
    capsys.readouterr()
    assert notebooks.main(["--check"], folder) == 1
    assert capsys.readouterr().out == f"{file}: out of step\n"
    path.write_text("x = 1\n")
    with pytest.raises(SystemExit, match="marks"):
        notebooks.main([], folder)


def test_a_lessons_links_lead_to_the_same_place_from_both_copies(folder):
    teacher = nbformat.read(folder / "solutions" / "01_x.ipynb", 4)
    teacher.cells[0].source = "# [Title](../../examples/cqf.py)"
    nbformat.write(teacher, folder / "solutions" / "01_x.ipynb")
    notebooks.main([], folder)
    assert nbformat.read(folder / "01_x.ipynb", 4).cells[2].source == "# [Title](../examples/cqf.py)"


def setup_cell(folder: str = "notebooks") -> str:
    return notebooks.SETUP.format(repository=notebooks.REPOSITORY, folder=folder)


def test_every_copy_sees_the_projects_runs_from_where_it_lies(folder):
    teacher = nbformat.read(folder / "solutions" / "01_x.ipynb", 4)
    teacher.cells[4].source += '\nruns_dir = "elsewhere/runs"  # trained models'
    teacher.cells[1].source = 'runs_dir = "../runs"  # trained models'
    nbformat.write(teacher, folder / "solutions" / "01_x.ipynb")
    notebooks.main([], folder)
    for name, runs in (("01_x", "../runs"), ("solutions/01_x", "../../runs")):
        cells = nbformat.read(folder / f"{name}.ipynb", 4).cells
        assert cells[3].source == f'runs_dir = "{runs}"  # trained models'
        assert 'runs_dir = "elsewhere/runs"' in cells[-1].source
    for path in notebooks.FOLDER.rglob("*.ipynb"):
        (runs,) = re.findall(r'^runs_dir = "(.*?)"', "\n".join(c.source for c in nbformat.read(path, 4).cells), re.M)
        assert (path.parent / runs).resolve() == ROOT / "runs"


def test_every_notebook_begins_with_its_own_badge_and_today_s_setup(folder, monkeypatch):
    notebooks.main([], folder)
    for name in ("01_x", "solutions/01_x", "table"):
        badge, setup, title, *_ = nbformat.read(folder / f"{name}.ipynb", 4).cells
        assert badge.source.endswith(f"/github/your_account/cq-companion/blob/main/notebooks/{name}.ipynb)")
        lies_in = str(Path("notebooks", name).parent)
        assert setup.source == setup_cell(lies_in) and title.source == "# Title"
        assert badge.metadata.tags == setup.metadata.tags == ["colab"]
    monkeypatch.setattr(notebooks, "SETUP", "pass")  # an older one is replaced
    notebooks.main([], folder)
    assert [cell.source for cell in nbformat.read(folder / "table.ipynb", 4).cells[1:]] == ["pass", "# Title", "x = 1"]


def test_the_setup_does_something_on_colab_alone(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    exec(setup_cell(), {})
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(setup_cell(), {})  # cqlib is here
    assert not commands and Path.cwd() == tmp_path
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(setup_cell(), {})
    assert [command[:2] for command in commands] == [["git", "clone"], [sys.executable, "-m"]]
    assert notebooks.REPOSITORY in commands[0] and Path.cwd() == tmp_path / "project" / "notebooks"
    assert sys.path[0] == str(tmp_path / "project")


def test_what_is_out_of_step_is_named_and_left_alone(folder, capsys):
    notebooks.main([], folder)
    path = folder / "01_x.ipynb"
    changed = path.read_text().replace("# Title", "# Another")
    path.write_text(changed)
    capsys.readouterr()
    assert notebooks.main(["--check"], folder) == 1
    assert capsys.readouterr().out == "notebooks/01_x.ipynb: out of step\n"
    assert path.read_text() == changed


def test_the_notebooks_of_this_repository_are_in_step(capsys):
    assert notebooks.main(["--check"]) == 0, capsys.readouterr().out
