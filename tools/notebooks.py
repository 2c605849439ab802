"""What notebooks have in common, written from one place: the students' copies and the solutions'.

    python tools/notebooks.py            write what is out of step
    python tools/notebooks.py --check    write nothing; exit code 1 and one line per notebook that is out of step

The `runs_dir` of a notebook is the path from its own folder to the project's runs. Solutions are cells tagged
`solution` in the teacher's file, notebooks/solutions/NAME.ipynb. For a lesson (01 to 06), edit that file, which has the
whole notebook; the student's, notebooks/NAME.ipynb, is written from it without the solutions, and with an empty cell
under each exercise. For any other notebook, edit the student's; its parameters, the next cell of code and the exercises
are written into the teacher's, before the solutions that are there. No notebook has outputs.

The method in examples/cqf.py, between its two marks, is written from the cells tagged `example` of lesson 06.

notebooks/lecture.ipynb is written from the lessons: cells tagged `lecture` are on its slides, and those tagged `setup`
run without being shown.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
SOLUTION, EXAMPLE, PARAMETERS, FOLDED = "solution", "example", "parameters", "folded"
SLIDE, SETUP = "lecture", "setup"
"""Tags of cells. JupyterLab folds parameters, and what is tagged `folded`."""
TAUGHT = "06_cqf_put_together.ipynb", Path("examples", "cqf.py")
"""A lesson, and the file that has the same code."""
MARKS = re.compile(r"(?<=written by tools/notebooks.py\n\n\n).*(?=\n\n\n# The end of the cells)", re.DOTALL)
"""What lies between the marks in that file."""
LESSON = re.compile(r"\d\d_")
EXERCISE = re.compile(r"^(\d+)\. ★", re.MULTILINE)
LECTURE = "lecture.ipynb"
OPENING = """\
# Coverage and quality

A lecture of two times 45 minutes, made of cells of the lessons: 01 and 02 before the break, 03 to 06 after it.

- Which mistakes does a likelihood forgive, and which does a critic forgive?
- Why do samples of a VAE look grainy, and what does an invertible network change?
- What does one model do that has to serve both losses?"""
ANSWERS = """\
# Solutions: {title}

The exercises of [{name}](../{name}), and after them their solutions, which need no other cells than these. Nothing is
trained."""
TRAIN = re.compile(r"^train = True", re.MULTILINE)
RUNS = re.compile(r'^runs_dir = "(\.\./)+runs"', re.MULTILINE)


def stripped(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """`notebook` itself, the file `name` below notebooks/, without outputs, execution counts and whatever the last run
    left in its metadata."""
    depth = len(Path("notebooks", name).parent.parts)
    for i, cell in enumerate(notebook.cells):
        cell.id = str(i)
        if cell.cell_type == "code":
            cell.source = RUNS.sub(f'runs_dir = "{"../" * depth}runs"', cell.source)
            cell.outputs, cell.execution_count = [], None
        tags = cell.metadata.get("tags", [])
        folded = {"jupyter": {"source_hidden": True}} if {PARAMETERS, FOLDED} & set(tags) else {}
        cell.metadata = nbformat.from_dict({**folded, "tags": tags} if tags else {})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def student(teacher: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """`teacher` without its solutions; `teacher` stays as it is."""
    copy = nbformat.from_dict(teacher)
    asked = [cell for cell in copy.cells if SOLUTION not in cell.metadata.get("tags", [])]
    copy.cells = []
    for cell in asked:
        cell.source = cell.source.replace("](../../", "](../")  # links from the folder above
        copy.cells.append(cell)
        copy.cells += [new_code_cell(f"# exercise {number}") for number in EXERCISE.findall(cell.source)]
    return stripped(copy, name)


def lecture(lessons: Iterable[nbformat.NotebookNode]) -> nbformat.NotebookNode:
    """The cells of `lessons` that are tagged for it. A heading begins a slide, a text without one a slide below it, and
    a picture stands under the text before it."""
    chosen = {SLIDE, SETUP, PARAMETERS}
    book = nbformat.v4.new_notebook()
    book.cells = [new_markdown_cell(OPENING)]
    for lesson in lessons:
        book.cells += [nbformat.from_dict(c) for c in lesson.cells if chosen & set(c.metadata.get("tags", []))]
    for cell in stripped(book, LECTURE).cells:
        hidden = {PARAMETERS, SETUP} & set(cell.metadata.get("tags", []))
        heading = cell.source.startswith("#") and cell.cell_type == "markdown"
        kind = "skip" if hidden else "slide" if heading else "subslide" if cell.cell_type == "markdown" else "-"
        cell.metadata["slideshow"] = {"slide_type": kind}
        if kind == "-" and isinstance(ast.parse(cell.source).body[-1], ast.Expr):  # it shows something
            cell.metadata |= {"jupyter": {"source_hidden": True}, "transient": {"remove_source": True}}  # for nbconvert
    return book


def example(teacher: nbformat.NotebookNode, text: str) -> str:
    """The file `text` with the lesson's cells tagged `example` between its marks."""
    cells = [cell.source for cell in teacher.cells if EXAMPLE in cell.metadata.get("tags", [])]
    written, marks = MARKS.subn(lambda _: "\n\n\n".join(cells), text)
    if marks != 1:
        sys.exit(f"{TAUGHT[1]}: the marks between which the lesson's cells are written are missing")
    return written


