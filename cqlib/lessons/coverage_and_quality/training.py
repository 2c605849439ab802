"""Lesson 02, coverage and quality: L_C alone, L_Q alone, and both, where the data's density is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from cqlib.data import toy2d
from cqlib.lessons.coverage_and_quality import plane_models
from cqlib.lessons.coverage_and_quality.exact_plane import FRACTION, HELD, SHARE, Distance, Ruler
from cqlib.lessons.coverage_and_quality.mass_elsewhere import density, follow
from cqlib.lessons.coverage_and_quality.plane_models import Trained
from cqlib.lessons.drawing import legend, mark, number, table
from cqlib.report import plots
from cqlib.report.cells import live, picture

LAMBDA = 1.0
OBJECTIVES: dict[str, dict[str, float]] = {
    "VAE": {"coverage": 1.0, "quality": 0.0},
    "GAN": {"coverage": 0.0, "quality": 1.0},
    "CQ": {"coverage": 1.0, "quality": LAMBDA},
}
"""Weights of L_C and L_Q, by the names that Table 1 gives to them."""
BETWEEN = (0.3, 3.0, 10.0)
"""Weights of L_Q to be tried beside it."""
PATIENCE = 3
DENSITIES = (toy2d.DEFAULT, "spiral")
"""What is shown where none is asked for."""
LIMIT = 0.1
"""Share off the support, or missed, that counts as over-generalising, or as dropping."""


@dataclass(frozen=True)
class Compared:
    """Models of one density by objective, a model per seed, and their distances from the data."""

    name: str
    ruler: Ruler
    seeds: tuple[int, ...]
    steps: int
    trained: dict[str, Trained]
    log_q: dict[str, Tensor]
    """Of (S, CELLS^2)."""
    distances: dict[str, list[Distance]]


def densities(data: Sequence[str]) -> list[str]:
    """Two densities: those among the names of data sets that are asked for, then `DENSITIES`."""
    asked = [name.partition(":")[2] or toy2d.DEFAULT for name in data if name.startswith("toy2d")]
    if others := [name for name in data if not name.startswith("toy2d")]:
        print(f"{', '.join(others)}: no known density, left out")
    return list(dict.fromkeys([*asked, *DENSITIES]))[:2]


def compare(name: str, seeds: Sequence[int], steps: int) -> Compared:
    """Train all objectives on the density `name`, once per seed: the same starts, only the loss differs."""
    data = toy2d.density(name)
    ruler = Ruler(data)
    trained = {label: plane_models.train(data, steps, seeds=seeds, **o) for label, o in OBJECTIVES.items()}
    log_q = {label: ruler.log_density(t.models.log_prob) for label, t in trained.items()}
    distances = {label: [ruler.distance(q) for q in each] for label, each in log_q.items()}
    return Compared(name, ruler, tuple(seeds), steps, trained, log_q, distances)


def board(of: Compared) -> HTML:
    """Densities: a row per seed, the data and a column per objective."""
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 2.05 * len(of.seeds) + 0.2)
        axes = figure.subplots(len(of.seeds), 1 + len(of.log_q), sharex=True, sharey=True, squeeze=False)
        for i, (row, seed) in enumerate(zip(axes, of.seeds, strict=True)):
            density(row[0], of.ruler, of.ruler.log_p, "data, exact")
            for ax, (label, log_q) in zip(row[1:], of.log_q.items(), strict=True):
                d = of.distances[label][i]
                title = f"{label}: {d.off:.0%} off, {d.missed:.0%} missed"
                image = density(ax, of.ruler, log_q[i], title)
            row[0].set_ylabel(f"seed {seed}")
        figure.colorbar(image, ax=list(axes.flat), label="density", shrink=0.6)
    alt = f"The density {of.name} beside those of {', '.join(of.log_q)}, a row per seed, the support outlined"
    return picture(figure, alt)


def numbers(of: Compared) -> HTML:
    """Both divergences, mass off the support, data missed, and modes covered, seed by seed."""
    lines = []
    for label, each in of.distances.items():
        columns = [
            [number(d.coverage) for d in each],
            [number(d.quality) for d in each],
            [f"{d.off:.1%}" for d in each],
            [f"{d.missed:.1%}" for d in each],
            [str(d.modes) if d.mode_shares else "–" for d in each],
            [number(min(d.mode_shares)) if d.mode_shares else "–" for d in each],
        ]
        lines.append([label, *(" / ".join(column) for column in columns)])
    total = len(of.distances["VAE"][0].mode_shares)
    head = ["Model", "KL(p ‖ p_θ)", "KL(p_θ ‖ p)", "off the support", "data missed",
            f"modes of {total}" if total else "modes", "poorest mode's share"]  # fmt: skip
    seeds = " / ".join(str(seed) for seed in of.seeds)
    return table(f"{of.name}, {of.steps:,} steps, seeds {seeds}; divergences in nats", head, lines)


def patience(of: Compared) -> HTML:
    """VAE and CQ of the first seed, and both trained `PATIENCE` times as long."""
    lines = []
    for label in ("VAE", "CQ"):
        steps = PATIENCE * of.steps
        longer = plane_models.train(of.ruler.data, steps, seeds=of.seeds[:1], **OBJECTIVES[label])
        found = of.ruler.distance(of.ruler.log_density(longer.models.log_prob)[0])
        for k, d in ((of.steps, of.distances[label][0]), (steps, found)):
            lines.append([f"{label}, {k:,} steps", number(d.coverage, 3), number(d.quality, 3), f"{d.off:.1%}",
                          f"{d.missed:.1%}"])  # fmt: skip
    head = ["Model", "KL(p ‖ p_θ)", "KL(p_θ ‖ p)", "off the support", "data missed"]
    return table(f"{of.name}, seed {of.seeds[0]}, with more patience; divergences in nats", head, lines)


def mode_shares(of: Compared) -> HTML:
    """Each mode's mass over what it should be, for the first seed, the richest first."""
    if of.ruler.data.modes is None:
        return HTML(f"<p>The density {of.name} has no modes.</p>")
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(5.4, 2.9)
        ax = figure.subplots()
        for label, each in of.distances.items():
            shares = sorted(each[0].mode_shares, reverse=True)
            colour, marker = mark(label)
            ax.plot(np.arange(1, len(shares) + 1), shares, color=colour, marker=marker, markersize=5, label=label)
        ax.axhline(1, color=plots.FAINT, linewidth=0.8)
        ax.axhline(SHARE, color=plots.FAINT, linewidth=0.8, linestyle="--")
        ax.annotate("below: dropped", (1, SHARE), (0, -3), textcoords="offset points", va="top", fontsize=8)
        ax.set_ylim(bottom=0)
        ax.set_xlabel("modes, the richest first")
        ax.set_ylabel("mass over the data's")
        ax.legend(frameon=False)
    poorest = ", ".join(f"{label} {min(each[0].mode_shares):.2f}" for label, each in of.distances.items())
    return picture(figure, f"Mass of each mode over its mass in the data; the poorest: {poorest}")


