"""The report's pictures: samples, learning curves, quality against likelihood."""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from cqlib.data import WITH_PIP, load
from cqlib.data.grids import EXACT, grid, webp
from cqlib.data.published import missing_files
from cqlib.metrics.quantities import QUANTITIES, decimal
from cqlib.suite.experiments import paper
from cqlib.suite.experiments.record import Record
from cqlib.suite.experiments.rows import marker_numbers, short_label
from cqlib.suite.report import plots
from cqlib.suite.report.groups import Group, data_title, local_first
from cqlib.suite.report.table import Table, mean_of
from cqlib.util.errors import UserError
from cqlib.util.paths import PUBLISHED
from cqlib.util.text import without_paths

FIRST = ("BPD", "FD", "FID", "L_C", "L_Q")  # curves that are not `more`: held-out scores, the paper's two losses
MAX_LINES = 8  # curves in one plot that can still be told apart
IGNORANCE = "knows nothing, 2 ln 2"
"""The label of the cross-entropy of a critic whose score says nothing: 0 for every image."""
FAR = 0.2
"""A seed whose distance differs from the mean by more than this share is not typical of its model."""
NEAREST = "nearest"
"""Folder of pictures, made beforehand, of the nearest that each model can draw to test images."""


def samples_folder(runs: Group, runs_dir: Path | str) -> Path:
    """The folder with the folders of these runs' samples; this machine's runs are in `runs_dir`."""
    return Path(runs_dir) if runs.origin == "local" else PUBLISHED / "samples"


