"""Lesson 02, coverage and quality: L_C alone, L_Q alone, and both, where the data's density is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from IPython.display import HTML
from torch import Tensor

from cqlib.lessons import toy2d
from cqlib.lessons.coverage_and_quality.distances import DROPPED_BELOW, Distance, Lattice
from cqlib.lessons.coverage_and_quality.pictures import density_board, single_density
from cqlib.report import plots
from cqlib.report.cells import Format, number, panels, percent, picture, system_style, table

LAMBDA = 1.0
OBJECTIVES: dict[str, dict[str, float]] = {
    "VAE": {"coverage": 1.0, "quality": 0.0},
    "GAN": {"coverage": 0.0, "quality": 1.0},
    "CQ": {"coverage": 1.0, "quality": LAMBDA},
}
"""Name of an objective in Table 1 -> its weights of L_C ("coverage") and L_Q ("quality")."""
OTHER_LAMBDAS = (0.3, 3.0, 10.0)
Weighted = dict[str, tuple[Tensor, Distance]]


@dataclass(frozen=True)
class Comparison:
    """By objective, models of the density `name`, one for each of S seeds: their ln q (S, CELLS^2) and distances from
    the data. `train` (data, steps, coverage=, quality=, seeds=) is the notebook's function that trains them."""

    name: str
    lattice: Lattice
    train: Callable[..., Any]
    seeds: tuple[int, ...]
    steps: int
    models: dict[str, Any]
    log_q: dict[str, Tensor]
    distances: dict[str, list[Distance]]


def densities(data: Sequence[str]) -> list[str]:
    """The names of two densities of the plane: first those that `data` names, then the default ones. Other names, of
    data sets of images, are left out."""
    if others := [name for name in data if name not in toy2d.DENSITIES]:
        print(f"{', '.join(others)}: no known density, left out; there are {', '.join(toy2d.DENSITIES)}")
    names = [name for name in data if name in toy2d.DENSITIES]
    return list(dict.fromkeys([*names, toy2d.DEFAULT, "spiral"]))[:2]


def compare(name: str, train: Callable[..., Any], seeds: Sequence[int], steps: int) -> Comparison:
    """Train all objectives on the density `name`, once per seed: the same starts, only the loss differs."""
    data = toy2d.density(name)
    lattice = Lattice(data)
    models = {label: train(data, steps, seeds=seeds, **weights) for label, weights in OBJECTIVES.items()}
    log_q = {label: lattice.log_density(m.log_prob) for label, m in models.items()}
    distances = {label: [lattice.distance(q) for q in of_seeds] for label, of_seeds in log_q.items()}
    return Comparison(name, lattice, train, tuple(seeds), steps, models, log_q, distances)


def board(comparison: Comparison) -> HTML:
    """Densities: a row per seed, the data and a column per objective."""
    rows = []
    for i, seed in enumerate(comparison.seeds):
        models = {_title(label, comparison.distances[label][i]): log_q[i] for label, log_q in comparison.log_q.items()}
        rows.append((f"seed {seed}", {"data, exact": comparison.lattice.log_p} | models))
    names = ", ".join(comparison.log_q)
    alt = f"The density {comparison.name} beside those of {names}, a row per seed, the support outlined"
    return density_board(comparison.lattice, rows, 8.6, 2.05 * len(comparison.seeds) + 0.2, alt)


def _title(label: str, d: Distance) -> str:
    return f"{label}: {d.off:.0%} off, {d.missed:.0%} missed"


def distance_table(comparison: Comparison) -> HTML:
    """Both divergences, mass off the support, data missed, and modes covered, seed by seed."""
    modes = comparison.lattice.data.modes
    formats: dict[str, Format | None] = {"Model": None, "KL(p ‖ p_θ)": 2, "KL(p_θ ‖ p)": 2, "off the support": percent,
                                         "data missed": percent}  # fmt: skip
    if modes is not None:
        formats |= {f"modes of {len(modes)}": 0, "poorest mode's share": 2}
    lines = []
    for label, of_seeds in comparison.distances.items():
        for seed, d in zip(comparison.seeds, of_seeds, strict=True):
            of_modes = [] if modes is None else [d.modes, min(d.mode_shares)]
            lines.append([f"{label}, seed {seed}", d.coverage, d.quality, d.off, d.missed, *of_modes])
    return table(f"{comparison.name}, {comparison.steps:,} steps; divergences in nats", formats, lines)


