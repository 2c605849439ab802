"""The trade-off as pictures and in words: likelihood against quality along lambda, without f and with f."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cqlib.experiments.rows import marks, short_label, training_command
from cqlib.experiments.trade_off import CQ, CQ_F, GAN, NOTEBOOK, front
from cqlib.metrics.quantities import QUANTITIES, TEMPERATURES, Quantity, decimal
from cqlib.report import plots
from cqlib.report.fronts import Point, crossings, mean, measured, points_of
from cqlib.report.label_placement import Label, place
from cqlib.report.run_sets import RunSet
from cqlib.util.text import counted

FRONTS = {"without f": CQ, "with f": CQ_F}
SCORES = tuple(QUANTITIES[id] for id in ("fid", "kid", "is", "recall"))
"""What stands against BPD, the paper's score first."""
Points = Mapping[float, Mapping[int, Point]]
"""lambda -> seed -> BPD and a score."""


def figures(runs: RunSet) -> list[dict[str, Any]]:
    """BPD against each of `SCORES` at both temperatures: pictures for the macro `figures`; those of other scores than
    the first are `more`. Empty where neither front has two points."""
    return [
        {"svg": Markup(plots.to_svg(*_picture(runs, quantity, name, at))), "caption": _caption(runs, name, at),
         "more": quantity is not SCORES[0], "wide": False}
        for quantity, name, at in _measured(runs)
    ]  # fmt: skip


def _measured(runs: RunSet) -> Iterator[tuple[Quantity, str, str]]:
    """What there are pictures of: quantity, its name on the features at hand, and "T0" or "T1"."""
    for quantity in SCORES:
        for name in (quantity.name, quantity.lite0):
            for at in TEMPERATURES:
                if max(len(points) for points in fronts(runs, f"{name}@{at}").values()) > 1:
                    yield quantity, name, at


def fronts(runs: RunSet, score: str) -> dict[str, dict[float, dict[int, Point]]]:
    """ "without f", "with f" -> lambda -> seed -> BPD and `score`, of what is finished."""
    return {words: measured(runs.done, row, runs.profile, score) for words, row in FRONTS.items()}


def means(points: Points) -> dict[float, Point]:
    """lambda -> means over seeds."""
    return {weight: mean(by_seed.values()) for weight, by_seed in points.items()}


def _picture(runs: RunSet, quantity: Quantity, name: str, at: str) -> tuple[Figure, str]:
    """The figure, and what it shows in words."""
    score = f"{name}@{at}"
    found: dict[str, Points] = {words: points for words, points in fronts(runs, score).items() if points}
    if gan := points_of(runs.done(GAN), score):
        found[short_label(GAN)] = {0.0: gan}
    places = list(chain(*(points.values() for points in found.values())))
    bars = [(min(x for x, _ in by_seed.values()), max(x for x, _ in by_seed.values())) for by_seed in places]
    colours = {words: plots.mark(marks([row])[short_label(row)]) for words, row in {**FRONTS, "GAN": GAN}.items()}
    with plots.likelihood_axes(bars, f"{name} ({quantity.better} is better)", 4.9, 4.1) as (figure, axes_at):
        labels, segments, handles = [], [], []
        for words, points in found.items():
            colour, marker = colours[words]
            line = means(points)
            for axes in figure.axes:
                axes.plot(*zip(*line.values(), strict=True), color=colour, linewidth=1.4, zorder=2)
            for by_seed, (x, y) in zip(points.values(), line.values(), strict=True):
                axes = axes_at(x)
                axes.scatter(*zip(*by_seed.values(), strict=True), s=9, color=colour, alpha=0.4, linewidth=0, zorder=1)
                axes.scatter(x, y, s=42, color=colour, marker=marker, zorder=3)
            for a, b in pairwise(line.values()):
                if axes_at(a[0]) is axes_at(b[0]):
                    segments.append((axes_at(a[0]), *zip(a, b, strict=True)))
            labels += [Label(_point_label(words, weight), axes_at(p[0]), [p], colour) for weight, p in line.items()]
            if words in FRONTS:
                handles.append(Line2D([], [], color=colour, marker=marker, label=words))
        segments += [(axes_at(x), [x], [y]) for points in found.values() for x, y in means(points).values()]
        figure.legend(handles=handles, ncols=2, loc="outside upper left", frameon=False)
        place(figure, labels, segments)
    values = [f"{_point_label(words, weight)} {words} {x:.2f}, {decimal(name, y)}"
              for words, points in found.items() for weight, (x, y) in means(points).items()]  # fmt: skip
    return figure, f"{name} against bits per dimension at T = {at[1]}, {runs.title}: {'; '.join(values)}"


