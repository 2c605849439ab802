"""Generator and discriminator of Salimans et al. 2016 for CIFAR-10, and their like at other sizes.

Reference: "Improved Techniques for Training GANs", NIPS 2016, and its published code
(`train_cifar_minibatch_discrimination.py`), layer by layer at 32 pixels.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from cqlib.nets.conv import BOTTOM, check_widths, levels
from cqlib.nets.norms import BatchNorm1d, BatchNorm2d
from cqlib.nets.precision import at_least_fp32
from cqlib.nets.weight_norm import DataInitialised, WeightNormed

EPS = 1e-6


class _Shift(nn.Module):
    """+ b per channel: the reference's batch normalisation has a bias and no scale."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, *[1] * (x.dim() - 2))


class ImprovedGenerator(nn.Module):
    """u (N, latent) in [0, 1] -> (N, C, S, S) in [-1, 1]: dense layer, 5x5 transposed convolutions, tanh.

    `widths` are the channels from half the image's resolution to the bottom: (128, 256, 512) at 32 pixels.
    """

    def __init__(self, size: int, widths: tuple[int, ...], latent: int, *, image_channels: int = 3):
        super().__init__()
        check_widths(widths, size, levels(size) - 1)
        self.bottom = (widths[-1], BOTTOM[size], BOTTOM[size])
        units = widths[-1] * BOTTOM[size] ** 2

        def normalised(channels: int, kind: type[nn.Module]) -> list[nn.Module]:
            return [kind(channels, eps=EPS, affine=False), _Shift(channels), nn.ReLU()]

        self.head = nn.Sequential(nn.Linear(latent, units, bias=False), *normalised(units, BatchNorm1d))
        layers: list[nn.Module] = []
        for a, b in pairwise(widths[::-1]):
            layers += [nn.ConvTranspose2d(a, b, 5, stride=2, padding=2, output_padding=1, bias=False)]
            layers += normalised(b, BatchNorm2d)
        for layer in (self.head[0], *layers):
            if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=0.05)
        out = nn.ConvTranspose2d(widths[0], image_channels, 5, stride=2, padding=2, output_padding=1)
        self.body = nn.Sequential(*layers, WeightNormed(out, start=0.1, train_scale=True))

    def forward(self, u: Tensor) -> Tensor:
        return torch.tanh(at_least_fp32(self.body(self.head(u).unflatten(1, self.bottom))))


class _Noise(nn.Module):
    """x + N(0, sigma^2) in training."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x) if self.training else x


class MinibatchDiscrimination(DataInitialised):
    """f (N, a) -> (N, a + kernels): f, and per kernel k how close an image's features are to those of the others,

        o_k(i) = b_k + sum_{j != i} exp(-|M_ik - M_jk|_1),   M_ik = T_k f_i in `dimensions` dimensions.

    (section 3.2). The columns of T have length exp(`log_scale`). Initialisation sets it so that the nearest neighbour
    of an image is on average at distance 2, and b so that o has mean 0.
    """

    def __init__(self, features: int, kernels: int = 100, dimensions: int = 5):
        super().__init__()
        self.theta = nn.Parameter(0.05 * torch.randn(features, kernels, dimensions))
        self.log_scale = nn.Parameter(torch.zeros(kernels, dimensions))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    def forward(self, f: Tensor) -> Tensor:
        with torch.autocast(f.device.type, enabled=False):  # bf16 is too coarse for exp(-distance)
            f = f.float()
            kernels = self.theta * (self.log_scale.exp() / self.theta.norm(dim=0))
            m = torch.einsum("na,akd->knd", f, kernels)
            distance = torch.cdist(m, m, p=1)  # (kernels, N, N)
            itself = torch.eye(len(f), dtype=torch.bool, device=f.device)
            if self.initialising and len(f) > 1:
                nearest = distance.masked_fill(itself, torch.inf).amin(2).mean(1).clamp(min=1e-6)
                self.log_scale.sub_((nearest / 2).log()[:, None])
                distance = distance / (nearest / 2)[:, None, None]
            likeness = torch.exp(-distance).masked_fill(itself, 0.0).sum(2).T
            if self.initialising:
                self.bias.copy_(-likeness.mean(0))
            return torch.cat([f, likeness + self.bias], dim=1)


class ImprovedCritic(nn.Module):
    """(N, C, S, S) -> logits of the classes, (N, classes); real images of no known class raise their log-sum-exp.

    Gaussian noise of 0.2 on the image; stages of three 3x3 convolutions, the last of stride 2, and dropout; one valid
    3x3 and two 1x1 convolutions; global average; `kernels` minibatch features (0: none). Leaky ReLU 0.2, weight
    norm. `widths` are those of the stages, (96, 192) at 32 pixels; the rest has the last one.
    """

    def __init__(
        self, size: int, widths: tuple[int, ...], *, classes: int = 10, kernels: int = 100, image_channels: int = 3
    ):
        super().__init__()
        check_widths(widths, size, levels(size) - 2)

        def conv(a: int, b: int, kernel: int = 3, *, stride: int = 1, padding: int = 0) -> list[nn.Module]:
            return [WeightNormed(nn.Conv2d(a, b, kernel, stride=stride, padding=padding)), nn.LeakyReLU(0.2)]

        layers: list[nn.Module] = [_Noise(0.2)]
        for a, b in pairwise((image_channels, *widths)):
            layers += [*conv(a, b, padding=1), *conv(b, b, padding=1), *conv(b, b, stride=2, padding=1)]
            layers += [nn.Dropout(0.5)]
        top = widths[-1]
        self.body = nn.Sequential(*layers, *conv(top, top), *conv(top, top, 1), *conv(top, top, 1))
        self.minibatch = MinibatchDiscrimination(top, kernels) if kernels else nn.Identity()
        self.head = WeightNormed(nn.Linear(top + kernels, classes), start=0.1, train_scale=True)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.minibatch(at_least_fp32(self.body(x).mean((2, 3))))))
