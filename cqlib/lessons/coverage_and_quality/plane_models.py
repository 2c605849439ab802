"""Lesson 02, a latent-variable model of the plane whose likelihood is exact, and a critic.

    p_theta(x) = (1/M) sum_m N(x; mu(z_m), diag(sigma(z_m)^2))

z is uniform over the M points of a square lattice of unit variance, so the integral over z is a sum, and L_C needs no
bound. The critic has no gradient penalty: the decoder's noise gives both densities the whole plane as their support.

Several models are trained side by side, each from its own seed: one product of stacks of matrices costs little more
than one of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu, silu, softplus

WIDTH, SIDE_OF_Z, SIGMA_FLOOR = 64, 14, 0.02
ZOOM = 3.0
"""Factor on the critic's inputs: the data's details are small beside 1."""


class Nets(nn.Module):
    """S multilayer perceptrons side by side, (S, N, i) -> (S, N, o); each is started by its own generator."""

    def __init__(self, sizes: Sequence[int], activation: Callable[[Tensor], Tensor], gain: float, generators: list):
        super().__init__()
        self.activation = activation
        pairs = list(zip(sizes, sizes[1:], strict=False))
        weights = [torch.stack([torch.randn(i, o, generator=g) for g in generators]) * gain / i**0.5 for i, o in pairs]
        self.weights = nn.ParameterList(nn.Parameter(w) for w in weights)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(len(generators), 1, o)) for _, o in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, self.activation(x) if k else x, weight)
        return x


class Critic(Nets):
    """S critics side by side: points (S, N, 2) -> logits (S, N)."""

    def __init__(self, generators: list[Generator]):
        super().__init__([2, WIDTH, WIDTH, 1], lambda h: leaky_relu(h, 0.2), math.sqrt(2), generators)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(ZOOM * x).squeeze(-1)


class PlaneModels(nn.Module):
    """S models p_theta side by side."""

    z: Tensor

    def __init__(self, generators: list[Generator]):
        super().__init__()
        axis = math.sqrt(3) * ((torch.arange(SIDE_OF_Z) + 0.5) * 2 / SIDE_OF_Z - 1)
        self.register_buffer("z", torch.cartesian_prod(axis, axis).repeat(len(generators), 1, 1))
        self.decoder = Nets([2, WIDTH, WIDTH, WIDTH, 4], silu, 1.0, generators)
        with torch.no_grad():
            self.decoder.weights[-1].mul_(0.5)  # all of mu(z) is near the origin at the start

    def decode(self) -> tuple[Tensor, Tensor]:
        """mu(z_m) and sigma(z_m) for all z, two of (S, M, 2); sigma > `SIGMA_FLOOR`."""
        mean, raw = self.decoder(self.z).chunk(2, -1)
        return mean, SIGMA_FLOOR + softplus(raw - 2)

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p_theta(x) of points (S, N, 2), each model its own, or (N, 2) for all; -> (S, N).

        ln N(x; mu, sigma) is linear in (x^2, x), so that all z take one product of matrices.
        """
        mean, sigma = self.decode()
        x = x.expand(len(mean), -1, -1)
        precision = sigma.square().reciprocal()
        constant = -(0.5 * mean.square() * precision + sigma.log()).sum(-1) - math.log(2 * math.pi)
        linear = torch.cat([-0.5 * precision, mean * precision], -1)
        log_p = torch.baddbmm(constant[:, None], torch.cat([x.square(), x], -1), linear.transpose(1, 2))
        return torch.logsumexp(log_p, -1) - math.log(log_p.shape[-1])

    def draw(self, n: int, generators: list[Generator]) -> Tensor:
        """n points of each model, x = mu(z) + sigma(z) eps, (S, n, 2); differentiable."""
        mean, sigma = self.decode()
        which = torch.stack([torch.randint(mean.shape[1], (n, 1), generator=g) for g in generators]).expand(-1, -1, 2)
        noise = torch.stack([torch.randn(n, 2, generator=g, dtype=mean.dtype) for g in generators])
        return mean.gather(1, which) + sigma.gather(1, which) * noise
