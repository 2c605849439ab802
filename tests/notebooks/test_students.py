"""The walkthroughs' student copies are their teacher's copies without the solutions."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
spec = importlib.util.spec_from_file_location("students", ROOT / "tools" / "students.py")
students = importlib.util.module_from_spec(spec)
spec.loader.exec_module(students)


@pytest.fixture
def folder(tmp_path):
    """A folder of notebooks with one teacher's copy that has been run."""
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell("# Title"), v4.new_code_cell("x = 1"), v4.new_markdown_cell("## Exercises"),
             v4.new_code_cell("print(x)"), v4.new_code_cell("seeds = [0]")]  # fmt: skip
    for i, cell in enumerate(cells):
        cell.id = str(i)
    cells[3].metadata["tags"] = ["solution"]
    cells[3].outputs = [v4.new_output("stream", text="1\n")]
    cells[1].execution_count = 7
    cells[1].metadata["execution"] = {"started": "today"}
    cells[4].metadata["tags"] = ["parameters"]
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    teacher = v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "mine", "display_name": "Mine"}})
    nbformat.write(teacher, tmp_path / "notebooks" / "solutions" / "01_x.ipynb")
    return tmp_path / "notebooks"


def test_the_student_gets_all_but_the_solutions_and_no_outputs(folder, capsys):
    assert students.main([], folder) == 0
    copy = nbformat.read(folder / "01_x.ipynb", 4)
    nbformat.validate(copy)
    assert [cell.id for cell in copy.cells] == ["0", "1", "2", "4"]
    assert copy.cells[1].execution_count is None and not copy.cells[1].metadata
    assert copy.cells[3].metadata.tags == ["parameters"] and copy.metadata.kernelspec.name == "python3"
    teacher = nbformat.read(folder / "solutions" / "01_x.ipynb", 4)
    assert [cell.id for cell in teacher.cells] == ["0", "1", "2", "3", "4"]
    assert not teacher.cells[3].outputs and teacher.cells[3].metadata.tags == ["solution"]
    assert capsys.readouterr().out.count("written") == 2
    assert students.main([], folder) == 0 and capsys.readouterr().out == ""  # nothing left to do


def test_what_is_out_of_step_is_named_and_left_alone(folder, capsys):
    students.main([], folder)
    path = folder / "01_x.ipynb"
    changed = path.read_text().replace("# Title", "# Another")
    path.write_text(changed)
    capsys.readouterr()
    assert students.main(["--check"], folder) == 1
    assert capsys.readouterr().out == "notebooks/01_x.ipynb: out of step\n"
    assert path.read_text() == changed


def test_the_copies_in_this_repository_are_in_step(capsys):
    assert students.main(["--check"]) == 0, capsys.readouterr().out
