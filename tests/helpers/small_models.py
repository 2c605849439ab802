"""Small models, images of noise and interrupted trainings for the tests of nets, models and training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cqlib.data.dataset import Dataset, Split
from cqlib.models.base import System
from cqlib.models.registry import RECIPES, build
from cqlib.nets.raster import raster_sample
from cqlib.nets.real_nvp import OutputNorm
from cqlib.pixels import cell_centres
from cqlib.recipe import Recipe, TrainingConfig
from cqlib.training.loop import train
from cqlib.util.stop import StopRequest


def recipe(row: str, profile: str = "smoke", size: int = 16) -> Recipe:
    """The recipe of a row."""
    return RECIPES[row](row, profile, size)


def system(
    row: str, size: int = 16, *, profile: str = "smoke", seed: int = 0, shake: float = 0.0, **changes: Any
) -> Any:
    """The model of a row with changes to its config; `shake` moves every parameter away from its start."""
    torch.manual_seed(seed)
    model = build(replace(recipe(row, profile, size).system, **changes))
    return shaken(model, shake) if shake else model


def shaken(module: nn.Module, size: float = 0.05, seed: int | None = None) -> nn.Module:
    """`module` with noise of `size` added to every parameter."""
    if seed is not None:
        torch.manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))
    return module


def shaken_flow(module: nn.Module, seed: int = 0, size: float = 0.2) -> nn.Module:
    """`shaken`, with running statistics moved away from their start; in evaluation mode."""
    shaken(module, size, seed)
    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d | OutputNorm):
                mean, variance = m.buffers() if isinstance(m, OutputNorm) else (m.running_mean, m.running_var)
                mean.copy_(0.3 * torch.randn_like(mean))
                variance.copy_(torch.rand_like(variance) + 0.5)
    return module.eval()


def randomised(module: nn.Module, *, seed: int = 0, scale: float = 1.0) -> nn.Module:
    """`module` with parameters from N(0, scale^2), in fp64."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(std=scale)
    return module.double()


def generator(seed: int = 1) -> torch.Generator:
    """A source of random numbers."""
    return torch.Generator().manual_seed(seed)


def images(n: int = 4, size: int = 16, channels: int = 3, seed: int = 0) -> Tensor:
    """Noise, uint8 (n, channels, size, size)."""
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator(seed))


def dataset(train: Tensor, test: Tensor) -> Dataset:
    """A data set of one class; splits should differ, for a test to see which is taken."""
    splits = (Split(name, x, torch.zeros(len(x)).long()) for name, x in (("train", train), ("test", test)))
    return Dataset("made", train.shape[-1], ("a",), *splits)


def labels(model: System, n: int) -> dict[str, Tensor]:
    """The argument `labels` of losses, where the model uses them."""
    return {"labels": torch.arange(n) % 4 - 1} if model.uses_labels else {}


def touched(module: nn.Module | None) -> bool:
    """Whether a gradient has reached the module."""
    return module is not None and any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def count(module: nn.Module) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in module.parameters())


def flat(module: nn.Module) -> Tensor:
    """All parameters and buffers in one vector."""
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


def full_pass(net: Callable[[Tensor], Tensor], levels: int) -> Callable[[Tensor, int, int], Tensor]:
    """The logits at a pixel by a pass over the whole images, for `raster_sample`; in fp64."""
    return lambda x, row, column: net(cell_centres(x, levels, torch.double))[..., row, column]


def sampled(logits_at: Callable[[Tensor, int, int], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """The images of `raster_sample`, and the logits of each value drawn; each is asked for twice, which changes
    nothing."""
    seen: list[Tensor] = []

    def asked(x: Tensor, row: int, column: int) -> Tensor:
        seen.append(logits_at(x, row, column)[:, len(seen) % u.shape[1]])
        return logits_at(x, row, column)

    return raster_sample(asked, u), torch.stack(seen)


def jacobian(function: Any, x: Tensor) -> Tensor:
    """(outputs, inputs) of a map from (1, ...), in fp64."""
    return torch.autograd.functional.jacobian(function, x.double(), vectorize=True).reshape(-1, x.numel())


class StopAfter(StopRequest):
    """Asks to stop once `reason` was asked for so many times, as it is before each step of a training."""

    def __init__(self, steps: int):
        super().__init__()
        self.left = steps

    def reason(self) -> str | None:
        self.left -= 1
        return "a test" if self.left < 0 else None


def trained(model: System, training: TrainingConfig, folder: Path, stop: StopRequest | None = None) -> Any:
    """The averaged model of a short training on images of noise."""
    known = torch.arange(16) % 10 if model.uses_labels else None
    return train(model, images(16), training, seed=1, folder=folder, labels=known, stop=stop, key="").system
