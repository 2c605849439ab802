"""Lesson 01, a discriminator that has to learn: a small net on draws of two densities that are known.

It is trained by the package's Eq. (1); minus its mean logit on samples of q is the estimate of KL(q || p) that L_Q is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import matplotlib
import numpy as np
import torch
from IPython.display import HTML
from torch import Tensor, nn

from cqlib import losses
from cqlib.lessons.drawing import number, table
from cqlib.lessons.kl_divergences.gaussians import Gaussians, jensen_shannon, kl, region_level
from cqlib.lessons.kl_divergences.optimal_discriminator import optimal
from cqlib.lessons.kl_divergences.pictures import FORWARD, REVERSE, density, line
from cqlib.report import plots
from cqlib.report.cells import picture

BATCH, JUDGED = 512, 20_000
"""Draws of either side per step, and evenly spread points on which the estimate is taken."""


class Source(Protocol):
    """What one can draw points (n, 1) from; `even` gives them evenly spread."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor: ...

    def even(self, n: int) -> Tensor: ...


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
class Learned:
    """A discriminator's net, (n, 1) -> (n,) logits, and its estimates of L_Q: [step, nats]."""

    net: nn.Module
    curve: list[tuple[int, float]]

    @torch.no_grad()
    def logit(self, x: Tensor) -> Tensor:
        """Logits (n,) of points (n, 1), float64."""
        return self.net(x.float())[:, 0].double()


def learn(p: Source, q: Source, steps: int, *, decay: bool = True, seed: int = 0) -> Learned:
    """Adam on Eq. (1) with fresh draws of p (real) and of q (made); `decay` lets the learning rate end at 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps if decay else 1.0)
    learned, judged = Learned(net, []), q.even(JUDGED)
    for step in range(steps + 1):
        if step % 25 == 0 or step == steps:
            learned.curve.append((step, float(losses.quality_loss(learned.logit(judged)))))
        x = torch.cat([source.sample(BATCH, generator) for source in (p, q)])
        real, fake = net(x.float())[:, 0].split(BATCH)
        optimiser.zero_grad()
        losses.discriminator_loss(real, fake).backward()
        optimiser.step()
        schedule.step()
    return learned


# --- where everything is known ---------------------------------------------------------------------------------


def results(p: Gaussians, qs: Mapping[str, Gaussians], learned: Mapping[str, Learned]) -> HTML:
    """L_Q and the discriminator's own loss of trained nets, beside their exact optima."""
    lines = []
    for name, q in qs.items():
        net = learned[name]
        real, fake = net.logit(p.even(JUDGED)), net.logit(q.even(JUDGED))
        lines.append([name, number(float(losses.quality_loss(fake)), 3), number(float(kl(q, p)), 3),
                      number(float(losses.discriminator_loss(real, fake)), 4),
                      number(np.log(4) - 2 * float(jensen_shannon(p, q)), 4)])  # fmt: skip
    head = ["q", "L_Q, learned D", "KL(q ‖ p)", "Eq. (1), learned D", "ln 4 − 2 JS"]
    return table("A learned discriminator, in nats", head, lines)


def where_it_falls_short(p: Gaussians, qs: Mapping[str, Gaussians], learned: Mapping[str, Learned]) -> HTML:
    """L_Q and KL(q || p) in two parts: samples of q inside p's 99 % region, and outside it."""
    lines, level = [], region_level(p)
    for name, q in qs.items():
        x = q.even(JUDGED)
        inside = p.log_prob(x) >= level
        for part, here in (("inside", inside), ("outside", ~inside)):
            logits = learned[name].logit(x), optimal(p, q)(x)
            found, exact = (float((-logit * here).mean()) for logit in logits)
            lines.append([f"{name}, {part}", f"{float(here.double().mean()):.1%}", number(found, 3), number(exact, 3)])
    head = ["q, samples inside or outside p", "of q", "L_Q, learned D", "KL(q ‖ p)"]
    return table("Contributions of two parts of q, in nats", head, lines)


