"""Lesson 01, what the losses of an adversarial pair compute when the discriminator is optimal.

    D*(x) = p_train(x) / (p_train(x) + p_theta(x)),    logit l*(x) = ln p_train(x) - ln p_theta(x)

Both densities are known, so l* is; the losses are those of `cqlib.losses`. p stands for p_train, q for p_theta.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import matplotlib
import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.lessons.drawing import difference, number, table
from cqlib.lessons.kl_divergences.fits import pack, slope, unpack
from cqlib.lessons.kl_divergences.gaussians import Gaussians, gaussian, jensen_shannon, kl, mixed
from cqlib.report import plots
from cqlib.report.cells import picture

POINTS = 100_000
"""Evenly spread points that stand for a density where a loss is a plain mean."""
Logit = Callable[[Tensor], Tensor]


def optimal(p: Gaussians, q: Gaussians) -> Logit:
    """l*: points (n, d) -> logits (n,) of the optimal discriminator of p (real) and q (made)."""
    return lambda x: p.log_prob(x) - q.log_prob(x)


def saturating(fake_logits: Tensor) -> Tensor:
    """E[ln(1 - D(G(z)))], the generator's side of Eq. (1); (N,) -> scalar. With `losses.non_saturating_generator` it
    adds up to `losses.quality_loss`."""
    return losses.quality_loss(fake_logits) - losses.non_saturating_generator(fake_logits)


GENERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "L_Q = −E[ln D / (1 − D)]": losses.quality_loss,
    "saturating, E[ln(1 − D)]": saturating,
    "non-saturating, −E[ln D]": losses.non_saturating_generator,
}
"""The three losses that a generator can have beside the discriminator of Eq. (1)."""


def values(p: Gaussians, q: Gaussians) -> list[tuple[str, str, float, float]]:
    """Loss, what it is at l*, its value by the package's code on evenly spread points, and by quadrature."""
    logit, half = optimal(p, q), mixed(p, q, 0.5)
    real, fake = logit(p.even(POINTS)), logit(q.even(POINTS))
    reverse, to_half, js = (float(v) for v in (kl(q, p), kl(q, half), jensen_shannon(p, q)))
    meaning = {
        "KL(q ‖ p)": reverse,
        "KL(q ‖ c) − ln 2": to_half - math.log(2),
        "KL(q ‖ p) − KL(q ‖ c) + ln 2": reverse - to_half + math.log(2),
    }
    found = [("discriminator, Eq. (1)", "ln 4 − 2 JS(p, q)", float(losses.discriminator_loss(real, fake)),
              math.log(4) - 2 * js)]  # fmt: skip
    for (name, loss), (words, value) in zip(GENERATORS.items(), meaning.items(), strict=True):
        found.append((name, words, float(loss(fake)), value))
    return found


def at_the_optimum(p: Gaussians, q: Gaussians) -> HTML:
    """`values` as a table."""
    lines = [
        [name, number(code, 4), number(exact, 4), difference(code - exact), words]
        for name, words, code, exact in values(p, q)
    ]
    head = ["Loss at D*, nats", "cqlib.losses", "quadrature", "difference", "what it is (c = ½ p + ½ q)"]
    return table("The losses at the optimal discriminator", head, lines)


def none_better(p: Gaussians, q: Gaussians) -> HTML:
    """The discriminator's loss for l* and for logits near it and far from it."""
    best = optimal(p, q)
    tried: dict[str, Logit] = {
        "l*": best,
        "l* + 0.2": lambda x: best(x) + 0.2,
        "1.2 l*": lambda x: 1.2 * best(x),
        "l* + 0.2 sin x": lambda x: best(x) + 0.2 * x[:, 0].sin(),
        "l* cut to [−1, 1]": lambda x: best(x).clamp(-1, 1),
        "0": lambda x: 0 * best(x),
    }
    real, fake = p.even(POINTS), q.even(POINTS)
    found = {name: float(losses.discriminator_loss(logit(real), logit(fake))) for name, logit in tried.items()}
    lines = [[name, number(value, 4), number(value - found["l*"], 4)] for name, value in found.items()]
    return table("Eq. (1), negated, for several discriminators", ["logit", "loss, nats", "above l*"], lines)


# --- gradients -------------------------------------------------------------------------------------------------