def verdicts(*found: Compared) -> HTML:
    """The slides' three sentences, as shares against `LIMIT`, for each density."""
    lines = []
    for of in found:
        for text, label, value, over in (
            ("MLE over-generalises", "VAE", "off", True),
            ("a GAN drops", "GAN", "missed", True),
            ("CQ does not over-generalise", "CQ", "off", False),
            ("CQ does not drop", "CQ", "missed", False),
        ):
            values = [getattr(d, value) for d in of.distances[label]]
            held = sum((v > LIMIT) == over for v in values)
            word = "holds" if held == len(values) else "does not hold" if held == 0 else "undecided"
            rule = f"{'off the support' if value == 'off' else 'missed'} {'>' if over else '≤'} {LIMIT:.0%}"
            lines.append([f"{of.name}: {text}", rule, " / ".join(f"{v:.1%}" for v in values), word])
    return table("Said and measured, each seed by itself", ["Sentence", "means", "measured", "verdict"], lines)


# --- the weight of L_Q ---------------------------------------------------------------------------------------


def weights(of: Compared) -> dict[str, tuple[Tensor, Distance]]:
    """Log-density and distance by the weight of L_Q, from none to L_Q alone, for the first seed; from one start."""
    more = plane_models.train(of.ruler.data, of.steps, quality=BETWEEN, seeds=of.seeds[:1] * len(BETWEEN))
    log_q = dict(zip(BETWEEN, of.ruler.log_density(more.models.log_prob), strict=True)) | {LAMBDA: of.log_q["CQ"][0]}
    named = {f"λ = {q:g}": log_q[q] for q in sorted(log_q)}
    found = {"L_C alone": of.log_q["VAE"][0]} | named | {"L_Q alone": of.log_q["GAN"][0]}
    return {name: (q, of.ruler.distance(q)) for name, q in found.items()}