def _point_label(words: str, weight: float) -> str:
    """ "λ 25", with the name of what is a row of Table 1: "VAE, λ 0"."""
    if words not in FRONTS:
        return words
    row = front(FRONTS[words], "quick")[weight]
    return f"{short_label(row)}, λ {weight:,g}" if " " not in row else f"λ {weight:,g}"


def _caption(runs: RunSet, name: str, at: str) -> str:
    seeds = {len(by_seed) for points in fronts(runs, f"{name}@{at}").values() for by_seed in points.values()}
    several = "; marks are means over seeds, dots the seeds" if max(seeds) > 1 else ""
    return (f"{name} against likelihood at T = {at[1]}, while λ, the weight of the quality loss, grows along each line"
            f"{several}. {runs.title}.")  # fmt: skip


def story(runs: RunSet) -> list[str]:
    """What the pictures of BPD against the paper's distance say, a sentence or two for each temperature: which points
    without f one with f beats in both, where the fronts cross, and what that means for the paper's message."""
    return [_story(runs, name, at) for quantity, name, at in _measured(runs) if quantity is SCORES[0]]


def _story(runs: RunSet, name: str, at: str) -> str:
    without, with_f = (means(points) for points in fronts(runs, f"{name}@{at}").values())
    beaten = [w for w, (x, y) in without.items() if any(u < x and v < y for u, v in with_f.values())]
    found = crossings(without, with_f)
    best = {words: min(line.items(), key=lambda point: point[1][1]) for words, line in
            (("without f", without), ("with f", with_f)) if line}  # fmt: skip
    reached = " and ".join(f"{decimal(name, y)} {words} (λ = {w:,g})" for words, (w, (_, y)) in best.items())
    count = f"{len(beaten) or 'none'} {'is' if len(beaten) == 1 else 'are'} beaten in both scores by one with f"
    text = (f"At T = {at[1]}, of the {counted(len(without), 'point')} without f {count}; the lowest {name} is "
            f"{reached}.")  # fmt: skip
    for (x, y), first, second in found:
        between = [f"λ {a:,g} and {b:,g} {words}" for words, (a, b) in (("without f", first), ("with f", second))]
        text += f" The fronts cross at {x:.2f} bits and {name} {decimal(name, y)}, between {' and '.join(between)}."
    if found:
        return f"{text} Beyond that f does not make the two losses agree: there one loss is served better without it."
    if len(beaten) == len(without):
        return f"{text} The fronts do not cross: whatever weight the two losses have, f is better for both."
    return f"{text} The fronts do not cross."


def not_trained(runs: RunSet, seeds: Sequence[int] = ()) -> str:
    """The points of either front, and the GAN, that have no finished run, with the command; empty if all have one."""
    rows = dict.fromkeys([*chain(*(front(row, runs.profile).values() for row in FRONTS.values())), GAN])
    absent = [short_label(row) for row in rows if not runs.done(row)]
    if not absent:
        return ""
    command = training_command(NOTEBOOK, runs.profile) + (f" --seeds {','.join(map(str, seeds))}," if seeds else "")
    return f"Not trained yet: {', '.join(absent)}. {command}"
