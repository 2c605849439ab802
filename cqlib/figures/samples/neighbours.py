"""Nearest training images of samples, against those of held-out images and of known copies: are samples copies?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import torch
from IPython.display import HTML
from markupsafe import Markup
from matplotlib.axes import Axes
from torch import Tensor

from cqlib.data.grids import grid
from cqlib.figures.samples import generalisation
from cqlib.figures.samples import memorisation as copies
from cqlib.figures.samples.generalisation import Subject
from cqlib.metrics.cache import kept_features, pooled_features
from cqlib.metrics.features import Features, features_for
from cqlib.recipe import EVALUATION
from cqlib.report import page as report
from cqlib.report import plots
from cqlib.report.cells import picture
from cqlib.util.text import without_paths

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
    train, test = it.images.train.images[: generalisation.REFERENCE], it.images.test.images[:n]
    n, generator = len(test), torch.Generator().manual_seed(it.seed)
    images = {
        "samples": generalisation.draw(it, n, 1.0),
        "mean": generalisation.draw(it, n, 0.0),
        "test": test,
        "noise": copies.copies(train, n // 2, sigma=generalisation.SIGMA, generator=generator),
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


def board(it: Subject, found: Evidence, n: int = 6) -> HTML:
    """The first n samples, and the n that one training image is nearest to by most, with their three nearest training
    images in pixels and in features; beside them held-out images in the same way. Without training images where those
    must not be passed on."""
    train, shown = it.images.train.images, generalisation.pictured(it)
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
        words = Markup("<p>Training images of {} are not shown in a page that may be passed on.</p>")
        page.data = Markup(page.data) + words.format(without_paths(it.data))
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
                    median = cumulative(ax, getattr(space[group], what), NAMES[group], *LINES[group])
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


def cumulative(ax: Axes, values: Tensor, label: str, colour: str, style: str) -> float:
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
