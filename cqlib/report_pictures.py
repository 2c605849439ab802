"""The report's pictures: sample grids beside real images, learning curves, quality against likelihood."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from cqlib import names, paper, plots
from cqlib.errors import UserError
from cqlib.images import grid_png
from cqlib.records import Record, slug
from cqlib.report_parts import label_of
from cqlib.tables import AT, FEATURES, PLACES, RunSet, mean_and_std, without_paths

FIRST = ("L_C", "L_Q")  # the paper's two losses; other curves stand behind them
MAX_LINES = 8  # lines in one plot that can still be told apart


def samples_of(
    sets: Sequence[RunSet], pictures: Mapping[str, Path | None], data_dir: Path | None
) -> list[dict[str, Any]]:
    """Per run set: real test images, then each row's samples at both temperatures, of its first seed."""
    blocks = []
    for runs in sets:
        figures = [figure for row in _rows_of(runs) if (figure := _grids(runs, row, pictures[runs.place]))]
        if figures:
            real = real_images(runs.data, runs.size, data_dir)
            if real is not None:
                image = _image(real, f"Real test images of {without_paths(runs.data)}")
                first = {"label": "Real test images", "text": "(the first ones)", "images": [image]}
                figures.insert(0, first)
            blocks.append({"title": f"{PLACES[runs.place]}: {runs.label}", "figures": figures})
    return blocks


def _rows_of(runs: RunSet) -> list[str]:
    return list(dict.fromkeys(row for row in names.ROWS if paper.canonical(row) == row and runs.of(row)))


def _grids(runs: RunSet, row: str, folder: Path | None) -> dict[str, Any] | None:
    for run in runs.of(row) if folder else ():
        place = folder / slug(run.row, run.data.name, run.profile, run.seed)
        files = [(at, place / f"samples_{at}.png") for at in AT]
        label = label_of(row)
        images = [_image(file.read_bytes(), f"Samples of {label} at temperature {at[1]}")
                  for at, file in files if file.is_file()]  # fmt: skip
        if images:
            return {"label": label, "text": f"T = 1 left, T = 0 right; seed {run.seed}", "images": images}
    return None


def _image(content: bytes, alt: str) -> dict[str, Any]:
    width, height = Image.open(io.BytesIO(content)).size
    source = Markup("data:image/png;base64,") + Markup(base64.b64encode(content).decode())
    return {"src": source, "alt": alt, "width": width, "height": height}


def plots_of(sets: Sequence[RunSet]) -> list[dict[str, Any]]:
    """Quality against likelihood and learning curves, for every run set, this machine's first.

    `more` marks curves that a reader may skip.
    """
    return [plot for runs in sorted(sets, key=lambda runs: runs.place) for plot in _plots(runs)]


def _plots(runs: RunSet) -> list[dict[str, Any]]:
    where = f"{PLACES[runs.place]}: {without_paths(runs.label)}"
    rows = list(dict.fromkeys(paper.canonical(run.row) for run in runs.records))[:MAX_LINES]
    order = [label_of(row) for row in rows]
    found = []
    for _, distance, _ in FEATURES.values():
        points = [point for row in rows for point in _points(runs, row, distance)]
        if points:
            figure = plots.quality_against_likelihood(points, distance=distance, order=order)
            marks = [f"{p.label} at T = {p.temperature} {p.bpd:.2f}, {p.distance:,.0f}" for p in points]
            alt = f"{distance} against BPD. {where}. {', '.join(marks)}"
            caption = f"Quality against likelihood: filled T = 1, open T = 0; lower left is better. {where}."
            found.append(_plot(figure, alt, caption))
    for name in dict.fromkeys(name for run in runs.records for name in run.curve):
        series = curves(runs.records, name)
        figure = plots.learning_curves(series, ylabel=axis(name), order=order)
        ends = ", ".join(f"{label} {lines[0][-1][1]:.2f}" for label, lines in series.items())
        alt = f"{name} over training steps. {where}. At the end of the first seed: {ends}"
        caption = f"{name} over training steps, one line per seed. {where}."
        found.append(_plot(figure, alt, caption, more=not name.startswith(FIRST)))
    return found


def curves(records: Sequence[Record], name: str) -> dict[str, list[list[list[float]]]]:
    """The learning curves `name` of all seeds by the row's label, at most MAX_LINES rows."""
    found: dict[str, list[list[list[float]]]] = {}
    for run in records:
        if run.curve.get(name):
            found.setdefault(label_of(run.row), []).append(run.curve[name])
    return dict(list(found.items())[:MAX_LINES])


def axis(name: str) -> str:
    """The label of a curve's axis with its unit; losses are in nats per image where the name says no other."""
    return name if "(" in name else f"{name} (nats per image)"


def _points(runs: RunSet, row: str, distance: str) -> list[plots.Point]:
    found = []
    for temperature in (1, 0):
        done = [run for run in runs.of(row) if run.status == "done"]
        done = [run for run in done if {"BPD", f"{distance}@T{temperature}"} <= run.metrics.keys()]
        if done:
            bpd, score = (mean_and_std([run.metrics[name].value for run in done])[0]
                          for name in ("BPD", f"{distance}@T{temperature}"))  # fmt: skip
            found.append(plots.Point(label_of(row), bpd, score, temperature))
    return found


def _plot(figure: Any, alt: str, caption: str, more: bool = False) -> dict[str, Any]:
    return {"svg": Markup(plots.to_svg(figure, alt)), "caption": caption, "more": more}


def real_images(data: str, size: int, data_dir: Path | None) -> bytes | None:
    """A PNG of the first 128 test images, 16 in a row; None where the data set cannot be loaded."""
    from cqlib.data import load

    try:
        return grid_png(load(data, size=size, data_dir=data_dir).test.images[:128], columns=16)
    except (UserError, OSError, ValueError):
        return None
