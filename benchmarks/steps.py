"""A training step: ours, the textbook loop on the same system, and public libraries where there is one.

Ours is the step of the rows as they are trained: fp32, channels last, the data set as one tensor, fused optimisers. On
a CPU steps have the size of `quick`; on a GPU that of `paper`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.comparison import Comparison, Other
from benchmarks.sides import Side, Work, repeated
from benchmarks.sngan_example import critic_net, generator_net, sngan_stepper
from benchmarks.textbook import TextbookLoop, floats
from cqlib.experiments.trade_off import SIZES
from cqlib.models.base import System
from cqlib.models.registry import RECIPES, build
from cqlib.models.sngan import SNGANConfig
from cqlib.nets.coupling import CouplingNet
from cqlib.nets.norms import SpectrallyNormalised
from cqlib.recipe import Recipe
from cqlib.training.timing import make_step

IMAGES = 2000
"""Random images that stand for a data set."""
STEPS = 4
"""Training steps in one run of a side: the lazy gradient penalty comes in every fourth."""
TEXTBOOK = "textbook loop: DataLoader, eager fp32, contiguous"

Recipes = Callable[[torch.device], Recipe]


def random_images(size: int, n: int = IMAGES) -> Tensor:
    """Random images, uint8 (n, 3, size, size)."""
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8)


def of_row(row: str, size: int | None = None) -> Recipes:
    """Device -> the row's recipe under `paper` for a GPU, else under `quick`, by default at the profile's image
    size."""

    def recipe(device: torch.device) -> Recipe:
        profile = "paper" if device.type == "cuda" else "quick"
        return RECIPES[row](row, profile, size or SIZES[profile])

    return recipe


def sngan_recipe(device: torch.device) -> Recipe:
    """`table3/sngan-hinge` with the widths of `paper`, which are those of torch-fidelity's example."""
    found = RECIPES["table3/sngan-hinge"]("table3/sngan-hinge", "paper", 32)
    return replace(found, training=replace(found.training, batch_size=64))


def ours(recipe: Recipes, steps: int = STEPS, change: Callable[[System], None] = lambda system: None) -> Side:
    """Our side: `steps` training steps as rows are trained, of the recipe's system after `change`."""

    def side(device: torch.device) -> Work:
        r = recipe(device)
        format = torch.bfloat16 if r.training.bf16 else torch.float32
        system = build(r.system)
        change(system)
        step = make_step(system, random_images(r.system.size), r.training, device)
        return repeated(step, steps, images=r.training.batch_size, format=format)

    return side


def textbook(recipe: Recipes, steps: int = STEPS, change: Callable[[System], None] = lambda system: None) -> Side:
    """A side: `steps` steps of the textbook loop on the same system, after `change`."""

    def side(device: torch.device) -> Work:
        r = recipe(device)
        system = build(r.system)
        change(system)
        t = r.training
        loop = TextbookLoop(system, random_images(r.system.size), t, device, done=t.steps // 2)
        return repeated(loop.step, steps, images=t.batch_size)

    return side


def torchflows_f(system: System) -> None:
    """Replace CQ-F's f by one assembled from torchflows, around the same nets."""
    from benchmarks.torchflows_nvp import TorchflowsRealNVP

    c = system.config.flow

    def net(channels: int, width: int) -> CouplingNet:
        return CouplingNet(channels, channels, width, c.blocks)

    system.flow = TorchflowsRealNVP(system.shape, net, c.width, couplings=c.couplings, scales=c.scales)


def torchflows_nvp(system: System) -> None:
    """Replace Real NVP's f by one assembled from torchflows, around nets of the same widths and blocks."""
    from benchmarks.torchflows_nvp import BatchNormedNet, TorchflowsRealNVP

    c = system.config.flow
    system.flow = TorchflowsRealNVP(system.shape, lambda channels, width: BatchNormedNet(channels, width, c.blocks),
                                    c.width, couplings=3, scales=c.scales)  # fmt: skip


def examples_nets(system: System) -> None:
    """Replace the nets of our SNGAN by the generator and the critic of torch-fidelity's example."""
    c = system.config
    generator = generator_net(c.size, c.widths, c.latent)
    system.generator = nn.Sequential(nn.Unflatten(1, (c.latent, 1, 1)), generator)
    critic = critic_net(c.size, c.widths, lambda layer: layer)
    system.critic = SpectrallyNormalised(nn.Sequential(critic, nn.Flatten(0)))


def example(recipe: Recipes, steps: int = STEPS) -> Side:
    """A side: `steps` steps of torch-fidelity's SNGAN example."""

    def side(device: torch.device) -> Work:
        r = recipe(device)
        system: SNGANConfig = r.system
        n = r.training.batch_size
        batches = floats(random_images(system.size), n)
        step = sngan_stepper(batches, system.size, system.widths, system.latent, n, device)
        return repeated(step, steps, images=n)

    return side


CQF, GAN, NVP = of_row("table1/cq-f"), of_row("table1/gan"), of_row("table3/nvp")
PIXELCNNPP, VAE_IAF = of_row("table3/pixelcnnpp"), of_row("table3/vae-iaf")

ROWS = (
    Comparison("cqf-step", ours(CQF), (
        Other(TEXTBOOK, textbook(CQF), cpu=1.5, cuda=4.0),
        Other("the same nets, f by torchflows, textbook loop", textbook(CQF, change=torchflows_f), cpu=1.5,
              needs="torchflows"),
    )),
    Comparison("gan-step", ours(GAN), (Other(TEXTBOOK, textbook(GAN)),)),
    Comparison("sngan-step", ours(sngan_recipe, 1), (Other(TEXTBOOK, textbook(sngan_recipe, 1)),)),
    Comparison("sngan-example-step", ours(sngan_recipe, 1, examples_nets), (
        Other("torch-fidelity's SNGAN example; ours: on its nets", example(sngan_recipe, 1)),
    )),
    Comparison("nvp-step", ours(NVP), (
        Other(TEXTBOOK, textbook(NVP)),
        Other("nets of the same widths and blocks, couplings by torchflows", textbook(NVP, change=torchflows_nvp),
              needs="torchflows"),
    )),
    Comparison("pixelcnnpp-step", ours(PIXELCNNPP, 1), (Other(TEXTBOOK, textbook(PIXELCNNPP, 1)),)),
    Comparison("vae-iaf-step", ours(VAE_IAF, 1), (Other(TEXTBOOK, textbook(VAE_IAF, 1)),)),
)  # fmt: skip
