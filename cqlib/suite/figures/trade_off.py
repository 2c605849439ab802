"""The notebook on the trade-off: CQ and CQ-F with more and more weight on the quality loss."""

from dataclasses import replace
from pathlib import Path

from IPython.display import HTML

from cqlib.metrics.quantities import heading
from cqlib.suite import cells
from cqlib.suite.cells import table
from cqlib.suite.experiments.claims import IS_MISLEADS
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import notebook_runs
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.experiments.trade_off import NOTEBOOK
from cqlib.suite.figures.common import sets_of
from cqlib.suite.report import page
from cqlib.suite.report.groups import Group
from cqlib.suite.report.trade_off import (
    CHOSEN_LATE,
    DRAWN,
    figures,
    front_results,
    models,
    most_complete,
    not_trained,
)


def selections(selection: Selection) -> list[Selection]:
    """One selection for each model on the fronts, and the GAN: the row with its lambda, otherwise as chosen."""
    return [replace(selection, rows=(row,), changes={**selection.changes, **changes})
            for row, changes in notebook_runs(NOTEBOOK, selection.profile)]  # fmt: skip


def train(selection: Selection) -> None:
    """Train whatever is missing, one run after the other."""
    for point in selections(selection):
        point.run()


def read(selection: Selection) -> tuple[list[Record], Group]:
    """The finished runs here, and the group with most of the fronts' points: this machine's or the published one."""
    records = [record for point in selections(selection) for record in point.finished()]
    return records, most_complete(sets_of(records), selection.profile)


def pictures(runs: Group, runs_dir: Path | str, more: bool = False) -> HTML:
    """BPD against the paper's distance, with samples of the point that is chosen, or, if `more`, the other scores."""
    panels = [figure for figure in figures(runs, runs_dir) if figure["more"] == more]
    if not panels and not more:
        return HTML(page.macro("sentences", [not_trained(runs)]))
    return cells.figures(panels)


def fronts(runs: Group) -> HTML:
    """What f does at equal bits and at equal distance, whether CQ-F's front dominates, and what the critic costs."""
    found = front_results(runs)
    none = "<p>A front needs three values of λ for both models, with a seed that has them all.</p>"
    return HTML(page.macro("front_table", runs, found) + page.scoped(f"<p>{CHOSEN_LATE}</p>") if found else none)


def points(runs: Group) -> HTML:
    """A line for every point: lambda, BPD, scores, seeds; no IS where it misleads."""
    shown = (quantity for quantity in DRAWN if quantity.id != "is" or runs.data not in IS_MISLEADS)
    scores = [name for quantity in shown for name in quantity.names if name in runs.metrics]
    lines = []
    for label, weight, row in models(runs):
        cells = (runs.cell(row, score) for score in ("BPD", *scores))
        lines.append([label, weight, *cells, str(len(runs.done(row)) or "not trained yet")])
    caption = f"{runs.title}; means ± standard deviations over seeds"
    return table(caption, ["Model", "λ", "BPD ↓", *map(heading, scores), "Seeds"], lines)
