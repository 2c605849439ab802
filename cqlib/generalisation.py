"""What the notebook on samples shows: samples beside training images, their nearest training images against those of
held-out images, and what training and held-out images cost in bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from torch import Tensor

from cqlib import copies, evaluation, plots, report, run
from cqlib.data.dataset import Dataset
from cqlib.errors import UserError
from cqlib.experiments import EVALUATION, experiment
from cqlib.images import grid
from cqlib.metrics.bpd import bits_per_dimension, held_out_nats
from cqlib.metrics.cache import kept_features, pooled_features
from cqlib.metrics.features import Features, features_for
from cqlib.models.base import LikelihoodSystem, System
from cqlib.report_parts import short_label
from cqlib.show import live, picture

PICTURED = ("photos10",)
"""Data sets whose training images may stand in a picture that is passed on; of others none does."""
PUBLISHED = {"row": "table1/cq-f", "profile": "quick", "data": "photos10", "seed": 0}
"""What is shown where the model that is asked for has not been trained."""
BESIDE = ("table1/vae", "table1/vae-f", "table1/cq", "table1/cq-f", "table2/cqf-residual",
          "table2/cqf-iaf-residual-large-d", "table3/cqf-2-scales")  # fmt: skip
"""Models whose likelihoods are compared, those that are there."""
REFERENCE = 50_000
"""Training images that distances are taken to, at most."""
SIGMA = 8.0
"""Noise of the copier, in grey levels."""
NEAREST = 0.01
"""The share of held-out images that lie nearest to the training images: what is nearer still is suspect."""
FEATURE_IMAGES = 120
"""Samples, and held-out images, that features are taken of."""
LINES = {
    "samples": (plots.SERIES[3], "-"), "test": (plots.INK, "-"),
    "noise": (plots.SERIES[1], "--"), "mirror": (plots.SERIES[0], "-."),
}  # fmt: skip
NAMES = {
    "samples": "samples, T = 1", "mean": "samples, T = 0", "test": "held-out images",
    "noise": "copies under noise", "mirror": "mirrored copies",
}  # fmt: skip
COPIER = "Copier"


@dataclass(frozen=True)
class Subject:
    """The model in question, with the images that it was trained on and those that it was not."""

    row: str
    profile: str
    data: str
    seed: int
    system: System = field(repr=False)
    images: Dataset = field(repr=False)
    note: str = ""

    @property
    def label(self) -> str:
        """ "CQ-F on photos10 16×16, quick, seed 0"."""
        size = self.images.size
        return f"{short_label(self.row)} on {self.data} {size}×{size}, {self.profile}, seed {self.seed}"

    def __str__(self) -> str:
        train, test = len(self.images.train), len(self.images.test)
        lines = [self.note] if self.note else []
        return "\n".join([*lines, f"{self.label}: {train:,} training images, {test:,} held out"])


def subject(
    row: str,
    *,
    profile: str,
    data: Sequence[str],
    seeds: Sequence[int],
    runs_dir: Path | str,
    data_dir: Path | str | None = None,
) -> Subject:
    """The model of `row` on the first of `data` and `seeds`, trained here or published; where there is none, or not its
    data, the published `PUBLISHED`, with a note that says so."""
    wanted = {"row": row, "profile": profile, "data": data[0] if data else None, "seed": seeds[0]}
    note = ""
    for where in (wanted, PUBLISHED):
        try:
            system = run.load(**where, runs_dir=runs_dir)
            e = experiment(**where)
            images = run.load_data(e, data_dir)
            return Subject(e.row, e.profile, e.data, e.seed, system, images, note)
        except UserError as error:
            if where is PUBLISHED:
                raise
            note = f"{error}\nShown instead:"
    raise AssertionError("unreachable")


def beside(it: Subject, n: int = 64) -> HTML:
    """Training images, or held-out ones where those must not be passed on, and samples at T = 1 and T = 0."""
    real = ("training images", it.images.train) if _pictured(it) else ("held-out images", it.images.test)
    board = {real[0]: real[1].images[:n]}
    board |= {f"samples, T = {t:g}": _draw(it, n, t) for t in evaluation.TEMPERATURES}
    return picture(plots.sample_board({"": board}, columns=8), f"{n} {real[0]}, then {n} samples of {it.label}")


def _draw(it: Subject, n: int, temperature: float) -> Tensor:
    return evaluation.draw(it.system, n, temperature=temperature, seed=20_000 + it.seed)


def _pictured(it: Subject) -> bool:
    return it.data in PICTURED or live()


# --- nearest training images ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Near:
    """The nearest reference images of some images: distances (n, k), nearest first, and which they are (n, k)."""

    distances: Tensor
    index: Tensor

    @property
    def nearest(self) -> Tensor:
        """The distance to the nearest one (n,)."""
        return self.distances[:, 0]

    @property
    def ratio(self) -> Tensor:
        """That distance over the one to the second nearest (n,): near 1 unless one training image stands out."""
        return self.distances[:, 0] / self.distances[:, 1].clamp(min=1e-9)


@dataclass(frozen=True)
class Evidence:
    """Images by group (`NAMES`) and their nearest training images in both spaces, the best first.

    `features` holds the groups that features were taken of, their first images, and is empty for grey images; indices
    are into the training images.
    """

    images: Mapping[str, Tensor] = field(repr=False)
    pixels: Mapping[str, Near] = field(repr=False)
    features: Mapping[str, Near] = field(repr=False)
    n_pixels: int
    n_features: int
    features_title: str

    def __str__(self) -> str:
        lines = [f"in pixels: {len(self.images['samples']):,} samples against {self.n_pixels:,} training images"]
        if self.features:
            n = len(self.features["samples"].nearest)
            lines.append(f"in features ({self.features_title}): {n:,} samples against {self.n_features:,} of them")
        return "\n".join(lines)


def evidence(
    it: Subject,
    *,
    n: int = 1000,
    runs_dir: Path | str,
    data_dir: Path | str | None = None,
    feature_weights: Path | str | None = None,
) -> Evidence:
    """Nearest training images of n samples at each temperature and of n held-out images; and of copies of training
    images, half as many, under noise or mirrored, which a test of copying has to find.

    Features cost time. They are taken of the first `FEATURE_IMAGES` of each group, and of those training images that
    are nearest in pixels to one of them or to its mirror image; what the run's evaluation left in the runs folder is
    read and counts as well. All groups are compared with the same training images.
    """
    train, test = it.images.train.images[:REFERENCE], it.images.test.images[:n]
    n, generator = len(test), torch.Generator().manual_seed(it.seed)
    images = {
        "samples": _draw(it, n, 1.0),
        "mean": _draw(it, n, 0.0),
        "test": test,
        "noise": copies.copies(train, n // 2, sigma=SIGMA, generator=generator),
        "mirror": train[torch.randint(len(train), (n // 2,), generator=generator)].flip(3),
    }
    pixels = {name: Near(*copies.nearest(group, train, 3)) for name, group in images.items()}
    if it.images.channels != 3:
        return Evidence(images, pixels, {}, len(train), 0, "")
    most = min(FEATURE_IMAGES, EVALUATION[it.profile].fidelity_images // 4)
    first = {"samples": most, "test": most, "mirror": most // 2}
    groups = {name: images[name][:count] for name, count in first.items()}
    either = [pixels[name].index[:count, 0] for name, count in first.items()]
    either += [copies.nearest(group.flip(3), train)[1][:, 0] for group in groups.values()]
    features = features_for(feature_weights and Path(feature_weights), data_dir and Path(data_dir), profile=it.profile)
    kept = Path(runs_dir) / "features"
    near, count = _in_features(it, groups, torch.cat(either), features, kept if kept.is_dir() else None)
    return Evidence(images, pixels, near, len(train), count, features.title)


def _in_features(
    it: Subject, groups: Mapping[str, Tensor], candidates: Tensor, features: Features, kept: Path | None
) -> tuple[dict[str, Near], int]:
    """The nearest in feature space of every group, and among how many training images."""
    train, index = it.images.train.images, candidates.unique()
    count = min(EVALUATION[it.profile].fidelity_images, len(it.images.test), len(train))
    base = kept_features(train[:count], features=features, cache_dir=kept) if kept else None
    if base is not None:
        index = index[index >= count]
    parts = [pooled_features(train[index], features=features, cache_dir=kept)] if len(index) else []
    if base is not None:
        parts, index = [base, *parts], torch.cat((torch.arange(count), index))
    near = {}
    for name, images in groups.items():
        distances, places = copies.nearest(pooled_features(images, features=features, cache_dir=kept),
                                           torch.cat(parts), 3)  # fmt: skip
        near[name] = Near(distances, index[places])
    return near, len(index)


def neighbours(it: Subject, found: Evidence, n: int = 6) -> HTML:
    """The first n samples, and the n that one training image is nearest to by most, with their three nearest training
    images in pixels and in features; beside them held-out images in the same way. Without training images where those
    must not be passed on."""
    train, shown = it.images.train.images, _pictured(it)
    spaces = {"nearest in pixels": found.pixels, "nearest in features": found.features} if shown else {}
    spaces = {name: space for name, space in spaces.items() if space}
    panels = {"samples": "samples", "test": "held out"}
    widths = ([1.0] + [3.0] * len(spaces) + [0.25]) * 2
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(0.56 * sum(widths) if spaces else 4.2, 6.4)
        axes = figure.subplots(2, len(widths), squeeze=False, width_ratios=widths)
        for ax in axes.flat:
            ax.set_axis_off()
            ax.set_anchor("N")
        for i, (group, title) in enumerate(panels.items()):
            count = len(found.features[group].nearest) if found.features else len(found.images[group])
            suspects = found.pixels[group].ratio[:count].argsort()[:n]
            for line, rows in zip(axes, (torch.arange(n), suspects), strict=True):
                mine = line[i * len(widths) // 2 :]
                mine[0].imshow(grid(found.images[group][rows], columns=1), interpolation="none")
                mine[0].set_title(title)
                for ax, (name, space) in zip(mine[1:], spaces.items(), strict=False):
                    ax.imshow(grid(train[space[group].index[rows].flatten()], columns=3), interpolation="none")
                    ax.set_title(name)
        beside = {"xycoords": "axes fraction", "textcoords": "offset points", "rotation": 90}
        for line, label in zip(axes, (f"the first {n}", f"the {n} most suspect"), strict=True):
            line[0].annotate(label, (0, 0.5), (-4, 0), ha="right", va="center", weight="bold", **beside)
    alt = f"Samples of {it.label} and held-out images, the first {n} and the {n} most suspect"
    alt += f", each with three training images: {' and '.join(spaces)}" if spaces else ""
    page = picture(figure, alt)
    if not shown:
        page.data += f"<p>Training images of {it.data} are not shown in a page that may be passed on.</p>"
    return page


def distances(found: Evidence) -> HTML:
    """What share of each group lies within a distance of its nearest training image; and the same for that distance
    over the one to the second nearest. Dots: medians. Grey line: the nearest 1 % of held-out images."""
    spaces = [("pixels", "grey levels", found.pixels), ("features", "r.m.s.", found.features)]
    spaces = [space for space in spaces if space[2]]
    words = []
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(7.6, 0.4 + 2.5 * len(spaces))
        for line, (name, unit, space) in zip(figure.subplots(len(spaces), 2, squeeze=False), spaces, strict=True):
            for ax, what in zip(line, ("nearest", "ratio"), strict=True):
                for group in (group for group in LINES if group in space):
                    median = _cumulative(ax, getattr(space[group], what), NAMES[group], *LINES[group])
                    words.append(f"{name}, {what}: {NAMES[group]} {median:.3g}")
                ax.axvline(_threshold(getattr(space["test"], what)), color=plots.FAINT, linewidth=1)
                ratio = f"Nearest over second nearest, {name}"
                ax.set_xlabel(f"Distance to the nearest, {name} ({unit})" if what == "nearest" else ratio)
                ax.set_xlim(left=0)
            line[0].set_ylabel("share of images")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False)
    alt = "Cumulative shares of images over the distance to the nearest training image and over its ratio to the second"
    return picture(figure, f"{alt}; medians: {'; '.join(words)}")


def _cumulative(ax: Axes, values: Tensor, label: str, colour: str, style: str) -> float:
    """Draws the share of `values` (n,) that lies below each value, with a dot at the median, which is returned."""
    values, median = values.sort().values, float(values.median())
    share = torch.arange(1, len(values) + 1) / len(values)
    ax.step(values, share, where="post", color=colour, linestyle=style, label=label, linewidth=1.6)
    ax.plot(median, 0.5, "o", color=colour, markersize=4)
    ax.set_ylim(0, 1)
    return median


def _threshold(values: Tensor) -> float:
    return float(values.quantile(NEAREST))


def suspects(found: Evidence) -> HTML:
    """Medians of the distance to the nearest training image, how often it is less than a held-out image's, and the
    share of images nearer than the nearest 1 % of held-out images, with its 95 % interval; the same for the ratio."""
    lines = []
    for name, space in (("pixels", found.pixels), ("features", found.features)):
        for group, near in space.items():
            line = [f"{NAMES[group]}, {name}", f"{len(near.nearest):,}"]
            for what in ("nearest", "ratio"):
                values, test = getattr(near, what), getattr(space["test"], what)
                share = copies.share_below(values, _threshold(test))
                line += [f"{float(values.median()):.3g}", f"{copies.nearer(values, test):.2f}", _percent(share)]
            lines.append(line)
    head = ["Images", "n", "Distance, median", "nearer than held out", "in the nearest 1 %",
            "Ratio, median", "below held out", "in the lowest 1 %"]  # fmt: skip
    return HTML(report.macro("plain_table", "Nearest training images (shares with 95 % intervals)", head, lines))


def _percent(share: copies.Share) -> str:
    return f"{100 * share.share:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


# --- bits ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of n training and of n held-out images under each model, by label, what their PNG files take,
    and their classes; the training images' first."""

    train: Mapping[str, Tensor] = field(repr=False)
    test: Mapping[str, Tensor] = field(repr=False)
    png: tuple[Tensor, Tensor] = field(repr=False)
    labels: tuple[Tensor, Tensor] = field(repr=False)
    n: int