def weight_board(of: Compared, found: dict[str, tuple[Tensor, Distance]]) -> HTML:
    """A density per weight: the still picture of the slider."""
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(7.6, 5.0)
        axes = figure.subplots(2, 3, sharex=True, sharey=True)
        for ax, (name, (log_q, d)) in zip(axes.flat, found.items(), strict=True):
            image = density(ax, of.ruler, log_q, f"{name}: {d.off:.0%} off, {d.missed:.0%} missed")
        figure.colorbar(image, ax=list(axes.flat), label="density", shrink=0.6)
    return picture(figure, f"Densities for {', '.join(found)}")


def weight_curves(found: dict[str, tuple[Tensor, Distance]]) -> HTML:
    """Both divergences, and both shares, over the weight of L_Q."""
    kinds = (("nats", {"KL(p ‖ p_θ)": "coverage", "KL(p_θ ‖ p)": "quality"}),
             ("share", {"off the support": "off", "missed": "missed"}))  # fmt: skip
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.0, 3.0)
        for ax, (unit, lines) in zip(figure.subplots(1, 2), kinds, strict=True):
            for k, (label, field) in enumerate(lines.items()):
                colour, marker = plots.mark(k)
                values = [getattr(d, field) for _, d in found.values()]
                ax.plot(range(len(values)), values, color=colour, marker=marker, markersize=5, label=label)
            ax.set_xticks(range(len(found)), [name.replace("λ = ", "").replace(" alone", "") for name in found])
            ax.set_xlabel("weight λ of L_Q")
            ax.set_ylabel(unit)
            ax.set_ylim(bottom=0)
            legend(ax)
    ends = [f"{name}: {number(d.coverage)} and {number(d.quality)} nats" for name, (_, d) in found.items()]
    return picture(figure, f"Divergences over the weight of L_Q. {'; '.join(ends)}")


def weight_slider(of: Compared, found: dict[str, tuple[Tensor, Distance]]) -> Any:
    """A slider over the weights; None where nobody can move it."""
    if not live():
        return None
    import ipywidgets as widgets

    def draw(weight: str) -> Figure:
        log_q, d = found[weight]
        with matplotlib.rc_context(plots.STYLE):
            figure = plots.blank(4.2, 3.6)
            density(figure.subplots(), of.ruler, log_q, f"{weight}: {d.off:.0%} off, {d.missed:.0%} missed")
        return figure

    return follow(draw, weight=widgets.SelectionSlider(options=list(found), description="weight"))


def definitions() -> HTML:
    """The yardsticks with their thresholds, as the code has them."""
    lines = [
        ["off the support", f"p_θ outside the smallest set that holds {HELD:.0%} of p", f"{1 - HELD:.0%}"],
        ["data missed", f"p where p_θ(x) < {FRACTION:g} p(x)", "0%"],
        ["mode covered", f"at least {SHARE:g} of its mass under p", "all"],
    ]
    return table("Yardsticks", ["What", "Definition", "for p_θ = p"], lines)
