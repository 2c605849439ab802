"""What the notebooks of tables and figures share: finished runs, trained models, tables, sample grids, curves."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from IPython.display import HTML

from cqlib import data as data_sets
from cqlib.data.grids import tiles, unscaled
from cqlib.data.published import missing_files
from cqlib.metrics import evaluation
from cqlib.metrics.bpd import bits_per_dimension, held_out_nll
from cqlib.models.base import LikelihoodSystem, System
from cqlib.suite import cells
from cqlib.suite.cells import picture
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.load import ModelAndData, model_of
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import marker_numbers, short_label
from cqlib.suite.experiments.selection import Selection
from cqlib.suite.figures.strips import strips
from cqlib.suite.report import details, page, pictures, plots, tables
from cqlib.suite.report.findings import cards, matrix
from cqlib.suite.report.groups import Group, groups, local_first, most_complete_by, side_by_side
from cqlib.util import text
from cqlib.util.errors import UserError

signed = partial(text.signed, digits=3)
"""A difference with its sign: "+0.012" or "−0.012"."""


def most_complete(rows: Sequence[str], sets: Sequence[Group]) -> Group:
    """The group in `sets` with runs of most of `rows`; of equals the nearest. UserError if there is none."""
    return most_complete_by(sets, lambda runs: sum(bool(runs.records_of(row)) for row in rows))


def groups_for(rows: Sequence[str], records: Sequence[Record], profile: str) -> list[Group]:
    """The groups that a notebook of a table is about: this machine's under `profile`, beside each the published one
    of its data set and profile; without any, the group of `side_by_side` with most of `rows`; where no group has
    any of `rows`, all there are."""
    every = sets_of(records)
    shown = side_by_side(every, rows, profile)
    local = [sets for sets in shown if any((runs.origin, runs.profile) == ("local", profile) for runs in sets)]
    return [runs for sets in local or shown[:1] or [every] for runs in sets]


def trained_models(selection: Selection) -> dict[str, ModelAndData]:
    """Short label -> trained model and its images, as chosen, or, without any, of the default run, which is published.
    UserError if there is none."""
    if not (models := selection.find()):
        raise UserError(f"there is no trained model yet: python -m cqlib train {selection.rows[0]}")
    for one in models.values():
        one.model.requires_grad_(False)
    return {one.name: one for one in models.values()}


def models(rows: Sequence[str], runs: Group, runs_dir: Path | str, *, required: bool = False) -> dict[str, System]:
    """Short label -> trained model, for the first seed of each of `rows` that has runs. Rows whose weights are missing
    are left out, or, if `required`, are a UserError with the command that trains them."""
    systems = {}
    for row in rows:
        for record in runs.done(row)[:1]:
            with suppress(*(() if required else (UserError,))):
                systems[short_label(row)] = model_of(record, runs_dir)
    return systems


def draw(model: System, n: int) -> torch.Tensor:
    """n samples as uint8 (n, C, H, W), the same ones whenever this is called."""
    return evaluation.draw_samples(model, n, seed=0)


def bits(model: LikelihoodSystem, images: torch.Tensor) -> torch.Tensor:
    """Bits per dimension of uint8 images (N, C, S, S), by the bound of one draw: (N,) float64."""
    return bits_per_dimension(held_out_nll(model, images), images[0].numel())


def sets_of(records: Sequence[Record]) -> list[Group]:
    """The groups of `records` and of the published ones."""
    return groups(records, page.published_records())


def table(name: str, sets: Sequence[Group], profile: str) -> HTML:
    """Table "table1", "table2" or "table3": the paper beside these groups, and what `profile` has not trained yet."""
    (paper_table,) = (item for item in paper.TABLES if item.id == name)
    commands = tables.missing(paper_table, sets, profile, published_only=False)
    return HTML(page.macro("paper_table", tables.view(paper_table, sets, commands)))


def claims(name: str, sets: Sequence[Group]) -> HTML:
    """The tested claims whose ids begin with `name` on these groups, those that do not hold first; changes of recipes
    that leave some rows as they are stand in columns only where nothing else tests a claim."""
    tested = matrix(cards(sets, name), [runs for runs in sets if not runs.unaffected])
    return HTML(page.macro("claim_matrix", tested) if tested.columns else "<p>No claim has been tested yet.</p>")


def not_reproduced(table: str, records: Sequence[Record]) -> HTML:
    """Which of the paper's claims whose ids begin with `table` did not come out, and what is missing, in sentences."""
    sets = sets_of(records)
    return HTML(page.macro("shortfalls", sets, cards(sets, table)))