def bits(it: Subject, *, runs_dir: Path | str, n: int = 1000) -> Bits:
    """Bits of the first n training and n held-out images under the subject, under the other models of `BESIDE` whose
    weights are there, and under the copier."""
    n = min(n, len(it.images.train), len(it.images.test))
    splits = [split.images[:n] for split in (it.images.train, it.images.test)]
    systems = {it.row: it.system}
    for row in BESIDE:
        if row not in systems:
            with suppress(UserError):
                where = {"profile": it.profile, "data": it.data, "seed": it.seed}
                systems[row] = run.load(row, **where, runs_dir=runs_dir)
    dimensions = splits[0][0].numel()
    found: dict[str, list[Tensor]] = {}
    for row, system in systems.items():
        if isinstance(system, LikelihoodSystem):
            nats = [held_out_nats(system, images) for images in splits]
            found[short_label(row)] = [bits_per_dimension(values, dimensions) for values in nats]
    generator = torch.Generator().manual_seed(it.seed)
    reference = it.images.train.images[:REFERENCE]
    nats = [copies.copier_nats(reference, images, sigma=SIGMA, generator=generator) for images in splits]
    found[COPIER] = [bits_per_dimension(values, dimensions) for values in nats]
    train, test = ({name: pair[i] for name, pair in found.items()} for i in (0, 1))
    labels = it.images.train.labels[:n], it.images.test.labels[:n]
    return Bits(train, test, (copies.png_bits(splits[0]), copies.png_bits(splits[1])), labels, n)


