"""What the notebook of Table 3 shows beside its table: what critics and generators are told by their losses."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from cqlib import losses
from cqlib.report import plots
from cqlib.report.cells import picture

Loss = Callable[[Tensor], Tensor]


def _one_sided(loss: Callable[[Tensor, Tensor], Tensor], side: int) -> Loss:
    """A critic's loss as a function of one score: of a real image (`side` 0) or of a made one (1), the other's part
    taken off."""
    other = torch.zeros(1)

    def alone(score: Tensor) -> Tensor:
        pair = (score, other) if side == 0 else (other, score)
        return loss(*pair) - loss(other, other) / 2

    return alone


CRITICS = {
    "cross-entropy": losses.discriminator_loss,
    "hinge": losses.hinge_discriminator,
    "Wasserstein": losses.wasserstein_critic,
}
GENERATORS = {
    "non-saturating": losses.non_saturating_generator,
    "hinge, Wasserstein, L_Q": losses.hinge_generator,
    "Improved Training GAN": lambda score: -torch.nn.functional.softplus(score).mean(),
}
PANELS: dict[str, dict[str, Loss]] = {
    "critic, real image": {name: _one_sided(loss, 0) for name, loss in CRITICS.items()},
    "critic, made image": {name: _one_sided(loss, 1) for name, loss in CRITICS.items()},
    "generator": GENERATORS,
}
"""Panel -> name -> loss of one score l(x)."""


def figure(low: float = -4.0, high: float = 4.0) -> Figure:
    """Each loss over the critic's score, in nats where it is a cross-entropy."""
    scores = torch.linspace(low, high, 161)
    with matplotlib.rc_context(plots.STYLE):
        drawn = plots.blank(8.4, 2.9)
        for ax, (title, panel) in zip(drawn.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for i, (name, loss) in enumerate(panel.items()):
                values = torch.stack([loss(score[None]) for score in scores])
                colour, _ = plots.mark(i + 3 * (panel is GENERATORS))
                ax.plot(scores, values, color=colour, label=name)
            ax.set_title(title)
            ax.set_xlabel("score l(x)")
            ax.legend(frameon=False, fontsize=7.5)
        return drawn


def told() -> HTML:
    """`figure` in a cell."""
    names = "; ".join(f"{title}: {', '.join(panel)}" for title, panel in PANELS.items())
    return picture(figure(), f"Losses over the critic's score. {names}")