def mode_shares(comparison: Comparison) -> HTML:
    """Each mode's mass over its mass in the data, for the first seed, the richest first."""
    if comparison.lattice.data.modes is None:
        return HTML(f"<p>The density {comparison.name} has no modes.</p>")
    shares = {label: sorted(of_seeds[0].mode_shares, reverse=True) for label, of_seeds in comparison.distances.items()}
    ranks = range(1, len(comparison.lattice.data.modes) + 1)
    lines = {label: (ranks, values, *system_style(label), "-") for label, values in shares.items()}
    lines["dropped below"] = (ranks, [DROPPED_BELOW] * len(ranks), plots.FAINT, "", "--")
    figure = panels({"": lines}, xlabel="modes, the richest first", ylabel="mass over the data's", width=5.0)
    figure.axes[0].set_ylim(bottom=0)
    poorest = ", ".join(f"{label} {values[-1]:.2f}" for label, values in shares.items())
    return picture(figure, f"Mass of each mode over its mass in the data; the poorest: {poorest}")


def pairs(*comparisons: Comparison) -> HTML:
    """Mass off the support with L_C alone and with both losses, data missed with L_Q alone and with both: a line for
    each density and seed, whose models start alike."""
    lines = []
    for comparison in comparisons:
        for i, seed in enumerate(comparison.seeds):
            vae, gan, cq = (comparison.distances[label][i] for label in ("VAE", "GAN", "CQ"))
            lines.append((f"{comparison.name}, seed {seed}", vae.off, cq.off, gan.missed, cq.missed))
    head = ("off the support: VAE", "off the support: CQ", "data missed: GAN", "data missed: CQ")
    return table("One loss and both, pair by pair", {"Density": None, **dict.fromkeys(head, percent)}, lines)


# --- the weight of L_Q ---------------------------------------------------------------------------------------


def vary_weight(comparison: Comparison) -> Weighted:
    """Name of a weight of L_Q, from L_C alone to L_Q alone -> log-density and distance of the model for the first seed.
    All start alike."""
    lattice, seeds = comparison.lattice, comparison.seeds[:1] * len(OTHER_LAMBDAS)
    more = comparison.train(lattice.data, comparison.steps, quality=OTHER_LAMBDAS, seeds=seeds)
    log_q = dict(zip(OTHER_LAMBDAS, lattice.log_density(more.log_prob), strict=True))
    log_q |= {LAMBDA: comparison.log_q["CQ"][0]}
    named = {f"λ = {weight:g}": log_q[weight] for weight in sorted(log_q)}
    both_ends = {"L_C alone": comparison.log_q["VAE"][0]} | named | {"L_Q alone": comparison.log_q["GAN"][0]}
    return {name: (q, lattice.distance(q)) for name, q in both_ends.items()}


def weight_board(comparison: Comparison, weighted: Weighted) -> HTML:
    """A density per weight."""
    titled = [(_title(name, d), log_q) for name, (log_q, d) in weighted.items()]
    rows = [("", dict(titled[:3])), ("", dict(titled[3:]))]
    return density_board(comparison.lattice, rows, 7.6, 5.0, f"Densities for {', '.join(weighted)}")


def weight_curves(weighted: Weighted) -> HTML:
    """Both divergences, and both shares, over the weight of L_Q."""
    kinds = {"divergences": {"KL(p ‖ p_θ)": "coverage", "KL(p_θ ‖ p)": "quality"},
             "shares": {"off the support": "off", "missed": "missed"}}  # fmt: skip
    names = [name.replace("λ = ", "").replace(" alone", "") for name in weighted]
    lines = {
        title: {label: (names, [getattr(d, field) for _, d in weighted.values()], *plots.colour_and_marker(k), "-")
                for k, (label, field) in enumerate(fields.items())}
        for title, fields in kinds.items()
    }  # fmt: skip
    figure = panels(lines, xlabel="weight λ of L_Q", ylabel=["nats", "share"], width=3.8)
    for ax in figure.axes:
        ax.set_ylim(bottom=0)
    ends = [f"{name}: {number(d.coverage)} and {number(d.quality)} nats" for name, (_, d) in weighted.items()]
    return picture(figure, f"Divergences over the weight of L_Q. {'; '.join(ends)}")


def weighted_density(comparison: Comparison, weighted: Weighted, weight: str) -> HTML:
    """The density of one of the models that `vary_weight` returns."""
    log_q, distance = weighted[weight]
    return single_density(comparison.lattice, _title(weight, distance), log_q)
