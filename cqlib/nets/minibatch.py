"""Minibatch discrimination: features that tell how close an image's features are to those of the rest of its batch.

Reference: Salimans et al., "Improved Techniques for Training GANs", NIPS 2016, section 3.2, and its published code,
whose normalisation of the kernels is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cqlib.nets.weight_norm import DataInitialised


class MinibatchDiscrimination(DataInitialised):
    """f (N, a) -> (N, a + kernels): f, and for each kernel k what it says of the likeness to the others,

        o_k(i) = b_k + sum_{j != i} exp(-|M_ik - M_jk|_1),   M_ik = T_k f_i in `dimensions` dimensions.

    The columns of T have length exp(`log_scale`). Initialisation sets it so that the nearest neighbour of an image is
    on average at distance 2, and b so that o has mean 0.
    """

    def __init__(self, features: int, kernels: int = 100, dimensions: int = 5):
        super().__init__()
        self.theta = nn.Parameter(0.05 * torch.randn(features, kernels, dimensions))
        self.log_scale = nn.Parameter(torch.zeros(kernels, dimensions))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    def forward(self, f: Tensor) -> Tensor:
        with torch.autocast(f.device.type, enabled=False):  # exp(-distance) wants all digits
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
