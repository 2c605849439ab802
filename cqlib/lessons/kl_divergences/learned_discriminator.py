"""Lesson 01, a discriminator that has to learn: a small net on draws of two densities that are known."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from IPython.display import HTML
from torch import Tensor, nn

from cqlib.lessons.kl_divergences.gaussians import Gaussians, kl
from cqlib.lessons.kl_divergences.line import FORWARD, REVERSE, density, grid
from cqlib.lessons.kl_divergences.optimal_discriminator import optimal_logit
from cqlib.report import plots
from cqlib.report.cells import picture, subplots


@dataclass(frozen=True)
class Uniform:
    """The uniform density on [low, low + 1)."""

    low: float

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent points (n, 1)."""
        return self.low + torch.rand(n, 1, generator=generator, dtype=torch.float64)

    def even(self, n: int) -> Tensor:
        """The middles of n equal parts, (n, 1)."""
        return self.low + (torch.arange(n, dtype=torch.float64)[:, None] + 0.5) / n


@dataclass(frozen=True)
class Discriminator:
    """A trained net, (n, 1) -> (n, 1) logits, and its estimates of L_Q during training: (step, nats)."""

    net: nn.Module
    curve: list[tuple[int, float]]

    @torch.no_grad()
    def logit(self, x: Tensor) -> Tensor:
        """Logits (n,) of points (n, 1), float64."""
        return self.net(x.float())[:, 0].double()


Densities = Mapping[str, Gaussians]
Discriminators = Mapping[str, Discriminator]


def logits(p: Gaussians, qs: Densities, learned: Discriminators, reach: float) -> HTML:
    """The net's logit, the exact log-ratio, and below both densities, for each q."""
    x = grid(reach)
    with subplots(8.4, 4.6, 2, len(qs), sharex=True, sharey="row", height_ratios=[1.6, 1]) as (figure, axes):
        for (ax, under), (name, q), colour in zip(axes.T, qs.items(), (FORWARD, REVERSE), strict=True):
            ax.plot(x, optimal_logit(p, q)(x), "--", color=plots.INK, label="exact: ln p − ln q")
            ax.plot(x, learned[name].logit(x), color=colour, label="learned logit")
            ax.axhline(0, color=plots.FAINT, linewidth=0.8, zorder=0)
            ax.set(ylim=(-12, 12), title=f"q: {name}")
            ax.legend(frameon=False, fontsize=8.5, loc="upper left")
            density(under, p, x)
            under.plot(x, q.log_prob(x).exp(), color=colour, label="q")
            under.legend(frameon=False, fontsize=8.5, loc="upper right")
            under.set_xlabel("x (standard deviations of a mode)")
        axes[0, 0].set_ylabel("logit l(x), nats")
        axes[1, 0].set_ylabel("density")
    return picture(figure, "Learned logits follow the exact log-ratio where p or q has mass, and leave it beyond")


def convergence(p: Gaussians, qs: Densities, learned: Discriminators) -> HTML:
    """L_Q of the discriminator over its training, and the exact divergence."""
    where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    with subplots(5.6, 3.0) as (figure, ax):
        for (name, q), colour in zip(qs.items(), (FORWARD, REVERSE), strict=True):
            exact = float(kl(q, p))
            ax.plot(*np.asarray(learned[name].curve).T, color=colour, label=f"q: {name}")
            ax.axhline(exact, linestyle="--", color=colour, linewidth=1)
            ax.annotate(f"exact {exact:.3f}", (1.0, exact), (4, 0), **where, color=colour, va="center")
        ax.set(xlabel="training step of the discriminator", ylabel="−E_q[l(x)], nats")
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False, loc="lower right")
    ends = "; ".join(f"{name}: {d.curve[-1][1]:.3f}" for name, d in learned.items())
    return picture(figure, f"L_Q rises from 0 to the exact divergence as the discriminator learns. At the end {ends}")


def uniform_curves(learned: Mapping[float, Discriminator]) -> HTML:
    """L_Q over the training of each discriminator, and the logit at its end."""
    x = torch.linspace(-1, 3.5, 400, dtype=torch.float64)[:, None]
    with subplots(8.6, 3.1, 1, 2) as (figure, (left, right)):
        for i, (a, discriminator) in enumerate(learned.items()):
            look = {"linestyle": ("-", "--", ":")[i], "color": plots.SERIES[(0, 2, 1)[i]], "label": f"a = {a:g}"}
            left.plot(*np.asarray(discriminator.curve).T, **look)
            right.plot(x, discriminator.logit(x), **look)
        left.set(xlabel="training step of the discriminator", ylabel="−E_q[l(x)], nats", title="L_Q while D learns")
        right.set(xlabel="x", ylabel="logit l(x), nats", title="the logit at the end")
        left.legend(frameon=False, loc="upper left")
        right.axvspan(0, 1, color=plots.FAINT, alpha=0.25, linewidth=0)
        right.annotate("p", (0.5, 0.02), xycoords=("data", "axes fraction"), ha="center")
    ends = ", ".join(f"{d.curve[-1][1]:.1f} for a = {a:g}" for a, d in learned.items())
    return picture(figure, f"Without a common support L_Q grows for as long as D is trained: {ends} at the end")
