"""The step of torch-fidelity's SNGAN example (examples/sngan_cifar10.py there), put together anew from torch's parts:
its layers, its spectral norm, its optimisers, and the order of its step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils import spectral_norm
from torch.optim import Adam


def sngan_stepper(batches: Iterator[Tensor], size: int, widths: tuple[int, ...], latent: int, batch_size: int,
                  device: torch.device) -> Callable[[], tuple[float, float]]:  # fmt: skip
    """A call that takes a step of the example, with one critic update: the generator by the hinge loss, then the
    critic; and returns both losses. `batches` are (batch_size, 3, size, size) in [-1, 1]; `widths` from the finest
    resolution to the bottom."""
    generator = generator_net(size, widths, latent).to(device).train()
    critic = critic_net(size, widths).to(device).train()
    of_generator, of_critic = (Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, critic))

    def step() -> tuple[float, float]:
        real = next(batches).to(device)
        generator.requires_grad_(True)
        critic.requires_grad_(False)
        of_generator.zero_grad()
        generator_loss = -critic(generator(torch.randn(batch_size, latent, 1, 1, device=device))).mean()
        generator_loss.backward()
        of_generator.step()
        generator.requires_grad_(False)
        critic.requires_grad_(True)
        of_critic.zero_grad()
        fake = generator(torch.randn(batch_size, latent, 1, 1, device=device))
        critic_loss = relu(1 - critic(real)).mean() + relu(1 + critic(fake)).mean()
        critic_loss.backward()
        of_critic.step()
        return generator_loss.item(), critic_loss.item()

    return step


def generator_net(size: int, widths: tuple[int, ...], latent: int) -> nn.Sequential:
    """(N, latent, 1, 1) -> (N, 3, size, size)."""
    up = widths[::-1]
    layers = [nn.ConvTranspose2d(latent, up[0], size >> (len(up) - 1)), nn.BatchNorm2d(up[0]), nn.ReLU()]
    for a, b in zip(up, up[1:], strict=False):
        layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(up[-1], 3, 3, padding=1), nn.Tanh())


def critic_net(size: int, widths: tuple[int, ...],
               normalised: Callable[[nn.Module], nn.Module] = spectral_norm) -> nn.Sequential:  # fmt: skip
    """(N, 3, size, size) -> (N, 1). Its widths grow one layer later than Miyato's: it has half the multiply-adds."""
    layers = [normalised(nn.Conv2d(3, widths[0], 3, padding=1)), nn.LeakyReLU(0.1)]
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [normalised(nn.Conv2d(a, a, 4, stride=2, padding=1)), nn.LeakyReLU(0.1)]
        layers += [normalised(nn.Conv2d(a, b, 3, padding=1)), nn.LeakyReLU(0.1)]
    bottom = widths[-1] * (size >> (len(widths) - 1)) ** 2
    return nn.Sequential(*layers, nn.Flatten(), normalised(nn.Linear(bottom, 1)))
