"""Lesson 02, coverage and quality: L_C alone, L_Q alone, and both, where the data's density is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from IPython.display import HTML
from torch import Tensor

from cqlib.data import toy2d
from cqlib.lessons.coverage_and_quality.distances import DROPPED_BELOW, Distance, Lattice
from cqlib.lessons.coverage_and_quality.mass_displacement import density_board, single_density
from cqlib.report import plots
from cqlib.report.cells import legend, mark, number, picture, slider, subplots, table

LAMBDA = 1.0
OBJECTIVES: dict[str, dict[str, float]] = {
    "VAE": {"coverage": 1.0, "quality": 0.0},
    "GAN": {"coverage": 0.0, "quality": 1.0},
    "CQ": {"coverage": 1.0, "quality": LAMBDA},
}
"""Weights of L_C and L_Q, by their names in Table 1."""
OTHER_LAMBDAS = (0.3, 3.0, 10.0)
DENSITIES = (toy2d.DEFAULT, "spiral")
"""The default densities."""
LIMIT = 0.1
"""Share off the support, or missed, that counts as over-generalisation, or as dropping."""
Weighted = dict[str, tuple[Tensor, Distance]]
Train = Callable[..., Any]
"""(data, steps, coverage=, quality=, seeds=) -> one trained model per seed."""


@dataclass(frozen=True)
class Comparison:
    """Models of one density by objective, a model per seed, and their distances from the data."""

    name: str
    lattice: Lattice
    train: Train
    seeds: tuple[int, ...]
    steps: int
    models: dict[str, Any]
    log_q: dict[str, Tensor]
    """Of (S, CELLS^2)."""
    distances: dict[str, list[Distance]]


def densities(data: Sequence[str]) -> list[str]:
    """Two densities: those among the names of data sets in `data`, then `DENSITIES`."""
    names = [name.partition(":")[2] or toy2d.DEFAULT for name in data if name.startswith("toy2d")]
    if others := [name for name in data if not name.startswith("toy2d")]:
        print(f"{', '.join(others)}: no known density, left out")
    return list(dict.fromkeys([*names, *DENSITIES]))[:2]


def compare(name: str, train: Train, seeds: Sequence[int], steps: int) -> Comparison:
    """Train all objectives on the density `name`, once per seed: the same starts, only the loss differs."""
    data = toy2d.density(name)
    lattice = Lattice(data)
    models = {label: train(data, steps, seeds=seeds, **weights) for label, weights in OBJECTIVES.items()}
    log_q = {label: lattice.log_density(m.log_prob) for label, m in models.items()}
    distances = {label: [lattice.distance(q) for q in each] for label, each in log_q.items()}
    return Comparison(name, lattice, train, tuple(seeds), steps, models, log_q, distances)


def board(of: Comparison) -> HTML:
    """Densities: a row per seed, the data and a column per objective."""
    rows = []
    for i, seed in enumerate(of.seeds):
        models = {_title(label, of.distances[label][i]): log_q[i] for label, log_q in of.log_q.items()}
        rows.append((f"seed {seed}", {"data, exact": of.lattice.log_p} | models))
    alt = f"The density {of.name} beside those of {', '.join(of.log_q)}, a row per seed, the support outlined"
    return density_board(of.lattice, rows, 8.6, 2.05 * len(of.seeds) + 0.2, alt)


def _title(label: str, d: Distance) -> str:
    return f"{label}: {d.off:.0%} off, {d.missed:.0%} missed"


def distance_table(of: Comparison) -> HTML:
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
    header = ["Model", "KL(p ‖ p_θ)", "KL(p_θ ‖ p)", "off the support", "data missed",
              f"modes of {total}" if total else "modes", "poorest mode's share"]  # fmt: skip
    seeds = " / ".join(str(seed) for seed in of.seeds)
    return table(f"{of.name}, {of.steps:,} steps, seeds {seeds}; divergences in nats", header, lines)


def mode_shares(of: Comparison) -> HTML:
    """Each mode's mass over its mass in the data, for the first seed, the richest first."""
    if of.lattice.data.modes is None:
        return HTML(f"<p>The density {of.name} has no modes.</p>")
    with subplots(5.4, 2.9) as (figure, ax):
        for label, each in of.distances.items():
            shares = sorted(each[0].mode_shares, reverse=True)
            colour, marker = mark(label)
            ax.plot(np.arange(1, len(shares) + 1), shares, color=colour, marker=marker, markersize=5, label=label)
        ax.axhline(1, color=plots.FAINT, linewidth=0.8)
        ax.axhline(DROPPED_BELOW, color=plots.FAINT, linewidth=0.8, linestyle="--")
        ax.annotate("below: dropped", (1, DROPPED_BELOW), (0, -3), textcoords="offset points", va="top", fontsize=8)
        ax.set_ylim(bottom=0)
        ax.set(xlabel="modes, the richest first", ylabel="mass over the data's")
        ax.legend(frameon=False)
    poorest = ", ".join(f"{label} {min(each[0].mode_shares):.2f}" for label, each in of.distances.items())
    return picture(figure, f"Mass of each mode over its mass in the data; the poorest: {poorest}")


