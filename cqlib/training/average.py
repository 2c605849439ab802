"""The average of the weights along a training, which is what is evaluated."""

from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """An exponential moving average of the parameters and buffers of a model: `module` has it. Its decay rises as
    (1 + t) / (10 + t) up to `decay`, so that it soon forgets the first weights. All numbers stay on the device."""

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module, self.decay = deepcopy(model), decay
        device = next(model.parameters()).device
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long, device=device))

    @torch.no_grad()
    def update(self, model: nn.Module, good: Tensor) -> None:
        """Take in the present weights of `model` if `good`, a flag () on the device; else leave the average as it
        is."""
        later = 10 + self.n_averaged.float()
        weight = torch.full_like(later, 9.0) / later  # 1 - (1 + t) / (10 + t)
        weight = weight.clamp(min=1 - self.decay)
        weight = torch.where(self.n_averaged == 0, 1.0, weight) * good
        averages, current = [], []
        of_module, of_model = (chain(net.parameters(), net.buffers()) for net in (self.module, model))
        for average, value in zip(of_module, of_model, strict=True):
            if average.is_floating_point():
                averages.append(average)
                current.append(value)
            else:  # counters, such as batch norm's
                average.copy_(torch.where(good, value, average))
        torch._foreach_lerp_(averages, current, [weight.to(average.dtype) for average in averages])
        self.n_averaged += good
