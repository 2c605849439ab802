"""The notebook on ablations: what each change to a recipe does to the scores of the rows that it changes."""

from pathlib import Path

import numpy as np
from IPython.display import HTML

from cqlib.experiments.ablations import ABLATIONS, CQ_F, FOLDER, PROFILE, PUBLISHED
from cqlib.experiments.record import Record, load_records
from cqlib.experiments.rows import short_label
from cqlib.figures.common import sets_of
from cqlib.metrics.quantities import QUANTITIES, metric_names, score_of, temperatures
from cqlib.report import ablations, page, plots
from cqlib.report.ablations import REPORTED
from cqlib.report.cells import log_scale, panels, picture
from cqlib.report.inference import Welch
from cqlib.report.run_sets import RunSet, fullest_by


def read(runs_dir: Path | str) -> list[Record]:
    """The published runs of ablations, and those below `runs_dir`, which replace published ones of the same name."""
    local, published = (load_records(folder)[0] for folder in (Path(runs_dir) / FOLDER, PUBLISHED))
    return list({record.folder: record for record in (*published, *local)}.values())


def overview(records: list[Record]) -> str:
    """How many of the rows that ablations change have a finished run, in words."""
    variants = {record.variant for record in records if not record.ending}
    changed = {ablation.variant(row) for ablation in ABLATIONS for row in ablation.changes}
    return f"{len(variants & changed)} of {len(changed)} changed rows have a finished run"


def table(records: list[Record], temperature: float) -> HTML:
    """The effects on every score, question by question, with the command for what is missing."""
    return HTML(page.macro("effect_table", ablations.effect_table(ablations.run_set(records), temperature)))


def tables_runs() -> RunSet:
    """The published run set of the ablations' profile with most seeds of CQ-F. UserError if there is none."""
    return fullest_by([runs for runs in sets_of([]) if runs.profile == PROFILE], lambda runs: len(runs.done(CQ_F)))


def detectable(runs: RunSet) -> HTML:
    """The smallest effect that a comparison of two recipes finds in 80 % of all trials, over the number of seeds of
    each (2 to 10): for every score, in units of its margin of equality, by the spread of CQ-F over its seeds."""
    counts, words, lines = range(2, 11), [], {}
    for i, metric in enumerate(REPORTED):
        quantity = QUANTITIES[metric]
        names = [name for name in metric_names(metric, temperatures(metric)[0]) if name in runs.metrics_of(CQ_F)]
        mean = runs.mean(CQ_F, names[0]) if names else None
        if mean is not None and mean.std:
            scale = {"bpd": 1.0, "points": 100.0, "%": 100 / mean.value}[quantity.unit] / quantity.equal
            effects = [scale * like(mean.std, n).detectable for n in counts]
            score = score_of(names[0])
            lines[score] = (counts, effects, *plots.colour_and_marker(i), "-")
            words.append(f"{score} {effects[0]:.1f} with two seeds, {effects[-1]:.1f} with {counts[-1]}")
    where = f"of {short_label(CQ_F)}, {runs.title}"
    if not words:
        return HTML(f"<p>The spread over seeds {where}, is not known yet: it takes two seeds.</p>")
    x, y = "seeds of either recipe", "detectable effect / margin of equality"
    figure = panels({"": lines}, xlabel=x, ylabel=y, width=3.8, height=3.6)
    figure.axes[0].axhline(1, color=plots.FAINT, linestyle="--", linewidth=1)
    figure.axes[0].set_xticks(counts)
    log_scale(figure.axes[0])
    return picture(figure, f"Effects that can be detected, by the spread over seeds {where}: {'; '.join(words)}")


def like(std: float, n: int) -> Welch:
    """A comparison of two rows of n seeds each with that standard deviation."""
    values = np.linspace(-1, 1, n)
    values *= std / values.std(ddof=1)
    return Welch(list(values), list(values))
