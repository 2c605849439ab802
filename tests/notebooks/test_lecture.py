"""The lessons as a class uses them: exercises with room for an answer, and a lecture whose cells run by themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from cqlib.suite.experiments.rows import LECTURE

FOLDER = Path(__file__).resolve().parent.parent.parent / "notebooks"
LESSONS = sorted(FOLDER.glob("0*.ipynb"))
EACH = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
BOOK = nbformat.read(FOLDER / LECTURE, 4)


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


@EACH
def test_each_exercise_has_a_mark_and_an_empty_cell(path):
    cells = nbformat.read(path, 4).cells
    (start,) = [i for i, cell in enumerate(cells) if cell.source.startswith("## Exercises\n")]
    for number, (asked, room) in enumerate(zip(cells[start::2], cells[start + 1 :: 2], strict=True), start=1):
        assert re.findall(r"^(\d+)\. ★{1,3} \S", asked.source, re.MULTILINE) == [str(number)]
        assert room.cell_type == "code" and room.source == f"# exercise {number}"


@EACH
def test_a_prediction_is_made_in_a_cell_of_its_own_before_it_is_checked(path):
    code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    made = [i for i, source in enumerate(code) if source.startswith("predicted = ")]
    checked = [i for i, source in enumerate(code) if "check(predicted, " in source]
    assert made and len(made) == len(checked)
    assert all(i < j for i, j in zip(made, checked, strict=True))
    assert all(j < i for i, j in zip(made[1:], checked[:-1], strict=True))
    for i in made:
        names: dict[str, object] = {}
        exec(code[i], names)
        values = names["predicted"]
        assert not any(values.values()) if isinstance(values, dict) else values is None


def test_the_lecture_is_valid_and_has_the_tagged_cells_of_each_lesson():
    nbformat.validate(BOOK)
    assert [cell.id for cell in BOOK.cells] == [str(i) for i in range(len(BOOK.cells))]
    assert not [cell for cell in BOOK.cells if cell.get("outputs") or cell.get("execution_count")]
    cells = [cell for path in LESSONS for cell in nbformat.read(path, 4).cells]
    tagged = [cell.source for cell in cells if {"lecture", "setup", "parameters"} & set(tags(cell))]
    assert [cell.source for cell in BOOK.cells[1:]] == tagged


def test_slides_show_texts_and_pictures_and_no_code_that_only_prepares():
    kinds = {cell.id: cell.metadata.slideshow.slide_type for cell in BOOK.cells}
    for cell in BOOK.cells[1:]:
        if "lecture" not in tags(cell):
            assert kinds[cell.id] == "skip"
        elif cell.cell_type == "markdown":
            assert kinds[cell.id] == ("slide" if cell.source.startswith("#") else "subslide")
            assert not re.search(r"\n#+ ", cell.source)  # a heading begins a slide
        else:
            assert kinds[cell.id] == "-"
            assert ("plt.show()" in cell.source) <= cell.metadata.get("transient", {}).get("remove_source", False)


@EACH
def test_the_lecture_has_all_that_its_cells_use(path):
    """Each lesson's part by itself: names of another lesson may mean something else."""
    chosen = [cell for cell in nbformat.read(path, 4).cells if {"lecture", "setup", "parameters"} & set(tags(cell))]
    code = "\n\n".join(cell.source for cell in chosen if cell.cell_type == "code")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
