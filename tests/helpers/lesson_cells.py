"""Cells of the lessons' notebooks, run by themselves."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).resolve().parent.parent.parent / "notebooks"


def run_cell(lesson: str, text: str, **names: Any) -> dict[str, Any]:
    """All names after the one cell of a notebook ("01") that contains `text`, run with the notebook's imports and with
    `names`; "_" is the value that the cell shows, if any."""
    (path,) = FOLDER.glob(f"{lesson}*.ipynb")
    sources = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    imports = [
        node for source in sources for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    (body,) = [ast.parse(source).body for source in sources if text in source]
    if isinstance(body[-1], ast.Expr):
        body[-1] = ast.Assign([ast.Name("_", ast.Store())], body[-1].value)
    tree = ast.fix_missing_locations(ast.Module([*imports, *body], []))
    exec(compile(tree, str(path), "exec"), names)
    return names