def pulled(p: Gaussians, q: Gaussians, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of a generator's loss for (m, ln s) of a Gaussian q on the line, with D* held fixed: it comes
    through the samples G(z) = m + s z alone, as in a training step."""
    theta = pack(q).detach().requires_grad_()
    z = gaussian(torch.zeros(1, dtype=torch.float64), torch.eye(1, dtype=torch.float64)).even(POINTS)
    made = theta[0] + theta[1].exp() * z
    (gradient,) = torch.autograd.grad(loss(optimal(p, q)(made)), theta)
    return gradient


def divergences(p: Gaussians) -> dict[str, Callable[[Gaussians], Tensor]]:
    """The divergence whose gradient each of `GENERATORS` has, in their order."""
    return {
        "KL(q ‖ p)": lambda q: kl(q, p),
        "twice JS(p, q)": lambda q: 2 * jensen_shannon(p, q),
        "KL(q ‖ p) less twice JS": lambda q: kl(q, p) - 2 * jensen_shannon(p, q),
    }


def neglected(p: Gaussians, q: Gaussians) -> Tensor:
    """What the gradient of KL(q || p) has beside that of L_Q: E_q[d/dtheta ln q(x)], with x held fixed."""
    theta = pack(q).detach().requires_grad_()
    x, weights = q.nodes()
    (gradient,) = torch.autograd.grad(weights @ unpack(theta).log_prob(x), theta)
    return gradient


def gradients(p: Gaussians, q: Gaussians) -> HTML:
    """The gradient of each loss with D* held fixed, beside that of a divergence."""

    def both(gradient: Tensor) -> str:
        return ", ".join(number(float(g), 4) for g in gradient)

    lines = []
    for (name, loss), (words, divergence) in zip(GENERATORS.items(), divergences(p).items(), strict=True):
        lines.append([name, both(pulled(p, q, loss)), both(slope(divergence, q)), words])
    lines.append(["left out: E_q[∂ ln q / ∂θ]", both(neglected(p, q)), "0, 0", "a mass that is always 1"])
    head = ["Loss, D* held fixed", "∂/∂m, ∂/∂ln s", "of the divergence", "which one"]
    return table("Gradients for the mean m and for ln s of q", head, lines)


def along(p: Gaussians, sigma: float = 1.0, reach: float = 12.0) -> HTML:
    """What each generator's loss descends, and its slope, while the mean of q = N(m, sigma^2) travels over p."""
    means = torch.linspace(-reach, reach, 121, dtype=torch.float64)
    qs = [gaussian(m[None], torch.full((1, 1), sigma, dtype=torch.float64)) for m in means]
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 3.5)
        left, right = figure.subplots(1, 2)
        for i, (name, divergence) in enumerate(divergences(p).items()):
            look = {"linestyle": ("-", "--", ":")[i], "color": plots.SERIES[(1, 0, 2)[i]]}
            loss = tuple(GENERATORS)[i].split(",")[0].split(" =")[0]
            left.plot(means, [float(divergence(q)) for q in qs], label=f"{loss}: {name}", **look)
            right.plot(means, [float(slope(divergence, q)[0]) for q in qs], **look)
        left.set_ylim(-0.3, 8)
        left.set_ylabel("nats")
        left.set_title("what is descended")
        right.set_ylim(-6, 6)
        right.set_ylabel("nats per unit of m")
        right.set_title("slope ∂/∂m of the loss, D* held fixed")
        figure.legend(loc="outside upper left", ncols=3, frameon=False)
        for ax in (left, right):
            ax.set_xlabel("mean m of q (standard deviations of a mode)")
            for mode in p.means[:, 0]:
                ax.axvline(float(mode), color=plots.FAINT, linewidth=0.8, zorder=0)
    alt = (
        "Far from the data KL(q || p) goes on rising and its slope grows, 2 JS is flat, and the difference of the two "
        "rises as the former does; between the modes each has a barrier"
    )
    return picture(figure, alt)


def separated(distance: float = 1.0, sigmas: Sequence[float] = (1, 0.3, 0.1, 0.03, 0.01)) -> HTML:
    """Two narrow Gaussians at a distance: KL grows as 1 / sigma^2, JS ends at ln 2."""
    lines = []
    for sigma in sigmas:
        root = torch.full((1, 1), sigma, dtype=torch.float64)
        p, q = (gaussian(torch.tensor([m], dtype=torch.float64), root) for m in (0.0, distance))
        lines.append([f"{sigma:g}", number(float(kl(q, p)), 2), number(distance**2 / (2 * sigma**2), 2),
                      number(float(jensen_shannon(p, q)), 4)])  # fmt: skip
    head = ["σ", "KL(q ‖ p)", "d² / 2σ²", "JS(p, q)"]
    return table(f"Two at a distance d = {distance:g}, nats", head, lines)
