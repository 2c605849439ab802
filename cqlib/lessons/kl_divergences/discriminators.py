"""Lesson 01, what an adversarial pair's losses compute when the discriminator is optimal, and when it has to learn.

    D*(x) = p_train(x) / (p_train(x) + p_theta(x)),    logit l*(x) = ln p_train(x) - ln p_theta(x)

Both densities are known, so l* is; the losses are those of `cqlib.losses`. p stands for p_train, q for p_theta.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from IPython.display import HTML
from torch import Tensor, nn

from cqlib import losses
from cqlib.lessons.kl_divergences.fits import Objective, gradient, pack, unpack
from cqlib.lessons.kl_divergences.gaussians import Gaussians, jensen_shannon, kl, on_line
from cqlib.lessons.kl_divergences.pictures import FORWARD, REVERSE, X, density, grid
from cqlib.report import plots
from cqlib.report.cells import Line, number, panels, picture, subplots, table

Loss = Callable[[Tensor], Tensor]


def optimal_logit(p: Gaussians, q: Gaussians) -> Callable[[Tensor], Tensor]:
    """l*: points (n, d) -> logits (n,) of the optimal discriminator of p (real) and q (generated)."""
    return lambda x: p.log_prob(x) - q.log_prob(x)


GENERATORS: dict[str, tuple[str, Loss]] = {
    "L_Q": ("−E[ln (D / (1 − D))]", losses.quality_loss),
    "saturating": ("E[ln(1 − D)]", losses.saturating_generator_loss),
    "non-saturating": ("−E[ln D]", losses.non_saturating_generator_loss),
}
"""The three losses that a generator can have beside the discriminator of Eq. (1): name -> formula and loss."""


def generator_gradient(p: Gaussians, q: Gaussians, loss: Loss) -> Tensor:
    """The gradient (2,) of a generator's loss with respect to (m, ln s) of a Gaussian q on the line. D* is held fixed:
    the gradient comes through the samples G(z) = m + s z alone, as in a training step."""
    theta = pack(q).detach().requires_grad_()
    generated = theta[0] + theta[1].exp() * on_line([0], [1], [1]).even(100_000)  # spread evenly
    return torch.autograd.grad(loss(optimal_logit(p, q)(generated)), theta)[0]


def divergences(p: Gaussians) -> dict[str, Objective]:
    """Name -> the divergence whose gradient a generator's loss has, in the order of `GENERATORS`."""
    return {
        "KL(q ‖ p)": lambda q: kl(q, p),
        "twice JS(p, q)": lambda q: 2 * jensen_shannon(p, q),
        "KL(q ‖ p) less twice JS": lambda q: kl(q, p) - 2 * jensen_shannon(p, q),
    }


def score_mean(q: Gaussians) -> Tensor:
    """E_q[d/dtheta ln q(x)] with x held fixed, the term of the gradient of KL(q || p) that L_Q lacks: 0."""
    theta = pack(q).detach().requires_grad_()
    x, weights = q.nodes()
    return torch.autograd.grad(weights @ unpack(theta).log_prob(x), theta)[0]


def gradients(p: Gaussians, q: Gaussians) -> HTML:
    """The gradient of each loss with D* held fixed, beside that of a divergence."""

    def entries(vector: Tensor) -> str:
        return ", ".join(number(float(v), 4) for v in vector)

    lines = []
    pairs = zip(GENERATORS.items(), divergences(p).items(), strict=True)
    for (name, (formula, loss)), (meaning, divergence) in pairs:
        vectors = generator_gradient(p, q, loss), gradient(divergence, q)
        lines.append((f"{name}, {formula}", *map(entries, vectors), meaning))
    lines.append(("left out: E_q[∂ ln q / ∂θ]", entries(score_mean(q)), "0, 0", "a mass that is always 1"))
    header = ["Loss, D* held fixed", "∂/∂m, ∂/∂ln s", "of the divergence", "which one"]
    return table("Gradients for the mean m and for ln s of q", header, lines)


