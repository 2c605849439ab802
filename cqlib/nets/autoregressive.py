"""Masked convolutions and the inverse autoregressive flow (IAF) step that they parametrise.

References: Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", NIPS 2016, section 4
and its published code; Germain et al. 2015 (degrees).

The order is that of the reference code: a pixel depends on the pixels to its right and below (reverse raster), and
at the pixel itself a channel depends on the channels before it.

Deviations:
- s is bounded by `MAX_LOG_SCALE` through a tanh, so that exp never overflows; near 0 it is close to the reference's s.
- Every hidden channel has a degree, the last channel of z that it may depend on, so that any width goes with any
  number of latent channels.
"""

from torch import Tensor, nn
from torch.nn.functional import elu

from cqlib.nets.conv import at_least_fp32, bounded
from cqlib.nets.raster import Kind, degrees, raster_mask
from cqlib.nets.weight_norm import weight_norm

MAX_LOG_SCALE = 4.0
"""|s| stays below this: one step cannot scale by more than e^4."""
STEP = 0.1
"""(m, s) is this share of what the net returns, so that the step starts near the identity."""


class MaskedConv2d(nn.Conv2d):
    """A weight-normalised 3x3 convolution with an autoregressive mask over `latent` ordered channels: (N, in, H, W) ->
    (N, out, H, W). With mask A no output depends on its own channel at its pixel, with B it may."""

    bias: nn.Parameter

    def __init__(self, kind: Kind, in_channels: int, out_channels: int, latent: int):
        super().__init__(in_channels, out_channels, 3, padding=1)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)
        mask = raster_mask(kind, degrees(in_channels, latent), degrees(out_channels, latent), 3).flip(2, 3)
        weight_norm(self, length=1.0, mask=mask)


class IAFStep(nn.Module):
    """z -> (z - m) / exp(s) with (m, s) autoregressive in z given a context (N, width, H, W): ln |det| = -sum s. Two
    hidden masked layers with ELU, the context added after the first."""

    def __init__(self, latent: int, width: int):
        super().__init__()
        self.first = MaskedConv2d("B", latent, width, latent)
        self.second = MaskedConv2d("B", width, width, latent)
        self.shift = MaskedConv2d("A", width, latent, latent)
        self.log_scale = MaskedConv2d("A", width, latent, latent)

    def shift_and_log_scale(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """m and s, each (N, latent, H, W)."""
        h = elu(self.second(elu(self.first(z) + context)))
        shift, log_scale = at_least_fp32(self.shift(h)), at_least_fp32(self.log_scale(h))
        return STEP * shift, bounded(STEP * log_scale, MAX_LOG_SCALE)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The new z and s, elementwise: ln q of the new z is ln q of the old one plus the sum of s."""
        m, s = self.shift_and_log_scale(z, context)
        return (z - m) * (-s).exp(), s
