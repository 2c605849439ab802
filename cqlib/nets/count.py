"""What a net costs: multiply-adds of a pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def multiply_adds(net: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of one forward pass in convolutions and matrix products, on a batch as given; elementwise
    operations are not counted, masked weights count as if they were not masked."""
    with FlopCounterMode(display=False) as counter:
        net(*inputs)
    return counter.get_total_flops() // 2
