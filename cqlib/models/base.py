"""The interface of every system of the tables: it samples, has the losses that train it, perhaps a likelihood."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from cqlib.losses import importance_weighted_bound
from cqlib.pixels import check_integers
from cqlib.recipe import check_choices

Losses = dict[str, Tensor]
"""Named scalars, densities in nats per image; "total" is the one that is minimised."""


class System(nn.Module):
    """A generative model of (C, H, W) images together with what trains it."""

    shape: tuple[int, int, int]
    critic: nn.Module | None
    """The net that judges samples; None for a system trained by its likelihood alone."""
    uses_labels: bool = False
    """Whether `generator_losses` and `critic_losses` take `labels` (N,), int64, -1 where an image has none. Other
    systems are never given labels."""

    def __init__(self, config: Any = None) -> None:
        """`config` has the images' `size` and `image_channels`; a system without one sets `shape` itself. ValueError
        where a field has none of its allowed values."""
        super().__init__()
        self.critic = None
        if config is not None:
            check_choices(config)
            self.config = config
            self.shape = (config.image_channels, config.size, config.size)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @torch.no_grad()
    def sample(self, n: int, *, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """n images, float (n, C, H, W) in [-1, 1], without gradients; `temperature` scales the decoder's noise, where
        it has any: 1 is p_theta, 0 the image of the decoder's mean."""
        return self.generate(n, temperature, generator).clamp(-1, 1)

    def generate(self, n: int, temperature: float = 1.0, generator: Generator | None = None) -> Tensor:
        """The images (n, C, H, W) of `sample`, not clamped; differentiable where `fakes` uses it to train."""
        raise NotImplementedError

    def checked(self, x: Tensor) -> Tensor:
        """Images x on the model's device; ValueError unless they are uint8 (N, C, H, W) of the model's `shape`."""
        check_integers(x)
        if x.dtype != torch.uint8 or x.dim() != 4 or tuple(x.shape[1:]) != self.shape:
            kind, wanted = str(x.dtype).removeprefix("torch."), ", ".join(map(str, self.shape))
            raise ValueError(f"the model takes uint8 images (N, {wanted}), not {kind} {tuple(x.shape)}")
        return x.to(self.device)

    def fakes(self, x: Tensor) -> Tensor:
        """One generated image for each of the uint8 images x (N, C, H, W), as the critic sees it in training:
        float (N, C, H, W), differentiable, not clamped."""
        return self.generate(len(x))

    def initialise(self, x: Tensor) -> None:
        """Called with the first batch of a training, uint8 (N, C, H, W); sets weights that are initialised by data."""

    def check_labels(self, labels: Tensor) -> None:
        """Called once before training with all training labels (N,), if the system uses them; UserError for labels that
        it cannot use."""

    def schedule(self, step: int, steps: int) -> None:
        """Called before each `step` from 0 to `steps` - 1; systems that grow set their resolution here."""

    def generator_losses(self, x: Tensor) -> Losses:
        """The terms that the generative model minimises, on uint8 images (N, C, H, W)."""
        raise NotImplementedError

    def critic_losses(self, x: Tensor, *, step: int) -> Losses:
        """The terms that the critic minimises, on uint8 images (N, C, H, W), at its update number `step`."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, part: Literal["generator", "critic"] = "generator", *, step: int = 0, **labels: Tensor
    ) -> Losses:
        """`generator_losses`, or `critic_losses` at update number `step`, of uint8 images (N, C, H, W), so that what
        wraps a module (DistributedDataParallel, `torch.compile`, summaries of layers) reaches them. `labels` (N,) where
        the system uses them. ValueError for another `part`, and for the critic of a system that has none."""
        if part == "generator":
            return self.generator_losses(x, **labels)
        if part != "critic" or self.critic is None:
            parts = "part is 'generator'" + " or 'critic'" * (self.critic is not None)
            raise ValueError(f"of a {type(self).__name__}, {parts}, not {part!r}")
        return self.critic_losses(x, step=step, **labels)

    def generator_parameters(self) -> list[nn.Parameter]:
        """All trainable parameters except the critic's."""
        critic = set(self.critic.parameters()) if self.critic is not None else set()
        return [p for p in self.parameters() if p.requires_grad and p not in critic]

    def critic_parameters(self) -> list[nn.Parameter]:
        """The critic's trainable parameters; empty without a critic."""
        return [p for p in self.critic.parameters() if p.requires_grad] if self.critic is not None else []

    def parameter_counts(self) -> dict[str, int]:
        """Parameters per direct child; "total" is the generative model with its encoder, without the critic."""
        counts = {name: sum(p.numel() for p in child.parameters()) for name, child in self.named_children()}
        direct = sum(p.numel() for p in self.parameters(recurse=False))
        return {**counts, "total": direct + sum(v for k, v in counts.items() if k != "critic")}


@dataclass(frozen=True)
class LikelihoodConfig:
    """The fields that the configs of all likelihood baselines share."""

    size: int
    _: KW_ONLY
    image_channels: int = 3


class LikelihoodSystem(System):
    """A system that also bounds the probability of an 8-bit image, and by default is trained by nothing else."""

    bound: str
    """The kind of number that `nats` is: "exact", "dequantisation bound" or "ELBO"."""
    dequantised: bool = True
    """Whether `nats` draws a random point in each pixel's cell; models of the 8-bit values themselves do not."""

    def nats(self, x: Tensor, *, importance_samples: int = 1, generator: Generator | None = None) -> Tensor:
        """uint8 (N, C, H, W) -> (N,), in nats per image: an estimate, by k importance samples, whose expectation is an
        upper bound on -ln P(x).

        Models with an exact likelihood override this and draw nothing; all others define `log_weight`.
        """
        log_weights = [self.log_weight(x, generator) for _ in range(importance_samples)]
        return importance_weighted_bound(torch.stack(log_weights))

    def log_prob(self, x: Tensor, *, importance_samples: int = 1, generator: Generator | None = None) -> Tensor:
        """uint8 (N, C, H, W) -> (N,): ln P(x) in nats per image, minus `nats`. Where the model's `bound` is "exact" it
        is ln P(x) itself, else an estimate whose expectation is a lower bound on it, higher with more
        `importance_samples`. ValueError for images that are not the model's."""
        return -self.nats(self.checked(x), importance_samples=importance_samples, generator=generator)

    def log_weight(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """ln w (N,) of one random draw for uint8 images (N, C, H, W), where E[w] = P(x)."""
        raise NotImplementedError

    def generator_losses(self, x: Tensor) -> Losses:
        """L_C = -(1/n) sum_i ln P(x_i), Eq. (4), or the upper bound on it that `nats` gives."""
        coverage = self.nats(x).mean()
        return {"coverage": coverage, "total": coverage}


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, gradients flow through `module` to its inputs but not to its parameters."""
    trained = [p for p in module.parameters() if p.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)
