"""Real NVP from torchflows, as its users would put it together.

The library gives partitions, affine couplings and squeezes; the nets inside couplings are ours, so that both sides
learn as much.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchflows.bijections.finite.autoregressive.conditioning.coupling_masks import Coupling
from torchflows.bijections.finite.autoregressive.conditioning.transforms import TensorConditionerTransform
from torchflows.bijections.finite.autoregressive.layers_base import CouplingBijection
from torchflows.bijections.finite.autoregressive.transformers.linear.affine import Affine
from torchflows.bijections.finite.multiscale.base import Squeeze
from torchflows.bijections.finite.multiscale.coupling import ChannelWiseHalfSplit

from cqlib.nets.real_nvp import CouplingResNet

Shape = tuple[int, int, int]
Net = Callable[[int, int], nn.Module]
"""(channels, width) -> a net, (N, channels, H, W) to t and ln s of that shape."""


class Colours(Coupling):
    """A split into the two colours of a checkerboard, (C, H, W / 2) each: the net sees one, the other is changed."""

    def __init__(self, shape: Shape, parity: int):
        rows, columns = (torch.arange(n) for n in shape[1:])
        super().__init__(shape, ((rows[:, None] + columns) % 2 == parity).expand(shape))
        self.half = (*shape[:2], shape[2] // 2)

    @property
    def constant_shape(self) -> Shape:
        return self.half

    @property
    def target_shape(self) -> Shape:
        return self.half


class Conditioner(TensorConditionerTransform):
    """t and ln s by a net, in the order in which `Affine` reads them."""

    def __init__(self, input_event_shape, parameter_shape, context_shape=None, *, net: nn.Module):
        super().__init__(input_event_shape, parameter_shape, context_shape)
        self.net = net

    def predict_theta_flat(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(N, C, H, W) -> (N, 2 C H W): ln s comes twice as large, since `Affine` halves it."""
        t, log_s = self.net(x)
        return torch.stack([2 * log_s, t], dim=-1).flatten(1)


class TorchflowsRealNVP(nn.Module):
    """Real NVP with the structure of the one in `cqlib.nets`: checkerboard couplings; with several scales, then channel
    couplings at half the resolution, then the same on half of the channels; the last scale has one coupling more.

    Like the flows of this package: (N, C, H, W) -> the features and ln |det|.
    """

    def __init__(self, shape: Shape, net: Net, width: int, *, couplings: int, scales: int = 1):
        super().__init__()

        def row(shape: Shape, splits: list[Coupling], width: int) -> nn.ModuleList:
            layers = nn.ModuleList()
            for split in splits:
                given = {"net": net(split.constant_shape[0], width)}
                layers += [CouplingBijection(shape, Affine, coupling=split, conditioner_transform_class=Conditioner,
                                             conditioner_kwargs=given)]  # fmt: skip
            return layers

        splits = [Colours(shape, k % 2) for k in range(couplings)]
        self.checkerboards, self.coarser = row(shape, splits, width), None
        if scales > 1:
            self.squeeze = Squeeze(shape)
            c, h, w = small = tuple(self.squeeze.transformed_event_shape)
            splits = [ChannelWiseHalfSplit(small, invert=k % 2 == 1) for k in range(couplings)]
            self.channels = row(small, splits, 2 * width)
            more = couplings + 1 if scales == 2 else couplings
            self.coarser = TorchflowsRealNVP((c // 2, h, w), net, 2 * width, couplings=more, scales=scales - 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for layer in self.checkerboards:
            x, term = layer(x)
            log_det = log_det + term
        if self.coarser is None:
            return x, log_det
        x, _ = self.squeeze(x)
        for layer in self.channels:
            x, term = layer(x)
            log_det = log_det + term
        done, going_on = x.chunk(2, dim=1)
        going_on, term = self.coarser(going_on)
        return self.squeeze.inverse(torch.cat([done, going_on], dim=1))[0], log_det + term


class BatchNormedNet(nn.Module):
    """The net of `table3/nvp` as t and ln s = a tanh(.), (N, c, H, W) -> two of that shape."""

    def __init__(self, channels: int, width: int, blocks: int):
        super().__init__()
        self.net = CouplingResNet(channels, 2 * channels, width, blocks)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        t, raw = self.net(x).chunk(2, dim=1)
        return t, self.scale * raw.tanh()
