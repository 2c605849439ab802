"""What the notebooks show: tables, claims, sample grids, curves and a temperature slider, as HTML in a cell.

Pictures take the colours of the page they stand in, light or dark, and carry a text for screen readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from IPython.display import HTML

from cqlib import data as data_sets
from cqlib.data.grids import grid_png, tiles, unscaled
from cqlib.experiments import paper
from cqlib.experiments import rows as names
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import Record, load_records, slug
from cqlib.experiments.rows import label_of, marks, short_label
from cqlib.experiments.run import PUBLISHED, finished, load
from cqlib.models.base import System
from cqlib.pixels import to_uint8
from cqlib.report import page as report
from cqlib.report import pictures as report_pictures
from cqlib.report import plots, report_tables
from cqlib.report.cells import live, picture
from cqlib.report.pictures import table_rows
from cqlib.report.run_sets import RunSet, run_sets
from cqlib.util.errors import UserError

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0)


def table(name: str, records: Sequence[Record]) -> HTML:
    """Table "table1", "table2" or "table3": the paper, the published records, and `records`."""
    return HTML(report.table_html(name, records))


def claims(name: str, records: Sequence[Record]) -> HTML:
    """The claims of a table with their verdicts on the published records and on `records`."""
    return HTML(report.claims_html(name, records))


def not_reproduced(records: Sequence[Record]) -> HTML:
    """What is missing or did not come out, in sentences."""
    return HTML(report.shortfalls_html(records))


def models(records: Sequence[Record], runs_dir: Path | str) -> dict[str, System]:
    """The trained system of every row, of the first record each, by its label."""
    first = {record.row: record for record in reversed(records)}
    return {
        label_of(record.row): load(
            record.row, profile=record.profile, data=record.data.name, seed=record.seed, runs_dir=runs_dir
        )
        for record in reversed(first.values())
    }


def draw(model: System, n: int, temperature: float = 1.0, seed: int = 0) -> torch.Tensor:
    """n samples as uint8 (n, C, H, W); one seed gives the same latent codes at every temperature."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return to_uint8(model.sample(n, temperature=temperature, generator=generator))


def samples(
    systems: dict[str, System], records: Sequence[Record], data_dir: Path | str | None = None, n: int = 25
) -> HTML:
    """Real test images, then every system at temperature 1 (upper row) and 0 (lower row)."""
    info = records[0].data
    real = data_sets.load(info.name, size=info.shape[-1], data_dir=data_dir and Path(data_dir)).test.images
    rows = {
        f"T = {t}": {"real": real[n * i : n * (i + 1)]} | {k: draw(m, n, t) for k, m in systems.items()}
        for i, t in enumerate((1, 0))
    }
    alt = f"Real test images beside samples of {', '.join(systems)} at temperature 1 and 0"
    return picture(plots.sample_board(rows, columns=round(n**0.5)), alt)


def stored_samples(runs: RunSet, row: str, at: str, runs_dir: Path | str) -> torch.Tensor | None:
    """The samples at "T1" or "T0" that a row's first seed has left, here or published: uint8 (N, 3, S, S), or None.
    Where temperature 0 has none of its own, the decoder adds no noise."""
    folder = _left_in(runs, runs_dir)
    for run in runs.of(row)[:1]:
        place = folder / slug(run.row, run.data.name, run.profile, run.seed)
        file = report_pictures.sample_file(place, at) or report_pictures.sample_file(place, "T1")
        if file is not None:
            return tiles(unscaled(file.read_bytes(), runs.size), runs.size)
    return None


def _left_in(runs: RunSet, runs_dir: Path | str) -> Path:
    """The folder with the folders of these runs' sample grids."""
    return Path(runs_dir) if runs.place == "here" else PUBLISHED / "samples"


def curves(records: Sequence[Record], name: str, table: str = "table1") -> HTML:
    """The learning curves called `name` (a record lists its own) of a table's rows, one line per seed."""
    runs, rows = run_sets(records, [])[0], table_rows(table)
    series = {short_label(row): lines for row in rows if (lines := report_pictures.curves(runs.of(row), name))}
    figure = plots.learning_curves(series, ylabel=report_pictures.axis(name), marks=marks(rows))
    return picture(figure, f"{name} over training steps for {', '.join(series)}")


def likelihood_and_quality(records: Sequence[Record]) -> HTML:
    """BPD against the Fréchet distance for Table 1, at both temperatures, means over seeds."""
    runs = run_sets(records, [])[0]
    rows = [row for row in table_rows("table1") if runs.of(row)]
    return HTML(report.macro("figures", report_pictures.quality(runs, rows, "Table 1")))


# --- tables that are not trained by default ------------------------------------------------------------------


def finished_runs(
    rows: Sequence[str], *, profile: str, data: Sequence[str] = (), seeds: Sequence[int] = (0,), runs_dir: Path | str
) -> list[Record]:
    """The records of those runs that have finished; nothing is trained. `data` as in
    `cqlib.experiments.run.run_many`."""
    wanted = [
        experiment(row, profile, name, seed)
        for row in rows
        for name in data or names.default_data(row, profile)
        for seed in seeds
    ]
    return [record for e in wanted if (record := finished(e, runs_dir)) is not None]


