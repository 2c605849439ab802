"""The end of bf16: what leaves a net is at least fp32."""

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """bf16 and fp16 -> fp32, since densities and losses are never computed in less; fp32 and fp64 stay."""
    return x if x.dtype == torch.float64 else x.float()
