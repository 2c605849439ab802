"""The tables of docs/robustness.md, from the figures in reports/published: `python tests/robustness/page.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from cqlib.util.files import write_atomic  # noqa: E402
from cqlib.util.paths import PUBLISHED, ROOT  # noqa: E402
from cqlib.util.text import fill_sections, markdown_table  # noqa: E402

FILE = ROOT / "docs" / "robustness.md"


def render(text: str, folder: Path = PUBLISHED) -> str:
    """The page's `text` with both parts rendered anew."""
    faults, inputs = (json.loads((folder / f"robustness_{name}.json").read_text()) for name in ("faults", "inputs"))
    return fill_sections(text, {"faults": _faults(faults), "inputs": _inputs(inputs)})


def _faults(figures: dict[str, Any]) -> str:
    lines = []
    for name, fault in figures["faults"].items():
        times = f"{fault['struck']:,}" if fault["struck"] else next(iter(fault["outcomes"]), "0")
        if fault["not_as_expected"]:
            times += f", {fault['not_as_expected']} not as expected"
        lines.append([name, times, fault["kept"], fault["said"], str(fault["exit_code"])])
    struck = sum(fault["struck"] for fault in figures["faults"].values())
    return (
        f"`python tests/robustness/faults.py` (commit {figures['commit'][:7]}), {struck:,} faults at random moments, "
        f"{figures['kills']:,} of them signals to a process: {figures['lost_finished_rows']} finished rows lost, "
        f"{figures['differing_records']} records that differ in metrics, config or steps, "
        f"{figures['not_as_expected']} outcomes not as expected.\n\n"
        + markdown_table(["fault", "times", "what is kept", "what is said", "exit code"], lines)
    )


def _inputs(figures: dict[str, Any]) -> str:
    total = figures["total"]
    columns = ["inputs", "result", "one line"]
    names = [name for name in total if name not in columns]
    wrong = ", ".join(f"{total[name]:,} {name}" for name in names)
    lines = [[kind["about"], *(f"{kind[name]:,}" for name in (*columns, *names))] for kind in figures["kinds"].values()]
    return (
        f"`python tests/robustness/bad_input.py` (commit {figures['commit'][:7]}), {total['inputs']:,} inputs drawn by "
        f"hypothesis: {wrong}.\n\n"
        + markdown_table(["kind", *columns, *names], lines)
    )


if __name__ == "__main__":
    write_atomic(FILE, render(FILE.read_text()))
