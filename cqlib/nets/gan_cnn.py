"""The standard CNN of the GAN literature. The generator of DCGAN, SNGAN and BatchGAN is here; the critic of the first
two is `Critic` of `nets.conv`, where `widths` are explained, with `start_normal`.

References: Radford et al. 2016; Miyato et al. 2018, table 3, whose layers the public codes chainer-gan-lib (commit
cf9efba) and pytorch-gan-collections (860e90b) give exactly.
"""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from cqlib.nets.conv import bottom_size
from cqlib.nets.norms import BatchNorm1d, BatchNorm2d
from cqlib.nets.precision import at_least_fp32


def start_normal(net: nn.Module) -> nn.Module:
    """`net` with weights from N(0, 0.02^2), biases 0 (Radford et al. 2016, section 4)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return net


class CNNGenerator(nn.Module):
    """z (N, latent) -> (N, C, S, S) in [-1, 1]: dense layer, 4x4 stride-2 deconvolutions, 3x3 convolution, tanh; batch
    normalisation and ReLU between them, the first one over each channel of the bottom or over each unit."""

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