def held_out(found: Bits) -> HTML:
    """Training against held-out bits per dimension of each model, on equally many images: the gap with its standard
    errors, as measured and at equal size of the PNG file."""
    lines = [_gap_line(name, found, found.train[name], found.test[name]) for name in found.train]
    png = copies.gap(*found.png, *found.labels)
    lines.append(["PNG file", *_gap_cells(png), "—", "—"])
    errors = ["s.e., images", "s.e., classes"]
    head = ["Model", "Training", "Held out", "Gap", *errors, "Gap at equal PNG", errors[1]]
    caption = f"Bits per dimension of {found.n:,} training and {found.n:,} held-out images"
    return HTML(report.macro("plain_table", caption, head, lines))


def _gap_line(name: str, found: Bits, train: Tensor, test: Tensor) -> list[str]:
    equal = copies.gap(*copies.at_equal(train, test, *found.png), *found.labels)
    cells = _gap_cells(equal)
    return [name, *_gap_cells(copies.gap(train, test, *found.labels)), f"{cells[2]} ± {cells[3]}", cells[4]]


def _gap_cells(it: copies.Gap) -> list[str]:
    """Training, held out, the gap and its two errors."""
    by_class = "—" if it.class_error is None else f"{it.class_error:.3f}"
    return [f"{it.train:.2f}", f"{it.test:.2f}", f"{it.gap:+.3f}".replace("-", "−"), f"{it.error:.3f}", by_class]


