"""What the likelihood rivals of Table 3 share: they are trained by -ln P alone, and a first batch may set them up."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from torch import Tensor

from cqlib.models.base import LikelihoodSystem


@dataclass(frozen=True)
class LikelihoodConfig:
    """What every likelihood rival's config says."""

    size: int
    _: KW_ONLY
    image_channels: int = 3


class LikelihoodRival(LikelihoodSystem):
    """A system with one loss. Subclasses give `nats`, `sample` and `generator_losses`, and `start_from` where weights
    depend on data (Salimans and Kingma 2016, section 3)."""

    config: LikelihoodConfig

    def __init__(self, config: LikelihoodConfig):
        super().__init__()
        self.config = config
        self.shape = (config.image_channels, config.size, config.size)
        self._fresh = False

    def schedule(self, step: int, steps: int) -> None:
        """The first step's batch sets up what starts from data."""
        self._fresh = step == 0

    def begin(self, x: Tensor) -> None:
        """To be called with the images (N, C, S, S) at the head of `generator_losses`."""
        if self._fresh:
            self._fresh = False
            self.start_from(x)

    def start_from(self, x: Tensor) -> None:
        """Set weights by the first batch, uint8 (N, C, S, S); by default nothing starts from data."""
