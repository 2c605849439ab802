"""Lesson 01 in the plane: fits with a full covariance to two correlated modes and to eight modes on a ring."""

import math
from collections.abc import Mapping

import torch
from IPython.display import HTML
from matplotlib.ticker import MaxNLocator

from cqlib.lessons.kl_divergences.gaussians import Gaussians, kl
from cqlib.lessons.kl_divergences.line import FORWARD, REVERSE
from cqlib.report import plots
from cqlib.report.cells import picture, subplots


def correlated_modes() -> Gaussians:
    """Two correlated modes of weights 0.6 and 0.4, in the manner of Bishop (2006), figure 10.3."""
    covariances = torch.tensor([[[1, 0.7], [0.7, 1]], [[1, -0.6], [-0.6, 0.8]]], dtype=torch.float64)
    means = torch.tensor([[-2.2, -1.2], [2.2, 1.2]], dtype=torch.float64)
    return Gaussians(torch.tensor([0.6, 0.4], dtype=torch.float64), means, torch.linalg.cholesky(covariances))


def contours(p: Gaussians, fits: Mapping[str, Gaussians], side: float) -> HTML:
    """p in grey, and each fit by the ellipses that lie one and two standard deviations from its mean."""
    axis = torch.linspace(-side, side, 161, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    values = p.log_prob(torch.stack([x, y], -1).view(-1, 2)).exp().view(161, 161)
    levels = [float(values.max()) * f for f in (0.03, 0.15, 0.35, 0.6, 0.85, 1.01)]
    turn = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    circle, words = torch.stack([turn.cos(), turn.sin()], -1), []
    with subplots(2.75 * len(fits), 3.4, 1, len(fits), sharey=True) as (figure, axes):
        for ax, (name, q) in zip(axes, fits.items(), strict=True):
            for low, high in zip(levels, levels[1:], strict=False):
                ax.contourf(axis, axis, values, [low, high], colors=[plots.FAINT], alpha=0.15 + 0.7 * low / levels[-1])
            first, second = (p, q) if name.startswith("forward") else (q, p)
            for radius in (1, 2):
                ellipse = q.means[0] + radius * circle @ q.roots[0].T
                ax.plot(ellipse[:, 0], ellipse[:, 1], color=FORWARD if first is p else REVERSE)
            value = float(kl(first, second))
            title = f"{name}\n{'KL(p ‖ q)' if first is p else 'KL(q ‖ p)'} = {value:.2f} nats"
            ax.set(title=title, aspect="equal", xlim=(-side, side), ylim=(-side, side), xlabel="x₁")
            ax.grid(False)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.yaxis.set_major_locator(MaxNLocator(4))
            words.append(f"{name} at ({float(q.means[0, 0]):.1f}, {float(q.means[0, 1]):.1f}), {value:.2f} nats")
        axes[0].set_ylabel("x₂")
    return picture(figure, f"Contours of p in the plane with fitted Gaussians: {'; '.join(words)}")
