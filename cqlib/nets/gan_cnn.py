"""The standard CNN of the GAN literature: generator and critic of DCGAN and SNGAN, symmetric critic of BatchGAN.

References: Radford et al. 2016; Miyato et al. 2018, table 3, whose layers the public codes chainer-gan-lib (commit
cf9efba) and pytorch-gan-collections (860e90b) give exactly; Lucas et al., "Mixed batches and symmetric discriminators
for GAN training", ICML 2018 (arXiv 1806.07185), for layers that read each image beside its batch's mean rho,

    y_i = b + sqrt(B / (B + 1)) (Lambda x_i + Gamma rho(x)),   rho(x) = (1/B) sum_j x_j

Permuting the batch permutes the outputs. For independent x_i of mean 0 and variance 1, rho has variance 1/B: the root
gives y_i the variance of Lambda x_i alone, for Gamma drawn as Lambda is.

`widths` lists the channels from the finest resolution to the bottom, which is S / 2^(len(widths) - 1) pixels wide:
(64, 128, 256, 512) has its bottom at 4x4 for 32 pixels and 6x6 for 48.
"""

from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn
from torch.func import functional_call

from cqlib.nets.conv import critic_body
from cqlib.nets.norms import BatchNorm1d, BatchNorm2d
from cqlib.nets.precision import at_least_fp32


def bottom_size(size: int, widths: tuple[int, ...]) -> int:
    """Width of the coarsest feature map; ValueError if `size` cannot be halved so often."""
    halvings = len(widths) - 1
    if size % 2**halvings:
        raise ValueError(f"{size} pixels cannot be halved {halvings} times")
    return size // 2**halvings


def start_normal(net: nn.Module) -> None:
    """Weights from N(0, 0.02^2), biases 0 (Radford et al. 2016, section 4)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class CNNGenerator(nn.Module):
    """z (N, latent) -> (N, C, S, S) in [-1, 1]: dense layer, 4x4 stride-2 deconvolutions, 3x3 convolution, tanh;
    batch normalisation and ReLU between them. `first_norm`: over each channel of the bottom, or over each unit.
    """

    def __init__(
        self, size: int, widths: tuple[int, ...], latent: int, *, image_channels: int = 3,
        first_norm: Literal["channel", "unit"] = "channel",
    ):  # fmt: skip
        super().__init__()
        bottom = bottom_size(size, widths)
        self.bottom = (widths[-1], bottom, bottom)
        units = widths[-1] * bottom**2
        self.head = nn.Linear(latent, units)
        self.unit_norm = BatchNorm1d(units) if first_norm == "unit" else nn.Identity()
        layers: list[nn.Module] = [BatchNorm2d(widths[-1])] if first_norm == "channel" else []
        layers += [nn.ReLU()]
        for a, b in pairwise(widths[::-1]):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.out = nn.Conv2d(widths[0], image_channels, 3, padding=1)
        start_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        h = self.unit_norm(self.head(z)).unflatten(1, self.bottom)
        return at_least_fp32(self.out(self.body(h))).tanh()


class ShiftingBatchNorm(nn.Module):
    """Batch normalisation with a learned shift (beta) and no scale (gamma)."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False)
        self.beta = nn.Parameter(self.norm.running_mean.new_zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.beta


class CNNCritic(nn.Module):
    """(N, C, S, S) -> logits (N,): a 3x3 convolution per resolution, 4x4 stride-2 convolutions between them, dense.

    `norm`: "batch", with shift and no scale after all convolutions but the first, or "none"; `slope` of the leaky
    ReLU.
    """

    def __init__(
        self, size: int, widths: tuple[int, ...], *, image_channels: int = 3, norm: Literal["batch", "none"],
        slope: float,
    ):  # fmt: skip
        super().__init__()
        between = ShiftingBatchNorm if norm == "batch" else None
        self.body = critic_body(image_channels, widths, slope=slope, norm=between)
        self.head = nn.Linear(widths[-1] * bottom_size(size, widths) ** 2, 1)
        start_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.body(x).flatten(1)).squeeze(1))


SLOPE = 0.1
"""Of the leaky ReLUs of the symmetric critic (Miyato et al. 2018, table 3)."""


class Symmetric(nn.Module):
    """The symmetric layer, `own` for Lambda and `batch`, of the same shape without bias, for Gamma.

    Weights start by He et al. 2015, Eq. 14, `slope` being that of the leaky ReLU before it, 1 for none.
    """

    def __init__(self, own: Any, batch: Any, slope: float = SLOPE):
        super().__init__()
        self.own, self.batch = own, batch
        for layer in (own, batch):
            nn.init.kaiming_normal_(layer.weight, a=slope)
        nn.init.zeros_(own.bias)

    def forward(self, x: Tensor) -> Tensor:
        s = (len(x) / (len(x) + 1)) ** 0.5
        own = functional_call(self.own, {"weight": s * self.own.weight}, x)
        return own + s * self.batch(x.mean(0, keepdim=True))


def symmetric_conv(a: int, b: int, kernel: int, *, stride: int = 1, slope: float = SLOPE) -> Symmetric:
    """(B, a, H, W) -> (B, b, H / stride, W / stride)."""
    own = nn.Conv2d(a, b, kernel, stride=stride, padding=1)
    return Symmetric(own, nn.Conv2d(a, b, kernel, stride=stride, padding=1, bias=False), slope)


class SymmetricCritic(nn.Module):
    """A batch of images -> a logit for each, (B, C, S, S) -> (B,): `CNNCritic` without normalisation, with every layer
    symmetric. Each logit depends on the whole batch."""

    def __init__(self, size: int, widths: tuple[int, ...], *, image_channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = [symmetric_conv(image_channels, widths[0], 3, slope=1.0), nn.LeakyReLU(SLOPE)]
        for a, b in pairwise(widths):
            layers += [symmetric_conv(a, b, 4, stride=2), nn.LeakyReLU(SLOPE)]
            layers += [symmetric_conv(b, b, 3), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers)
        units = widths[-1] * bottom_size(size, widths) ** 2
        self.head = Symmetric(nn.Linear(units, 1), nn.Linear(units, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return at_least_fp32(self.head(self.body(x).flatten(1)).squeeze(1))