def finished_on_any_data(
    rows: Sequence[str],
    *,
    profiles: Sequence[str],
    seeds: Sequence[int],
    data: Sequence[str] = (),
    runs_dir: Path | str,
) -> list[Record]:
    """The records of those runs of `rows` that have finished, on any of `data` (empty: on whatever they were trained
    on); nothing is trained."""
    wanted = {paper.canonical(row) for row in rows}
    found = []
    for record in load_records(runs_dir)[0]:
        here = paper.canonical(record.row) in wanted and record.profile in profiles and record.seed in seeds
        if here and (not data or record.data.name in data):
            with suppress(UserError):  # a data set that there is no more
                found.append(finished(experiment(record.row, record.profile, record.data.name, record.seed), runs_dir))
    return [record for record in found if record is not None]


def fullest(table: str, records: Sequence[Record]) -> RunSet:
    """`fullest_of` the rows of a table."""
    return fullest_of(table_rows(table), records)


def fullest_of(rows: Sequence[str], records: Sequence[Record]) -> RunSet:
    """Of `records` and the published ones, the run set with most of `rows`; this machine's first.

    UserError where there is none at all.
    """
    sets = run_sets(records, report.published_records())
    if not sets:
        raise UserError(f"there are no records yet: ./run_all.sh --only {rows[0]}")

    def rank(runs: RunSet) -> tuple[int, bool]:
        return sum(bool(runs.of(row)) for row in rows), runs.place == "here"

    return max(sets, key=rank)


def quality(table: str, records: Sequence[Record]) -> HTML:
    """BPD against the Fréchet distance for a table's rows: a picture per run set that has any of its own."""
    sets = run_sets(records, report.published_records())
    found = [
        figure
        for runs in sorted(sets, key=lambda runs: runs.place)
        for name, rows in report_pictures.boards(runs)
        if name == report.TABLE_NAMES[table]
        for figure in report_pictures.quality(runs, rows, name)
    ]
    return HTML(report.macro("figures", found) if found else f"<p>{_missing(table)}</p>")


def grids(table: str, runs: RunSet, runs_dir: Path | str, data_dir: Path | str | None = None) -> HTML:
    """Real test images, then the sample grids that every row of the table left behind, of its first seed."""
    found = report_pictures.grids(runs, table_rows(table), _left_in(runs, runs_dir), data_dir and Path(data_dir))
    return HTML(report.macro("grids", found))


def costs(table: str, records: Sequence[Record]) -> HTML:
    """Parameters, critics and time of a table's rows, in every run set."""
    sets = run_sets(records, report.published_records())
    return HTML(report.macro("cost_table", report_tables.costs(sets, table_rows(table))))


def baselines(table: str, records: Sequence[Record]) -> HTML:
    """A table's rows against an untrained copy, Gaussian pixels and a histogram per pixel, in every run set."""
    sets = run_sets(records, report.published_records())
    lines = report_tables.baselines(sets, table_rows(table))
    return HTML(report.macro("baseline_table", lines) if lines else f"<p>{_missing(table)}</p>")


def systems(table: str, runs: RunSet, runs_dir: Path | str) -> dict[str, System]:
    """The systems of a table's rows, of the first seed, by label; those whose weights are there."""
    found = {}
    for row in table_rows(table):
        for record in runs.of(row)[:1]:
            where = {"profile": record.profile, "data": record.data.name, "seed": record.seed}
            with suppress(UserError):
                found[short_label(row)] = load(row, **where, runs_dir=runs_dir)
    return found


def _missing(table: str) -> str:
    rows = [label_of(row) for row in table_rows(table) if paper.canonical(row) == row]
    return f"Not trained yet: {', '.join(rows)}. <code>./run_all.sh --only {table}</code> trains them."


# --- temperature ---------------------------------------------------------------------------------------------


def temperatures(model: System, label: str, n: int = 16) -> HTML:
    """The same latent codes decoded with less and more noise: the still picture of the slider."""
    board = {"": {f"T = {t:g}": draw(model, n, t) for t in TEMPERATURES}}
    return picture(plots.sample_board(board, columns=4), f"Samples of {label} at temperatures 0 to 1")


def temperature_slider(systems: dict[str, System], n: int = 36) -> Any:
    """A slider for the temperature and a choice of model; None where nobody can move it (a run without a
    front end, as papermill's), so that no dead widget is left in the page."""
    if not live():
        return None
    import ipywidgets as widgets

    def redraw(model: str, temperature: float) -> None:
        png = grid_png(draw(systems[model], n, temperature), columns=9, scale=3)
        view.value = f'<img alt="{n} samples" src="{plots.data_uri(png)}">'

    view = widgets.HTML()
    chosen = widgets.Dropdown(options=list(systems), description="model")
    slider = widgets.FloatSlider(1.0, min=0, max=1, step=0.05, description="T", continuous_update=False)
    widgets.interactive_output(redraw, {"model": chosen, "temperature": slider})
    return widgets.VBox([widgets.HBox([chosen, slider]), view])