def beside_the_ratio(p: Gaussians, qs: Mapping[str, Gaussians], learned: Mapping[str, Learned], reach: float) -> HTML:
    """The net's logit, the exact log-ratio, and below both densities, for each q."""
    x = line(reach)
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.4, 4.6)
        above, below = figure.subplots(2, len(qs), sharex=True, sharey="row", height_ratios=[1.6, 1])
        for ax, under, (name, q), colour in zip(above, below, qs.items(), (FORWARD, REVERSE), strict=True):
            ax.plot(x, optimal(p, q)(x), "--", color=plots.INK, label="exact: ln p − ln q")
            ax.plot(x, learned[name].logit(x), color=colour, label="learned logit")
            ax.axhline(0, color=plots.FAINT, linewidth=0.8, zorder=0)
            ax.set_ylim(-12, 12)
            ax.set_title(f"q: {name}")
            ax.legend(frameon=False, fontsize=8.5, loc="upper left")
            density(under, p, x)
            under.plot(x, q.log_prob(x).exp(), color=colour, label="q")
            under.legend(frameon=False, fontsize=8.5, loc="upper right")
            under.set_xlabel("x (standard deviations of a mode)")
        above[0].set_ylabel("logit l(x), nats")
        below[0].set_ylabel("density")
    return picture(figure, "Learned logits follow the exact log-ratio where p or q has mass, and leave it beyond")


def convergence(p: Gaussians, qs: Mapping[str, Gaussians], learned: Mapping[str, Learned]) -> HTML:
    """L_Q of the discriminator over its training, and the exact divergence."""
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(5.6, 3.0)
        ax = figure.subplots()
        for (name, q), colour in zip(qs.items(), (FORWARD, REVERSE), strict=True):
            steps, values = np.asarray(learned[name].curve).T
            exact = float(kl(q, p))
            ax.plot(steps, values, color=colour, label=f"q: {name}")
            ax.axhline(exact, linestyle="--", color=colour, linewidth=1)
            where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            ax.annotate(f"exact {exact:.3f}", (1.0, exact), (4, 0), **where, color=colour, va="center")
        ax.set_xlabel("training step of the discriminator")
        ax.set_ylabel("−E_q[l(x)], nats")
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False, loc="lower right")
    ends = "; ".join(f"{name}: {net.curve[-1][1]:.3f}" for name, net in learned.items())
    return picture(figure, f"L_Q rises from 0 to the exact divergence as the discriminator learns. At the end {ends}")


# --- where supports part ---------------------------------------------------------------------------------------

SHIFTS = (0.0, 0.5, 1.5)


def of_uniforms(steps: int) -> dict[float, Learned]:
    """Discriminators of the uniform densities on [0, 1) and on [a, a + 1), for each shift a, at a constant rate."""
    return {a: learn(Uniform(0.0), Uniform(a), steps, decay=False) for a in SHIFTS}


def supports(learned: Mapping[float, Learned]) -> HTML:
    """L_Q over the training of each discriminator, and the logit at its end."""
    x = torch.linspace(-1, 3.5, 400, dtype=torch.float64)[:, None]
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 3.1)
        left, right = figure.subplots(1, 2)
        for i, (a, net) in enumerate(learned.items()):
            steps, values = np.asarray(net.curve).T
            colour, style = plots.SERIES[(0, 2, 1)[i]], ("-", "--", ":")[i]
            left.plot(steps, values, style, color=colour, label=f"a = {a:g}")
            right.plot(x, net.logit(x), style, color=colour, label=f"a = {a:g}")
        left.set_xlabel("training step of the discriminator")
        left.set_ylabel("−E_q[l(x)], nats")
        left.set_title("L_Q while D learns")
        right.set_xlabel("x")
        right.set_ylabel("logit l(x), nats")
        right.set_title("the logit at the end")
        left.legend(frameon=False, loc="upper left")
        right.axvspan(0, 1, color=plots.FAINT, alpha=0.25, linewidth=0)
        right.annotate("p", (0.5, 0.02), xycoords=("data", "axes fraction"), ha="center")
    ends = ", ".join(f"{net.curve[-1][1]:.1f} for a = {a:g}" for a, net in learned.items())
    return picture(figure, f"Without a common support L_Q grows for as long as D is trained: {ends} at the end")


def supports_table(learned: Mapping[float, Learned]) -> HTML:
    """Exact divergences of the shifted uniform densities, and what the discriminator says halfway and at the end."""
    lines = []
    for a, net in learned.items():
        half, end = net.curve[len(net.curve) // 2], net.curve[-1]
        lines.append([f"a = {a:g}", "0" if a == 0 else "∞", number(min(a, 1) * np.log(2), 3),
                      number(half[1], 2), number(end[1], 2)])  # fmt: skip
    head = ["Shift", "KL(q ‖ p)", "JS(p, q)", f"L_Q, {half[0]:,} steps", f"L_Q, {end[0]:,} steps"]
    return table("Uniform densities on [0, 1) and [a, a + 1), in nats", head, lines)