def moving_gaussian(p: Gaussians) -> HTML:
    """What each generator's loss descends, and its slope, while the mean of q = N(m, 1) moves across p."""
    means = torch.linspace(-12, 12, 121, dtype=torch.float64)
    qs = [on_line([float(m)], [1], [1]) for m in means]
    descended, slopes = {}, {}
    looks = ((REVERSE, "", "-"), (FORWARD, "", "--"), (plots.SERIES[2], "", ":"))
    for loss, (name, divergence), look in zip(GENERATORS, divergences(p).items(), looks, strict=True):
        descended[name] = (means, [float(divergence(q)) for q in qs], *look)
        slopes[loss] = (means, [float(gradient(divergence, q)[0]) for q in qs], *look)
    lines = {"what is descended": descended, "slope ∂/∂m of the loss, D* held fixed": slopes}
    x, y = "mean m of q (standard deviations of a mode)", ["nats", "nats per unit of m"]
    figure = panels(lines, xlabel=x, ylabel=y, width=4.1, height=3.5)
    for ax, limits in zip(figure.axes, ((-0.3, 12), (-6, 6)), strict=True):
        ax.set_ylim(limits)
        for mode in p.means[:, 0]:
            ax.axvline(float(mode), color=plots.FAINT, linewidth=0.8, zorder=0)
    alt = (
        "Far from the data KL(q || p) goes on rising and its slope grows, 2 JS is flat, and the difference of the two "
        "rises as the former does; between the modes each has a barrier"
    )
    return picture(figure, alt)


# --- a discriminator that has to learn -------------------------------------------------------------------------


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
            under.set_xlabel(X)
        axes[0, 0].set_ylabel("logit l(x), nats")
        axes[1, 0].set_ylabel("density")
    return picture(figure, "Learned logits follow the exact log-ratio where both have mass, and leave it beyond")


def convergence(p: Gaussians, qs: Densities, learned: Discriminators) -> HTML:
    """L_Q of the discriminator over its training, and the exact divergence."""
    lines: dict[str, Line] = {}
    for (name, q), colour in zip(qs.items(), (FORWARD, REVERSE), strict=True):
        steps, estimates = zip(*learned[name].curve, strict=True)
        exact = float(kl(q, p))
        lines[f"q: {name}"] = (steps, estimates, colour, "", "-")
        lines[f"exact: {exact:.3f}"] = (steps, [exact] * len(steps), colour, "", "--")
    figure = panels({"": lines}, xlabel="training step of the discriminator", ylabel="−E_q[l(x)], nats", width=5.0)
    figure.axes[0].set_ylim(bottom=0)
    ends = "; ".join(f"{name}: {d.curve[-1][1]:.3f}" for name, d in learned.items())
    return picture(figure, f"L_Q rises from 0 to the exact divergence as the discriminator learns. At the end {ends}")


def uniform_curves(learned: Mapping[float, Discriminator]) -> HTML:
    """L_Q over the training of each discriminator, and its logit at the end; `learned` is by a, for p uniform on
    [0, 1), which is shaded, and q uniform on [a, a + 1), which is a bar in the colour of its line."""
    x = torch.linspace(-1, 3.5, 400, dtype=torch.float64)[:, None]
    estimates: dict[str, Line] = {}
    at_end: dict[str, Line] = {}
    looks = ((FORWARD, "", "-"), (plots.SERIES[2], "", "--"), (REVERSE, "", ":"))
    for (a, discriminator), look in zip(learned.items(), looks, strict=True):
        steps, values = zip(*discriminator.curve, strict=True)
        estimates[f"a = {a:g}"] = (steps, values, *look)
        at_end[f"a = {a:g}"] = (x, discriminator.logit(x), *look)
    lines = {"L_Q while D learns": estimates, "the logit at the end": at_end}
    below, beside = ["training step of the discriminator", "x"], ["−E_q[l(x)], nats", "logit l(x), nats"]
    figure = panels(lines, xlabel=below, ylabel=beside, width=4.1)
    right = figure.axes[1]
    right.axvspan(0, 1, color=plots.FAINT, alpha=0.25, linewidth=0)
    right.annotate("p", (0.5, 0.98), xycoords=("data", "axes fraction"), ha="center", va="top")
    offset: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    for k, (a, (colour, *_)) in enumerate(zip(learned, looks, strict=True)):
        height = 0.13 - 0.05 * k
        right.plot([a, a + 1], [height] * 2, color=colour, linewidth=3, transform=right.get_xaxis_transform())
        right.annotate("q", (a + 1, height), (3, 0), color=colour, va="center", fontsize=8, **offset)
    ends = ", ".join(f"{d.curve[-1][1]:.1f} for a = {a:g}" for a, d in learned.items())
    return picture(figure, f"Without a common support L_Q grows for as long as D is trained: {ends} at the end")