def answers(book: nbformat.NotebookNode, teacher: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The teacher's copy of a notebook that is no lesson: of `book` the parameters if it has any, the first cell of
    other code and the exercises, then the solutions of `teacher`."""
    copy, solutions = nbformat.from_dict(book), nbformat.from_dict(teacher).cells
    introduction, *cells = copy.cells
    parameters = [cell for cell in cells if PARAMETERS in cell.metadata.get("tags", [])]
    first = next(cell for cell in cells if cell.cell_type == "code" and cell not in parameters)
    for cell in parameters:
        cell.source = TRAIN.sub("train = False", cell.source)
    cells[-1].source = cells[-1].source.replace("](../", "](../../")  # links from a folder that is deeper
    title = introduction.source.splitlines()[0].removeprefix("# ")
    copy.cells = [new_markdown_cell(ANSWERS.format(title=title, name=name)), *parameters, first, cells[-1]]
    copy.cells += [cell for cell in solutions if SOLUTION in cell.metadata.get("tags", [])]
    return stripped(copy, f"solutions/{name}")


def wanted(folder: Path) -> dict[Path, str]:
    """Path of each notebook, and of the example -> the text that the file should have."""
    teachers = sorted((folder / "solutions").glob("*.ipynb"))
    books = {path: stripped(nbformat.read(path, 4), path.name) for path in sorted(folder.glob("*.ipynb"))}
    for path in teachers:
        teacher = nbformat.read(path, 4)
        if LESSON.match(path.name):
            books[folder / path.name] = student(teacher, path.name)
            books[path] = stripped(teacher, f"solutions/{path.name}")
        elif folder / path.name not in books:
            problem = f"there is no notebook of that name in {folder.name}: rename or delete it"
            sys.exit(f"{path.relative_to(folder.parent)}: {problem}")
        else:
            books[path] = answers(books[folder / path.name], teacher, path.name)
    books[folder / LECTURE] = lecture(books[path] for path in sorted(folder.glob("*.ipynb")) if LESSON.match(path.name))
    texts = {path: nbformat.writes(book) + "\n" for path, book in books.items()}
    lesson, file = folder / "solutions" / TAUGHT[0], folder.parent / TAUGHT[1]
    if lesson in books:
        texts[file] = example(books[lesson], file.read_text(encoding="utf-8"))
    return texts


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write what is out of step in `folder`, or check it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is out of step")
    check = parser.parse_args(argv).check
    stale = 0
    for path, content in wanted(folder).items():
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            continue
        stale += 1
        print(f"{path.relative_to(folder.parent)}: {'out of step' if check else 'written'}")
        if not check:
            path.write_text(content, encoding="utf-8")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
