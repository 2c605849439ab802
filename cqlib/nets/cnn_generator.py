"""The generator of the "standard CNN" of the GAN literature: the mirror image of `conv.Critic`.

References: Radford et al. 2016; Miyato et al. 2018, table 3; layers as in the codes chainer-gan-lib, commit cf9efba,
and pytorch-gan-collections, 860e90b.
"""

from itertools import pairwise

from torch import Tensor, nn

from cqlib.nets.conv import at_least_fp32, bottom_size


def init_normal(net: nn.Module) -> nn.Module:
    """`net` with weights from N(0, 0.02^2), biases 0 (Radford et al. 2016, section 4)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return net


class CNNGenerator(nn.Module):
    """z (N, latent) -> (N, C, S, S) in [-1, 1]: dense layer, 4x4 stride-2 deconvolutions, 3x3 convolution, tanh, with
    batch normalisation and ReLU between them. The norm after the dense layer is per channel or, with `per_unit`,
    per unit."""

    def __init__(
        self, size: int, widths: tuple[int, ...], latent: int, *, image_channels: int = 3, per_unit: bool = False
    ):
        super().__init__()
        bottom = bottom_size(size, widths)
        self.bottom = (widths[-1], bottom, bottom)
        units = widths[-1] * bottom**2
        self.head = nn.Linear(latent, units)
        self.unit_norm = nn.BatchNorm1d(units) if per_unit else nn.Identity()
        layers: list[nn.Module] = [nn.ReLU()] if per_unit else [nn.BatchNorm2d(widths[-1]), nn.ReLU()]
        for a, b in pairwise(widths[::-1]):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.out = nn.Conv2d(widths[0], image_channels, 3, padding=1)
        init_normal(self)

    def forward(self, z: Tensor) -> Tensor:
        h = self.unit_norm(self.head(z)).unflatten(1, self.bottom)
        return at_least_fp32(self.out(self.body(h))).tanh()
