"""What the notebooks show: tables, claims, sample grids, curves and a temperature slider, as HTML in a cell.

Pictures take the colours of the page they stand in, light or dark, and carry a text for screen readers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from IPython import get_ipython
from IPython.display import HTML
from matplotlib.figure import Figure

from cqlib import data as data_sets
from cqlib import plots, report, report_pictures
from cqlib.data.pixels import to_uint8
from cqlib.images import grid_png
from cqlib.models.base import System
from cqlib.records import Record
from cqlib.report_parts import label_of
from cqlib.run import load
from cqlib.tables import mean_and_std

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


def picture(figure: Figure, alt: str) -> HTML:
    """A figure in the colours of the page; `alt` says in words what is to be seen."""
    return HTML(report.scoped(plots.to_svg(figure, alt)))


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


def curves(records: Sequence[Record], name: str) -> HTML:
    """The learning curves called `name` (a record lists its own), one line per seed."""
    series = report_pictures.curves(records, name)
    figure = plots.learning_curves(series, ylabel=report_pictures.axis(name), order=_order(records))
    return picture(figure, f"{name} over training steps for {', '.join(series)}")


def likelihood_and_quality(records: Sequence[Record]) -> HTML:
    """BPD against the Fréchet distance, at both temperatures, means over seeds."""
    name = "FID" if any("FID@T1" in record.metrics for record in records) else "FD-lite0"
    points = []
    for row in dict.fromkeys(record.row for record in records):
        for t in (1, 0):
            keys = ("BPD", f"{name}@T{t}")
            runs = [r for r in records if r.row == row and all(key in r.metrics for key in keys)]
            if runs:
                bpd, distance = (mean_and_std([r.metrics[key].value for r in runs])[0] for key in keys)
                points.append(plots.Point(label_of(row), bpd, distance, t))
    figure = plots.quality_against_likelihood(points, distance=name, order=_order(records))
    return picture(figure, f"{name} against bits per dimension; filled marks T = 1, open marks T = 0")


def _order(records: Sequence[Record]) -> list[str]:
    """The labels of all rows: one colour for a model in every plot."""
    return [label_of(record.row) for record in records]


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


def live() -> bool:
    """Is this kernel behind a page that shows widgets? Jupyter's server and VS Code leave their mark on one."""
    shell = get_ipython()
    return shell is not None and ("JPY_SESSION_NAME" in os.environ or "__vsc_ipynb_file__" in shell.user_ns)