def digits(rows: Sequence[str], sets: Sequence[Group]) -> HTML:
    """Which digits the samples of `rows` show, as a classifier counts them."""
    lines = details.digit_lines(sets, rows)
    none = "<p>No digits were counted: they are on photodigits alone.</p>"
    return HTML(page.macro("digit_table", lines) if lines else none)


def costs(rows: Sequence[str], sets: Iterable[Group]) -> HTML:
    """Parameters, critics and time of `rows`."""
    lines = details.costs(list(sets), rows)
    return HTML(page.macro("cost_table", lines) if lines else "<p>Nothing to show yet.</p>")


def baselines(table: str, sets: Sequence[Group]) -> HTML:
    """A table's rows against an untrained copy, Gaussian pixels and a histogram per pixel."""
    lines = details.baselines(sets, paper.row_ids(table))
    return HTML(page.macro("baseline_table", lines)) if lines else _nothing(table)


def _nothing(table: str) -> HTML:
    """That a table's rows have nothing to show yet, with the command."""
    return HTML(f"<p>Nothing to show yet: <code>./run_all.sh --only {table}</code> trains the rows.</p>")


def real_images(runs: Group, n: int, data_dir: Path | str | None = None) -> dict[str, torch.Tensor]:
    """The first n test images of a group's data as {"real images": …}, uint8 (n, C, S, S); {} where the data is not
    on this machine or cannot be read. Nothing is downloaded for a picture."""
    if missing_files(runs.data, data_dir):
        return {}
    with suppress(UserError):
        return {"real images": data_sets.load(runs.data, size=runs.size, data_dir=data_dir).test.images[:n]}
    return {}


def samples(systems: Mapping[str, System], runs: Group, data_dir: Path | str | None = None, n: int = 25) -> HTML:
    """Real test images, then samples of every system."""
    images = real_images(runs, n, data_dir) | {label: draw(system, n) for label, system in systems.items()}
    return picture(plots.sample_board({"": images}, columns=round(n**0.5)), f"Samples: {', '.join(images)}")


def stored_samples(runs: Group, row: str, runs_dir: Path | str, n: int) -> torch.Tensor | None:
    """The first n samples in the grid of a row's first seed, uint8 (n, 3, S, S), or None."""
    for run in runs.done(row)[:1]:
        if file := pictures.sample_file(pictures.samples_folder(runs, runs_dir) / run.folder):
            return tiles(unscaled(file.read_bytes(), runs.size), runs.size)[:n]
    return None


def sheet(table: str, runs: Group, runs_dir: Path | str, data_dir: Path | str | None = None, n: int = 10) -> HTML:
    """One sheet: n real test images, then as many stored samples of each row of the table, of its first seed."""
    stored = {short_label(row): stored_samples(runs, row, runs_dir, n) for row in paper.row_ids(table)}
    rows = {label: images for label, images in stored.items() if images is not None}
    if not rows:
        return _nothing(table)
    return picture(strips(real_images(runs, n, data_dir) | rows), f"Real images, then samples of {', '.join(rows)}")


def curves(table: str, runs: Group, name: str) -> HTML:
    """The learning curves called `name` of a table's rows; `Record.curve` holds a run's curves by name."""
    rows = paper.row_ids(table)
    series = {short_label(row): lines for row in rows if (lines := pictures.curves(runs.done(row), name))}
    if not series:
        return _nothing(table)
    levels, marks = pictures.levels(name), marker_numbers(rows)
    figure = plots.learning_curves(series, ylabel=pictures.axis(name), marks=marks, levels=levels)
    alt = f"{name} over training steps for {', '.join(series)}"
    drawn = pictures.plot(figure, alt, f"{name}, {plots.describe_lines(series)}.")
    return cells.figures([drawn])


def quality(title: str, rows: Sequence[str], sets: Iterable[Group]) -> HTML:
    """BPD against the Fréchet distance for `rows`, means over seeds, in every one of `sets`, the nearest first."""
    figures = [figure for runs in local_first(list(sets)) for figure in pictures.quality(runs, rows, title)]
    return cells.figures(figures) if figures else HTML("<p>No two models have measured both yet.</p>")
