"""The likelihood models of Table 3: trained by -ln P alone, perhaps with weights set by the first batch."""

from dataclasses import KW_ONLY, dataclass

from torch import Tensor

from cqlib.models.base import LikelihoodSystem, Losses


@dataclass(frozen=True)
class LikelihoodConfig:
    """The fields that the configs of all likelihood baselines share."""

    size: int
    _: KW_ONLY
    image_channels: int = 3


class LikelihoodBaseline(LikelihoodSystem):
    """A system with one loss. Subclasses give `nats` and `sample`, and `initialise` where weights depend on data
    (Salimans and Kingma 2016, section 3)."""

    config: LikelihoodConfig

    def __init__(self, config: LikelihoodConfig):
        super().__init__(config)
        self._at_first_step = False

    def schedule(self, step: int, steps: int) -> None:
        """Makes the first step's batch initialise the weights."""
        self._at_first_step = step == 0

    def initialise_once(self, x: Tensor) -> None:
        """Call `initialise` with uint8 images (N, C, H, W) at the first step of a training; else do nothing."""
        if self._at_first_step:
            self._at_first_step = False
            self.initialise(x)

    def initialise(self, x: Tensor) -> None:
        """Set weights by the first batch, uint8 (N, C, S, S); by default none depend on it."""

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C = -(1/n) sum_i ln P(x_i), Eq. (3)."""
        self.initialise_once(x)
        coverage = self.nats(x).mean()
        return {"coverage": coverage, "total": coverage}
