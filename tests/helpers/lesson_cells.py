"""Cells of the lessons' notebooks, run by themselves."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).resolve().parent.parent.parent / "notebooks"


def sources(lesson: str) -> list[str]:
    """The code of a notebook ("01"), cell by cell."""
    (path,) = FOLDER.glob(f"{lesson}*.ipynb")
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def run_cells(lesson: str, texts: Sequence[str], **names: Any) -> dict[str, Any]:
    """All names after the cells of a notebook ("01") that contain one of `texts` each, run one after the other with the
    notebook's imports and with `names`; "_" is the value that the last one shows, if any."""
    code = sources(lesson)
    chosen = [source for text in texts for source in code if text in source]
    assert len(chosen) == len(texts), f"not exactly one cell for each of {texts}"
    body = [node for source in code for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    for source in chosen:
        body += ast.parse(source).body
    if isinstance(body[-1], ast.Expr):
        body[-1] = ast.Assign([ast.Name("_", ast.Store())], body[-1].value)
    tree = ast.fix_missing_locations(ast.Module(body, []))
    exec(compile(tree, f"lesson {lesson}", "exec"), names)
    return names
