"""Lesson 02, where the mass goes when only training points are scored: a part eps of the data's mass, moved elsewhere.

    q = (1 - eps) p + eps u

Since q >= (1 - eps) p, the price in likelihood KL(p || q) is at most -ln(1 - eps) wherever u is, and just that where u
is off the support. The other divergence sees where: without overlap

    KL(q || p) = (1 - eps) ln(1 - eps) + eps (ln eps + KL(u || p))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import matplotlib
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from cqlib.data.toy2d import GaussianMixture
from cqlib.lessons.coverage_and_quality.exact_plane import CELLS, SIDE, Ruler
from cqlib.lessons.drawing import number, table
from cqlib.report import plots
from cqlib.report.cells import live, picture

PLACES = {
    "in the middle": GaussianMixture(torch.zeros(1, 2), 0.12),
    "in a corner": GaussianMixture(torch.full((1, 2), 1.1), 0.08),
    "all over": GaussianMixture(torch.zeros(1, 2), 0.4),
}
"""Where the mass is moved to."""
SHARES = (0.03, 0.1, 0.3)


@dataclass(frozen=True)
class Moved:
    """q for one place and one eps: what is measured of it."""

    log_q: Tensor
    """On the lattice."""
    likelihood: float
    """L_C of Eq. (4), on training points."""
    coverage: float
    quality: float
    formula: float
    """KL(q || p) for disjoint supports."""


def moved(ruler: Ruler, place: str, eps: float, n: int = 5000) -> Moved:
    """The data with a share eps < 1 of its mass at `place`; L_C by n training points."""
    u = PLACES[place]

    def log_prob(x: Tensor) -> Tensor:
        kept = ruler.data.log_prob(x) + math.log1p(-eps)
        return torch.logaddexp(kept, u.log_prob(x) + math.log(eps)) if eps else kept

    train = ruler.data.sample(n, torch.Generator().manual_seed(0))
    log_q = ruler.log_density(log_prob)
    found = ruler.distance(log_q)
    formula = 0.0
    if eps:
        of_u = ruler.distance(ruler.log_density(u.log_prob)).quality
        formula = (1 - eps) * math.log1p(-eps) + eps * (math.log(eps) + of_u)
    return Moved(log_q, -float(log_prob(train).mean()), found.coverage, found.quality, formula)


def prices(ruler: Ruler) -> HTML:
    """L_C, its rise, the bound on it, and both divergences, by place and eps."""
    start = moved(ruler, "in a corner", 0.0)
    cases = [("in a corner", eps) for eps in (0.01, 0.1, 0.5)] + [(place, 0.1) for place in PLACES]
    lines = [["nowhere", "0", number(start.likelihood, 3), *["0"] * 5]]
    for place, eps in dict.fromkeys(cases):
        m = moved(ruler, place, eps)
        rise = m.likelihood - start.likelihood
        values = (m.likelihood, rise, -math.log1p(-eps), m.coverage, m.quality, m.formula)
        lines.append([place, f"{eps:g}", *(number(v, 3) for v in values)])
    head = ["Mass moved", "ε", "L_C, Eq. (4)", "its rise", "−ln(1 − ε)", "KL(p ‖ q)", "KL(q ‖ p)", "without overlap"]
    return table("What it costs to move mass away, nats", head, lines)


def density(ax: Axes, ruler: Ruler, log_q: Tensor, title: str) -> matplotlib.image.AxesImage:
    """A density (CELLS^2,), its square root in colour so that thin mass is seen, with the outline of the data's
    support."""
    extent = (-SIDE, SIDE, -SIDE, SIDE)
    norm = PowerNorm(0.5, vmin=0, vmax=float(ruler.log_p.max().exp()))
    image = ax.imshow(log_q.exp().view(CELLS, CELLS), origin="lower", extent=extent, norm=norm, interpolation="none")
    outline = ruler.support.view(CELLS, CELLS).double()
    ax.contour(outline, [0.5], extent=extent, colors="#ffffff", linewidths=0.5)
    ax.set_title(title, fontsize=8)
    ax.set_aspect("equal")
    ax.grid(False)
    ax.set_xticks([-1, 0, 1])
    ax.set_yticks([-1, 0, 1])
    return image


def pictures(ruler: Ruler) -> HTML:
    """A row per place, a column per eps."""
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(7.6, 6.9)
        axes = figure.subplots(len(PLACES), len(SHARES), sharex=True, sharey=True)
        for row, place in zip(axes, PLACES, strict=True):
            for ax, eps in zip(row, SHARES, strict=True):
                m = moved(ruler, place, eps)
                image = density(ax, ruler, m.log_q, _title(eps, m))
            row[0].set_ylabel(place)
        figure.colorbar(image, ax=list(axes.flat), label="density", shrink=0.6)
    alt = f"The data with {SHARES} of its mass moved {', '.join(PLACES)}: rows differ in KL(q || p), not in KL(p || q)"
    return picture(figure, alt)


def _title(eps: float, m: Moved) -> str:
    return f"ε = {eps:g}: KL(p‖q) {number(m.coverage)}, KL(q‖p) {number(m.quality)}"


def slider(ruler: Ruler) -> Any:
    """A slider for eps and a choice of place; None where nobody can move it."""
    if not live():
        return None
    import ipywidgets as widgets

    def draw(place: str, eps: float) -> Figure:
        with matplotlib.rc_context(plots.STYLE):
            figure = plots.blank(4.2, 3.6)
            m = moved(ruler, place, eps)
            density(figure.subplots(), ruler, m.log_q, _title(eps, m))
        return figure

    return follow(
        draw,
        place=widgets.Dropdown(options=list(PLACES), description="place"),
        eps=widgets.FloatSlider(0.1, min=0, max=0.9, step=0.01, description="ε", continuous_update=False),
    )


def follow(draw: Any, **controls: Any) -> Any:
    """Widgets above a figure that follows them, `draw(**values)`."""
    import ipywidgets as widgets

    def redraw(**values: Any) -> None:
        what = ", ".join(f"{name} {value}" for name, value in values.items())
        view.value = f'<img alt="density for {what}" src="{plots.data_uri(plots.to_png(draw(**values)))}">'

    view = widgets.HTML()
    widgets.interactive_output(redraw, controls)
    return widgets.VBox([widgets.HBox(list(controls.values())), view])
