"""Lesson 01, what the losses of an adversarial pair compute when the discriminator is optimal.

    D*(x) = p_train(x) / (p_train(x) + p_theta(x)),    logit l*(x) = ln p_train(x) - ln p_theta(x)

Both densities are known, so l* is; the losses are those of `cqlib.losses`. p stands for p_train, q for p_theta.
"""

from collections.abc import Callable

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.lessons.kl_divergences.fits import Objective, gradient, pack, unpack
from cqlib.lessons.kl_divergences.gaussians import Gaussians, jensen_shannon, kl, on_line
from cqlib.report import plots
from cqlib.report.cells import number, picture, subplots, table

Logit = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor], Tensor]


def optimal_logit(p: Gaussians, q: Gaussians) -> Logit:
    """l*: points (n, d) -> logits (n,) of the optimal discriminator of p (real) and q (generated)."""
    return lambda x: p.log_prob(x) - q.log_prob(x)


def saturating(fake_logits: Tensor) -> Tensor:
    """E[ln(1 - D(G(z)))], the generator's side of Eq. (1); (N,) -> scalar. With `losses.non_saturating_generator` it
    adds up to `losses.quality_loss`."""
    return losses.quality_loss(fake_logits) - losses.non_saturating_generator(fake_logits)


GENERATORS: dict[str, Loss] = {
    "L_Q = −E[ln D / (1 − D)]": losses.quality_loss,
    "saturating, E[ln(1 − D)]": saturating,
    "non-saturating, −E[ln D]": losses.non_saturating_generator,
}
"""The three losses that a generator can have beside the discriminator of Eq. (1)."""


# --- gradients -------------------------------------------------------------------------------------------------


def generator_gradient(p: Gaussians, q: Gaussians, loss: Loss) -> Tensor:
    """The gradient of a generator's loss for (m, ln s) of a Gaussian q on the line, with D* held fixed: it comes
    through the samples G(z) = m + s z alone, as in a training step."""
    theta = pack(q).detach().requires_grad_()
    generated = theta[0] + theta[1].exp() * on_line([0], [1], [1]).even(100_000)  # spread evenly
    return torch.autograd.grad(loss(optimal_logit(p, q)(generated)), theta)[0]


def divergences(p: Gaussians) -> dict[str, Objective]:
    """The divergence whose gradient each of `GENERATORS` has, in their order."""
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

    pairs = zip(GENERATORS.items(), divergences(p).items(), strict=True)
    lines = [
        (name, entries(generator_gradient(p, q, loss)), entries(gradient(divergence, q)), meaning)
        for (name, loss), (meaning, divergence) in pairs
    ]
    lines.append(("left out: E_q[∂ ln q / ∂θ]", entries(score_mean(q)), "0, 0", "a mass that is always 1"))
    header = ["Loss, D* held fixed", "∂/∂m, ∂/∂ln s", "of the divergence", "which one"]
    return table("Gradients for the mean m and for ln s of q", header, lines)


def moving_gaussian(p: Gaussians, sigma: float = 1.0, reach: float = 12.0) -> HTML:
    """What each generator's loss descends, and its slope, while the mean of q = N(m, sigma^2) moves across p."""
    means = torch.linspace(-reach, reach, 121, dtype=torch.float64)
    qs = [on_line([float(m)], [sigma], [1]) for m in means]
    with subplots(8.6, 3.5, 1, 2) as (figure, (left, right)):
        for i, (name, divergence) in enumerate(divergences(p).items()):
            look = {"linestyle": ("-", "--", ":")[i], "color": plots.SERIES[(1, 0, 2)[i]]}
            loss = tuple(GENERATORS)[i].split(",")[0].split(" =")[0]
            left.plot(means, [float(divergence(q)) for q in qs], label=f"{loss}: {name}", **look)
            right.plot(means, [float(gradient(divergence, q)[0]) for q in qs], **look)
        left.set(ylim=(-0.3, 8), ylabel="nats", title="what is descended")
        right.set(ylim=(-6, 6), ylabel="nats per unit of m", title="slope ∂/∂m of the loss, D* held fixed")
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
