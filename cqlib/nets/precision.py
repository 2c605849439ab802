"""What leaves a net is at least fp32, the end of bf16, and bounded where exp follows; the most exact numbers of a
device."""

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """bf16 and fp16 -> fp32, since densities and losses are never computed in less; fp32 and fp64 stay."""
    return x if x.dtype == torch.float64 else x.float()


def bounded(x: Tensor, limit: float) -> Tensor:
    """limit tanh(x / limit), in [-limit, limit], so that exp does not overflow; near x for small x."""
    return limit * torch.tanh(x / limit)


def most_exact(device: torch.device) -> torch.dtype:
    """float64; float32 on MPS, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