def verdicts(*comparisons: Comparison) -> HTML:
    """The slides' three sentences, as shares against `LIMIT`, for each density."""
    lines = []
    for of in comparisons:
        for text, label, value, over in (
            ("MLE over-generalises", "VAE", "off", True),
            ("a GAN drops", "GAN", "missed", True),
            ("CQ does not over-generalise", "CQ", "off", False),
            ("CQ does not drop", "CQ", "missed", False),
        ):
            shares = [getattr(d, value) for d in of.distances[label]]
            count = sum((v > LIMIT) == over for v in shares)
            verdict = "holds" if count == len(shares) else "does not hold" if count == 0 else "undecided"
            rule = f"{'off the support' if value == 'off' else 'missed'} {'>' if over else '≤'} {LIMIT:.0%}"
            lines.append((f"{of.name}: {text}", rule, " / ".join(f"{v:.1%}" for v in shares), verdict))
    return table("Said and measured, each seed by itself", ["Sentence", "means", "measured", "verdict"], lines)


# --- the weight of L_Q ---------------------------------------------------------------------------------------


def vary_weight(of: Comparison) -> Weighted:
    """Log-density and distance by the weight of L_Q, from none to L_Q alone, for the first seed; from one start."""
    more = of.train(of.lattice.data, of.steps, quality=OTHER_LAMBDAS, seeds=of.seeds[:1] * len(OTHER_LAMBDAS))
    log_q = dict(zip(OTHER_LAMBDAS, of.lattice.log_density(more.log_prob), strict=True)) | {LAMBDA: of.log_q["CQ"][0]}
    named = {f"λ = {weight:g}": log_q[weight] for weight in sorted(log_q)}
    both_ends = {"L_C alone": of.log_q["VAE"][0]} | named | {"L_Q alone": of.log_q["GAN"][0]}
    return {name: (q, of.lattice.distance(q)) for name, q in both_ends.items()}


def weight_board(of: Comparison, weighted: Weighted) -> HTML:
    """A density per weight: the still picture of the slider."""
    titled = [(_title(name, d), log_q) for name, (log_q, d) in weighted.items()]
    rows = [("", dict(titled[:3])), ("", dict(titled[3:]))]
    return density_board(of.lattice, rows, 7.6, 5.0, f"Densities for {', '.join(weighted)}")


def weight_curves(weighted: Weighted) -> HTML:
    """Both divergences, and both shares, over the weight of L_Q."""
    kinds = (("nats", {"KL(p ‖ p_θ)": "coverage", "KL(p_θ ‖ p)": "quality"}),
             ("share", {"off the support": "off", "missed": "missed"}))  # fmt: skip
    with subplots(8.0, 3.0, 1, 2) as (figure, axes):
        for ax, (unit, lines) in zip(axes, kinds, strict=True):
            for k, (label, field) in enumerate(lines.items()):
                colour, marker = plots.mark(k)
                values = [getattr(d, field) for _, d in weighted.values()]
                ax.plot(range(len(values)), values, color=colour, marker=marker, markersize=5, label=label)
            ax.set_xticks(range(len(weighted)), [name.replace("λ = ", "").replace(" alone", "") for name in weighted])
            ax.set(xlabel="weight λ of L_Q", ylabel=unit)
            ax.set_ylim(bottom=0)
            legend(ax)
    ends = [f"{name}: {number(d.coverage)} and {number(d.quality)} nats" for name, (_, d) in weighted.items()]
    return picture(figure, f"Divergences over the weight of L_Q. {'; '.join(ends)}")


def weight_slider(of: Comparison, weighted: Weighted) -> Any:
    """A choice of the weight."""

    def draw(weight: str) -> HTML:
        log_q, distance = weighted[weight]
        return single_density(of.lattice, log_q, _title(weight, distance))

    return slider(draw, weight=list(weighted))