def grids(
    sets: Sequence[Group], rows: Sequence[str], runs_dir: Path | str, data_dir: Path | str | None,
    out: Path | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Figures for the macro `grids`: real test images, then the samples of each of `rows`, of the first seed, from the
    nearest of `sets` that has some. `sets` are on the same data. `out` is the folder of a page that is to be the same
    everywhere: files below it are linked, and real images are shown of `WITH_PIP` data alone. A figure's `of` is its
    group and row, or None, as is its `seed`. Empty without samples."""
    figures: list[dict[str, Any]] = []
    for row in rows:
        found = (samples(runs, row, runs_dir, out) for runs in local_first(sets))
        figures += [figure for figure in found if figure][:1]
    can_be_shown = figures and (out is None or sets[0].data in WITH_PIP)
    if can_be_shown and (content := real_images(sets[0].data, sets[0].size, data_dir)):
        image = _image(content, f"Real test images of {data_title(sets[0].data)}")
        real = {"label": "Real test images", "text": "(the first ones)", "image": image, "of": None, "seed": None}
        figures.insert(0, real)
    return figures


def samples(runs: Group, row: str, runs_dir: Path | str, out: Path | None = None) -> dict[str, Any] | None:
    """A figure, as of `grids`, with the samples of the row's first seed that has some, of a diverged run only where
    there are none else; None where no seed has."""
    label, folder = short_label(row), samples_folder(runs, runs_dir)
    own = runs.rows.get(paper.canonical(row), Table())
    for run in sorted(own.records, key=lambda run: not run.done):
        if file := sample_file(folder / run.folder):
            text = f"seed {run.seed}{', which ' * bool(run.ending)}{run.ending}"
            image = _image(file.read_bytes(), f"Samples of {label}", _link(file, out))
            return {"label": label, "text": text, "image": image, "of": (runs, row), "seed": run.seed}
    return None


def scores(figure: dict[str, Any], legible: dict[str, str]) -> str:
    """What stands by a figure of `grids`: "5.04 bits, 42 of 64 legible", or its distance where nobody read its digits.
    Where the seed that is shown is far from the mean, its own distance stands there too. `legible`: of each row, and
    of real images under ""."""
    if not figure["of"]:
        return f"{read} legible" if (read := legible.get("")) else ""
    group, row = figure["of"]
    name = group.score_name(QUANTITIES["fid"], [row])
    bits, fd = group.cell(row, "BPD"), group.cell(row, name)
    if read := legible.get(row):
        return f"{bits.text}{bits.mark} bits, {read} legible"
    numbers = group.numbers(row, name)
    middle = mean_of(numbers).value if numbers else math.inf
    own = [v.value for v in numbers if v.seed == figure["seed"] and abs(v.value / middle - 1) > FAR]
    return f"{bits.text}{bits.mark} bits, {name} {fd.text}" + (f" (this seed {decimal(name, own[0])})" if own else "")


def sample_file(folder: Path) -> Path | None:
    """The grid of a run's samples, PNG or WebP; None where there is none."""
    places = (folder / "samples.png", folder / "samples.webp")
    return next((file for file in places if os.path.isfile(file)), None)  # False where its name is too long for a file


def nearest_images(out: Path, published_only: bool) -> list[dict[str, Any]]:
    """The pictures in the folder `NEAREST` of a page's folder, or else of what is published; linked where the page is
    `published_only`."""
    folders = [place / NEAREST for place in (out, PUBLISHED)]
    found = next(filter(None, ([*folder.glob("*.webp"), *folder.glob("*.png")] for folder in folders)), [])
    alt = "Test images, and below each the nearest image that each model can draw"
    return [_image(file.read_bytes(), alt, _link(file, out if published_only else None)) for file in sorted(found)]


def _link(file: Path, out: Path | None) -> str:
    """The relative address of `file` on a page in `out`, if it lies below that folder; else empty."""
    path = Path(os.path.realpath(file))  # a loop of links is no error
    if out is None or not path.is_relative_to(os.path.realpath(out)):
        return ""
    return quote(path.relative_to(os.path.realpath(out)).as_posix())


def _image(content: bytes, alt: str, link: str = "") -> dict[str, Any]:
    picture = Image.open(io.BytesIO(content), formats=("PNG", "WEBP"))
    source = link or plots.data_uri(content, f"image/{str(picture.format).lower()}")
    return {"src": Markup(source), "alt": alt, "width": picture.width, "height": picture.height}


def plots_of(groups: Sequence[Group], published_only: bool = False) -> list[tuple[Group, list[dict[str, Any]]]]:
    """(group, its pictures): quality against likelihood, and learning curves. Curves of losses are drawn for this
    machine's runs, or for all on the page of `published_only` runs. A picture's `more` marks one that a reader may
    skip."""
    drawn: list[tuple[Group, list[dict[str, Any]]]] = []
    for group in groups:
        figures: list[dict[str, Any]] = []
        for name, rows in boards(group):
            figures += quality(group, rows, name)
            if published_only or group.origin == "local":
                figures += learning_curves(group, rows, name)
        drawn.append((group, figures))
    return [(group, figures) for group, figures in drawn if figures]


def boards(runs: Group) -> list[tuple[str, list[str]]]:
    """The rows that share a picture: (title, rows that ran) for each table that has a row which no earlier picture
    shows."""
    shared: list[tuple[str, list[str]]] = []
    shown: set[str] = set()
    for table in paper.TABLES:
        ran = [row.id for row in table.all_rows if paper.canonical(row.id) in runs.rows]
        if not shown.issuperset(map(paper.canonical, ran)):
            beside = [short_label(row) for row in table.beside if row in ran]
            shared.append((" with ".join([table.name, *beside]), ran))
            shown.update(map(paper.canonical, ran))
    return shared


def quality(runs: Group, rows: Sequence[str], name: str) -> list[dict[str, Any]]:
    """Quality against likelihood of `rows`, for every kind of features they were scored with."""
    figures = []
    for distance in QUANTITIES["fid"].names:
        points = [point for row in rows if (point := point_of(runs, row, distance))]
        if len({point.label for point in points}) > 1:
            ylabel = f"{distance} (lower is better)"
            figure = plots.quality_against_likelihood(points, ylabel=ylabel, marks=marker_numbers(rows))
            values = [f"{p.label} {p.bpd:.2f}, {p.distance:,.0f}" for p in points]
            alt = f"{distance} against BPD, {name}. {runs.title}. {'; '.join(values)}"
            bars = "; bars: standard deviations over seeds" if any(p.bpd_std for p in points) else ""
            caption = f"{name}, quality against likelihood{bars}; lower left is better. {runs.title}."
            figures.append(plot(figure, alt, caption))
    return figures


def point_of(runs: Group, row: str, score: str, label: str = "", line: str = "") -> plots.Point | None:
    """BPD and a score of a row, means and standard deviations over the seeds that have both; None without any, and
    where a mean is infinite."""
    both = [run.folder for run in runs.done(row) if {"BPD", score} <= run.metrics.keys()]
    if not both:
        return None
    numbers = ([v for v in runs.numbers(row, name) if v.run.folder in both] for name in ("BPD", score))
    bpd, measured = map(mean_of, numbers)
    if not math.isfinite(bpd.value + measured.value):
        return None
    spreads = bpd.std or 0.0, measured.std or 0.0
    return plots.Point(label or short_label(row), bpd.value, measured.value, *spreads, line)


def learning_curves(runs: Group, rows: Sequence[str], name: str) -> list[dict[str, Any]]:
    """A picture for every curve of `rows`."""
    figures = []
    for curve in dict.fromkeys(curve for row in rows for run in runs.done(row) for curve in run.curve):
        every = {short_label(row): lines for row in rows if (lines := curves(runs.done(row), curve))}
        series = dict(list(every.items())[:MAX_LINES])
        looks: dict[str, Any] = {"marks": marker_numbers(rows), "levels": levels(curve)}
        figure = plots.learning_curves(series, ylabel=axis(without_paths(curve)), **looks)
        ends = ", ".join(f"{label} {lines[0][-1][1]:.2f}" for label, lines in series.items())
        alt = f"{without_paths(curve)} over training steps, {name}. {runs.title}. At the end of the first seed: {ends}"
        caption = f"{name}, {curve} over training steps, {plots.describe_lines(series)}."
        if left_out := [label for label in every if label not in series]:
            caption += f" Not drawn: {', '.join(left_out)}."
        figures.append(plot(figure, alt, caption, more=not curve.startswith(FIRST)))
    return figures


def curves(records: Sequence[Record], name: str) -> list[plots.Curve]:
    """The learning curves `name` of `records`, those that have one."""
    return [run.curve[name] for run in records if run.curve.get(name)]


def axis(name: str) -> str:
    """The label of a curve's axis with its unit; a critic's loss, which is not always a cross-entropy, has none."""
    if name in ("KL", "L_Q"):
        return f"{name} (nats per image)"
    return name if "(" in name else "discriminator's loss" if name == "discriminator" else f"critic's {name} loss"


def levels(name: str) -> dict[str, float]:
    """Label -> height of the lines that curves called `name` are compared with: for critics' losses, what Eq. (1) is
    where every score is 0, D = 1/2 and the loss 2 ln 2. (The hinge loss is 2 there.)"""
    return {IGNORANCE: 2 * math.log(2)} if name == "discriminator" else {}


def plot(figure: Figure, alt: str, caption: str, more: bool = False) -> dict[str, Any]:
    """A picture for the macro `figures`; `more` marks one that a reader may skip. Its `choices` are empty."""
    return {"svg": Markup(plots.to_svg(figure, alt)), "caption": caption, "more": more, "choices": []}


def real_images(data: str, size: int, data_dir: Path | str | None) -> bytes | None:
    """The first test images as a WebP grid of eight rows (four for images larger than `EXACT` pixels a side); None
    where the data is not on this machine."""
    if missing_files(data, data_dir):
        return None
    rows, repeated = (8, 4) if size <= EXACT else (4, 1)
    try:
        images = load(data, size=size, data_dir=data_dir).test.images[: rows * 8]
        return webp(grid(images, columns=8, scale=repeated), size)
    except (UserError, OSError, ValueError):
        return None
