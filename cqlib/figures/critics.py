"""What the notebook of Table 3 shows beside its table: losses of critics and generators as functions of one score."""

from collections.abc import Callable
from functools import partial

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.report import plots
from cqlib.report.cells import panels, picture


def _of_one(loss: Callable[[Tensor, Tensor], Tensor], real: bool, score: Tensor) -> Tensor:
    """A critic's loss for the score of one image, real or generated, without the part of the other kind."""
    zero = torch.zeros(1)
    return loss(*((score, zero) if real else (zero, score))) - loss(zero, zero) / 2


CRITICS = {
    "cross-entropy": losses.discriminator_loss,
    "hinge": losses.hinge_discriminator_loss,
    "Wasserstein": losses.wasserstein_critic_loss,
}
PANELS: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "critic, real image": {name: partial(_of_one, loss, True) for name, loss in CRITICS.items()},
    "critic, generated image": {name: partial(_of_one, loss, False) for name, loss in CRITICS.items()},
    "generator": {
        "non-saturating": losses.non_saturating_generator_loss,
        "hinge, Wasserstein, L_Q": losses.quality_loss,
        "Improved Training GAN": losses.saturating_generator_loss,
    },
}
"""Panel -> name -> loss of one score l(x)."""


def losses_by_score() -> HTML:
    """Each loss over the critic's score, in nats where it is a cross-entropy."""
    scores, lines = torch.linspace(-4, 4, 161), {}
    for title, panel in PANELS.items():
        first = 3 * (title == "generator")  # index of the panel's first colour
        colours = (plots.colour_and_marker(first + i)[0] for i in range(len(panel)))
        lines[title] = {name: (scores, [float(loss(s[None])) for s in scores], colour, "", "-")
                        for colour, (name, loss) in zip(colours, panel.items(), strict=True)}  # fmt: skip
    figure = panels(lines, xlabel="score l(x)", ylabel=["loss", "", ""], width=2.7)
    names = "; ".join(f"{title}: {', '.join(panel)}" for title, panel in PANELS.items())
    return picture(figure, f"Losses over the critic's score. {names}")
