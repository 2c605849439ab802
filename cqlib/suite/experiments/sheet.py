"""The recipe sheet: every value of an experiment on a line of its own, in the form that `--set` takes, and the size of
each net."""

from collections.abc import Iterator
from typing import Any

from cqlib.suite.experiments.changes import leaves
from cqlib.suite.experiments.experiment import Experiment, experiment, net_sizes


def sheet(e: Experiment) -> Iterator[str]:
    """The lines of the sheet. Remarks behind a value give the value before a change, and that of `paper`. UsageError if
    the nets cannot be built."""
    counts = net_sizes(e)
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
    total, critic = counts.pop("total"), counts.pop("critic", 0)
    yield f"# parameters: {total:,} ({', '.join(f'{name} {n:,}' for name, n in counts.items())}); critic {critic:,}"


def _text(value: Any) -> str:
    """A value in the form that `--set` takes: "32,64,128", "true", "none"."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool | None) else str(value)
