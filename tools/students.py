"""Student copies of the walkthroughs, written from the teacher's copies in notebooks/solutions/.

    python tools/students.py            write notebooks/NAME.ipynb for every notebooks/solutions/NAME.ipynb
    python tools/students.py --check    write nothing; exit code 1 and one line per copy that is out of step

The teacher's copy is the one to edit. The student's is the same without the cells tagged `solution`; neither has
outputs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
TAG = "solution"


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`notebook` itself, without outputs, execution counts and whatever the last run left in its metadata."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cell.metadata = nbformat.from_dict({"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def student(teacher: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`teacher` without its solutions; `teacher` stays as it is."""
    copy = stripped(nbformat.from_dict(teacher))
    copy.cells = [cell for cell in copy.cells if TAG not in cell.metadata.get("tags", [])]
    return copy


def text(notebook: nbformat.NotebookNode) -> str:
    """The notebook as its file has it."""
    return nbformat.writes(notebook) + "\n"


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is out of step")
    check = parser.parse_args(argv).check
    stale = 0
    for source in sorted((folder / "solutions").glob("*.ipynb")):
        teacher = nbformat.read(source, as_version=4)
        wanted = {source: text(stripped(nbformat.from_dict(teacher))), folder / source.name: text(student(teacher))}
        for path, content in wanted.items():
            if path.is_file() and path.read_text(encoding="utf-8") == content:
                continue
            stale += 1
            print(f"{path.relative_to(folder.parent)}: {'out of step' if check else 'written'}")
            if not check:
                path.write_text(content, encoding="utf-8")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
