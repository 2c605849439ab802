"""Jacobians by autograd, entry by entry: what the closed forms of the flow are held against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cqlib.nets.coupling import CouplingNet, split_checkerboard

ROWS = 64
"""Rows of a Jacobian that one backward pass computes."""


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(D, D) of dy_i / dx_j for y = f(x) at one x (C, H, W), both flat; f takes and returns batches.

    Row i is a backward pass from y_i; `ROWS` copies of x give as many rows at once.
    """
    d, rows = x.numel(), []
    for which in torch.arange(d).split(ROWS):
        copies = x.detach().expand(len(which), *x.shape).clone().requires_grad_()
        y = f(copies).flatten(1)
        (gradient,) = torch.autograd.grad(y[torch.arange(len(which)), which].sum(), copies)
        rows.append(gradient.flatten(1))
    return torch.cat(rows)


def log_abs_det(matrix: Tensor) -> float:
    """ln |det| by an LU decomposition in fp64."""
    return float(torch.linalg.slogdet(matrix.double())[1])


def partition_order(shape: tuple[int, int, int]) -> Tensor:
    """(D,): the flat index of every value of an image (C, H, W), those of even row + column first."""
    index = torch.arange(shape[0] * shape[1] * shape[2]).view(1, *shape).double()
    return torch.cat([group.flatten() for group in split_checkerboard(index)]).long()


@torch.no_grad()
def stirred(flow: nn.Module, seed: int = 0, strength: float = 1.0) -> nn.Module:
    """`flow` with the coupling nets out of their starting point (s = 1, t near 0), as training would leave them: with
    random weights, |ln s| and |t| of about `strength`. In fp64 and in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for net in flow.modules():
        if isinstance(net, CouplingNet):
            for p in net.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
            net.scale.fill_(1.0)
            net.out.parametrizations.weight.original0.fill_(strength)
    return flow.double().eval()