def checks(it: Subject, near: Evidence, found: Bits) -> HTML:
    """The copier by its equations and as measured: a copy's distance is the noise, with the rounding to whole levels;
    and a training image costs what its own kernel gives, as long as all others are far."""
    n = min(len(it.images.train), REFERENCE)
    dimensions = it.images.train.images[0].numel()
    own = math.log2(SIGMA * math.sqrt(2 * math.pi)) + 1 / (24 * SIGMA**2 * math.log(2)) + math.log2(n) / dimensions
    rows = [
        ("Distance of a copy under noise, median", math.sqrt(SIGMA**2 + 1 / 12), near.pixels["noise"].nearest.median()),
        ("Copier's bits on training images", own, found.train[COPIER].mean()),
        ("A held-out image nearer than a held-out image", 0.5,
         copies.nearer(near.pixels["test"].nearest, near.pixels["test"].nearest)),
    ]  # fmt: skip
    lines = [[name, f"{closed:.3f}", f"{float(value):.3f}", f"{float(value) - closed:+.3f}".replace("-", "−")]
             for name, closed, value in rows]  # fmt: skip
    return HTML(
        report.macro("plain_table", "The equations in numbers", ["", "closed form", "here", "difference"], lines)
    )


def bits_of(it: Subject, found: Bits) -> HTML:
    """How the bits of training and of held-out images are spread, under the model, if it has a likelihood, and under
    the copier."""
    words, names = [], [name for name in (short_label(it.row), COPIER) if name in found.train]
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(3.8 * len(names), 2.8)
        for ax, name in zip(figure.subplots(1, len(names), squeeze=False).flat, names, strict=True):
            for label, values, line in (("training", found.train, "samples"), ("held out", found.test, "test")):
                median = _cumulative(ax, values[name], label, *LINES[line])
                words.append(f"{name}, {label} {median:.2f}")
            ax.set_title(name)
            ax.set_xlabel("bits per dimension of an image")
            ax.legend(loc="lower right", frameon=False)
        figure.axes[0].set_ylabel("share of images")
    return picture(figure, f"Cumulative shares of images over their bits per dimension; medians: {'; '.join(words)}")
