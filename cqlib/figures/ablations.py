"""The notebook on ablations: what each change to a recipe does to the scores of the rows that it changes."""

from pathlib import Path

import numpy as np
from IPython.display import HTML

from cqlib.experiments.ablations import ABLATIONS, CQ_F, FOLDER, PROFILE, PUBLISHED
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import short_label
from cqlib.figures.common import sets_of
from cqlib.metrics.quantities import QUANTITIES, metric_names, temperatures
from cqlib.report import ablations, page, plots
from cqlib.report.ablations import SCORES
from cqlib.report.cells import legend, log_scale, picture, subplots
from cqlib.report.inference import Welch
from cqlib.report.run_sets import RunSet


def read(runs_dir: Path | str) -> list[Record]:
    """The runs of ablations that come with the project, and those in the folder for them beside `runs_dir`'s, which
    replace published ones of the same name."""
    local, published = (load_records(folder)[0] for folder in (Path(runs_dir) / FOLDER, PUBLISHED))
    return [*published, *local]


def overview(records: list[Record]) -> str:
    """How much of it there is, in words."""
    variants = {record.variant for record in records if record.status == "done"}
    changed = {ablation.variant(row) for ablation in ABLATIONS for row in ablation.changes}
    return f"{len(variants & changed)} of {len(changed)} changed rows have a finished run"


def table(records: list[Record], temperature: float) -> HTML:
    """The effects on every score, question by question, with the command for what is missing."""
    return HTML(page.macro("effect_table", ablations.effect_table(records, temperature)))


def tables_runs() -> RunSet:
    """The published run set of the ablations' profile with most seeds of CQ-F."""
    return max((runs for runs in sets_of([]) if runs.profile == PROFILE), key=lambda runs: len(runs.done(CQ_F)))


def detectable(runs: RunSet, row: str = CQ_F, most: int = 10) -> HTML:
    """The smallest effect that so many seeds of either recipe find in 80 % of all trials, for every score, in units of
    its margin of equality; by the spread of a row's published seeds."""
    counts, words = range(2, most + 1), []
    with subplots(4.2, 3.6) as (figure, ax):
        for i, metric in enumerate(SCORES):
            quantity = QUANTITIES[metric]
            names = [name for name in metric_names(metric, temperatures(metric)[0]) if name in runs.metrics_of(row)]
            mean = runs.mean(row, names[0]) if names else None
            if mean is None or not mean.std:
                continue
            scale = {"bpd": 1.0, "points": 100.0, "%": 100 / mean.value}[quantity.unit] / quantity.equal
            effects = [scale * like(mean.std, n).detectable for n in counts]
            (colour, marker), score = plots.mark(i), names[0].partition("@")[0]
            ax.plot(counts, effects, color=colour, marker=marker, markersize=4, label=score)
            words.append(f"{score} {effects[0]:.1f} with two seeds, {effects[-1]:.1f} with {most}")
        ax.axhline(1, color=plots.FAINT, linestyle="--", linewidth=1)
        log_scale(ax)
        ax.set(xlabel="seeds of either recipe", ylabel="detectable effect / margin of equality", xticks=counts)
        if words:
            legend(ax)
    where = f"of {short_label(row)}, {runs.title}"
    if not words:
        return HTML(f"<p>The spread over seeds {where}, is not known yet: it takes two seeds.</p>")
    return picture(figure, f"Effects that can be detected, by the spread over seeds {where}: {'; '.join(words)}")


def like(std: float, n: int) -> Welch:
    """A comparison of two rows of n seeds each with that standard deviation."""
    values = np.linspace(-1, 1, n)
    values *= std / values.std(ddof=1)
    return Welch(list(values), list(values))
