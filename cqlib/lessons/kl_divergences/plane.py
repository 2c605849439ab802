"""Lesson 01 in the plane, and what the two divergences forgive: fits with a full covariance, and models with too much
or too little."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cqlib import losses
from cqlib.lessons.drawing import number, table
from cqlib.lessons.kl_divergences.fits import forward, reverse
from cqlib.lessons.kl_divergences.gaussians import Gaussians, entropy, gaussian, in_plane, kl, mixed, on_line
from cqlib.lessons.kl_divergences.pictures import FORWARD, REVERSE
from cqlib.report import plots
from cqlib.report.cells import picture


def crossed() -> Gaussians:
    """Two correlated modes of weights 0.6 and 0.4, in the manner of Bishop (2006), figure 10.3."""
    covariances = torch.tensor([[[1, 0.7], [0.7, 1]], [[1, -0.6], [-0.6, 0.8]]], dtype=torch.float64)
    means = torch.tensor([[-2.2, -1.2], [2.2, 1.2]], dtype=torch.float64)
    return Gaussians(torch.tensor([0.6, 0.4], dtype=torch.float64), means, torch.linalg.cholesky(covariances))


def eight() -> tuple[Gaussians, dict[str, Gaussians]]:
    """toy2d's eight Gaussians, and fits to them: forward, and reverse from one mode and from the forward fit.

    The other seven modes are the first one, turned.
    """
    p = in_plane("eight-gaussians")
    whole = forward(p)
    return p, {
        "forward fit": whole,
        "reverse, from one mode": reverse(p, gaussian(p.means[0], p.roots[0])),
        "reverse, from all modes": reverse(p, whole),
    }


def contours(p: Gaussians, fits: Mapping[str, Gaussians], side: float) -> HTML:
    """p in grey, and each fit by the ellipses that lie one and two standard deviations from its mean."""
    axis = torch.linspace(-side, side, 161, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    values = p.log_prob(torch.stack([x, y], -1).view(-1, 2)).exp().view(161, 161)
    levels = [float(values.max()) * f for f in (0.03, 0.15, 0.35, 0.6, 0.85, 1.01)]
    words = []
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(2.75 * len(fits), 3.4)
        for ax, (name, q) in zip(figure.subplots(1, len(fits), sharey=True), fits.items(), strict=True):
            for low, high in zip(levels, levels[1:], strict=False):
                ax.contourf(axis, axis, values, [low, high], colors=[plots.FAINT], alpha=0.15 + 0.7 * low / levels[-1])
            colour = FORWARD if name.startswith("forward") else REVERSE
            _ellipses(ax, q, colour)
            value = float(kl(p, q) if name.startswith("forward") else kl(q, p))
            ax.set_title(f"{name}\n{'KL(p ‖ q)' if name.startswith('forward') else 'KL(q ‖ p)'} = {value:.2f} nats")
            ax.set_aspect("equal")
            ax.set_xlim(-side, side)
            ax.set_ylim(-side, side)
            ax.set_xlabel("x₁")
            ax.grid(False)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.yaxis.set_major_locator(MaxNLocator(4))
            words.append(f"{name} at ({float(q.means[0, 0]):.1f}, {float(q.means[0, 1]):.1f}), {value:.2f} nats")
        figure.axes[0].set_ylabel("x₂")
    return picture(figure, f"Contours of p in the plane with fitted Gaussians: {'; '.join(words)}")


def _ellipses(ax: Axes, q: Gaussians, colour: str) -> None:
    turn = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    circle = torch.stack([turn.cos(), turn.sin()], -1)
    for radius in (1, 2):
        around = q.means[0] + radius * circle @ q.roots[0].T
        ax.plot(around[:, 0], around[:, 1], color=colour)


# --- maximum likelihood ----------------------------------------------------------------------------------------


def coverage_of(q: Gaussians, x: Tensor) -> Tensor:
    """The package's Eq. (4) for points (n, 1) and a single Gaussian on the line, which has no code: KL(q(z|x) || p(z))
    is 0. In nats."""
    log_p = losses.gaussian_log_density(x, q.means, q.roots[0].log())
    return losses.coverage_loss(log_p, torch.zeros_like(log_p))


def likelihood(p: Gaussians, sizes: Sequence[int] = (30, 300, 3000, 30_000)) -> HTML:
    """L_C of the forward fit on n draws, less the entropy of p, beside KL(p || q); and what a Gaussian fitted to those
    draws by maximum likelihood costs on all of p."""
    best, h, lines = forward(p), float(entropy(p)), []
    for n in sizes:
        x = p.sample(n, torch.Generator().manual_seed(0))
        error = float(best.log_prob(x).std()) / math.sqrt(n)
        fitted = on_line([float(x.mean())], [float(x.std(correction=0))], [1])
        lines.append([f"{n:,}", f"{number(float(coverage_of(best, x)) - h, 4)} ± {error:.4f}",
                      number(float(kl(p, fitted)), 4)])  # fmt: skip
    value = float(kl(p, best))
    x, weights = p.nodes()
    lines.append(["∞", number(-float(weights @ best.log_prob(x)) - h, 4), number(value, 4)])
    return table(
        f"Maximum likelihood; KL(p ‖ q) = {value:.4f} nats, h(p) = {h:.4f} nats",
        ["draws n", "L_C − h(p) of the forward fit", "KL(p ‖ q) of the fit to the draws"],
        lines,
    )


def forgiven(p: Gaussians) -> HTML:
    """Models that are p but for one fault: a tenth of their mass is elsewhere, or one mode is missing."""
    ten = {f"0.9 p + 0.1 N({far}, 1)": mixed(p, on_line([far], [1], [1]), 0.1) for far in (0, 10, 20)}
    modes = {
        name: Gaussians(torch.ones(1, dtype=torch.float64), p.means[k : k + 1], p.roots[k : k + 1])
        for k, name in enumerate(("the left mode of p alone", "the right mode of p alone"))
    }
    lines = [[name, number(float(kl(p, q)), 3), number(float(kl(q, p)), 3)] for name, q in (ten | modes).items()]
    return table("What each divergence forgives, in nats", ["Model q", "KL(p ‖ q)", "KL(q ‖ p)"], lines)
