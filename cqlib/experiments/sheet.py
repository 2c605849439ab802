"""The recipe sheet: each value of an experiment on a line of its own, as `--set` takes it, and the size of each net."""

from collections.abc import Iterator
from typing import Any

from cqlib.experiments.changes import leaves
from cqlib.experiments.experiment import Experiment, experiment
from cqlib.models.registry import parameter_counts


def sheet(e: Experiment) -> Iterator[str]:
    """The lines of the sheet. Remarks behind a value say what it was changed from, and what `paper` has instead."""
    yield f"# {e.title}, profile {e.profile}, {e.size}x{e.size} pixels"
    plain = dict(leaves(experiment(e.row, e.profile, e.data, e.seed).recipe))
    paper = dict(leaves(experiment(e.row, "paper").recipe))
    lines = [(f"{path} = {_text(value)}", path, value) for path, value in leaves(e.recipe)]
    width = max(len(line) for line, *_ in lines)
    for line, path, value in lines:
        remarks = [f"changed from {_text(plain[path])}"] if path in e.changes else []
        if path not in paper:
            remarks.append("not in paper")
        elif paper[path] != value:
            remarks.append(f"paper: {_text(paper[path])}")
        yield f"{line:<{width}}  # {'; '.join(remarks)}" if remarks else line
    counts = parameter_counts(e.recipe.system)
    total, critic = counts.pop("total"), counts.pop("critic", 0)
    yield f"# parameters: {total:,} ({', '.join(f'{name} {n:,}' for name, n in counts.items())}); critic {critic:,}"


def _text(value: Any) -> str:
    """A value as `--set` takes it: "32,64,128", "true", "none"."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool | None) else str(value)
