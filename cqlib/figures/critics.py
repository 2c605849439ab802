"""The notebook of Table 3, beside its table: losses of critics and generators as functions of one score."""

from collections.abc import Callable
from functools import partial

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.report import plots
from cqlib.report.cells import picture, subplots


def _of_one(loss: Callable[[Tensor, Tensor], Tensor], real: bool, score: Tensor) -> Tensor:
    """A critic's loss for the score of one image, real or generated, without the part of the other kind."""
    zero = torch.zeros(1)
    return loss(*((score, zero) if real else (zero, score))) - loss(zero, zero) / 2


CRITICS = {
    "cross-entropy": losses.discriminator_loss,
    "hinge": losses.hinge_discriminator,
    "Wasserstein": losses.wasserstein_critic,
}
PANELS: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "critic, real image": {name: partial(_of_one, loss, True) for name, loss in CRITICS.items()},
    "critic, generated image": {name: partial(_of_one, loss, False) for name, loss in CRITICS.items()},
    "generator": {
        "non-saturating": losses.non_saturating_generator,
        "hinge, Wasserstein, L_Q": losses.linear_generator,
        "Improved Training GAN": lambda score: -torch.nn.functional.softplus(score).mean(),
    },
}
"""Panel -> name -> loss of one score l(x)."""


def losses_by_score(low: float = -4.0, high: float = 4.0) -> HTML:
    """Each loss over the critic's score, in nats where it is a cross-entropy."""
    scores = torch.linspace(low, high, 161)
    with subplots(8.4, 2.9, 1, len(PANELS)) as (figure, axes):
        for ax, (title, panel) in zip(axes, PANELS.items(), strict=True):
            for i, (name, loss) in enumerate(panel.items()):
                values = torch.stack([loss(score[None]) for score in scores])
                ax.plot(scores, values, color=plots.mark(i + 3 * (title == "generator"))[0], label=name)
            ax.set(title=title, xlabel="score l(x)")
            ax.legend(frameon=False, fontsize=7.5)
    names = "; ".join(f"{title}: {', '.join(panel)}" for title, panel in PANELS.items())
    return picture(figure, f"Losses over the critic's score. {names}")
