"""Gaussians whose elements are correlated, with exact densities and samples.

Reference: Petersen and Pedersen, "The Matrix Cookbook", 2012, Eqs. (24) (determinant lemma) and (156) (Woodbury).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def low_rank_log_density(residual: Tensor, log_sigma: Tensor, factors: Tensor) -> Tensor:
    """ln N(r; 0, diag(sigma^2) + L L^T) of r (N, D), for ln sigma (N, D) and L^T, `factors`, (N, k, D); -> (N,).

    O(D k^2). With everything divided by sigma, e = r / sigma and W = L / sigma, the quadratic form is the least of
    |e - W a|^2 + |a|^2 over a, attained at a = (I + W^T W)^-1 W^T e: a sum of squares, with nothing to cancel. All this
    is fp64, for where sigma is small the k x k matrix is large. NaN where the matrix is not finite.
    """
    with torch.autocast(residual.device.type, enabled=False):
        scale = (-log_sigma).exp()
        e = (residual * scale).double()
        w = (factors * scale[:, None]).double()
        identity = torch.eye(w.shape[1], dtype=w.dtype, device=w.device)
        root, failed = torch.linalg.cholesky_ex(identity + w @ w.mT)
        half = torch.linalg.solve_triangular(root, w @ e[..., None], upper=False)  # cholesky_solve may wait for a GPU
        a = torch.linalg.solve_triangular(root.mT, half, upper=True)
        quadratic = (e - (w.mT @ a).squeeze(-1)).square().sum(1) + a.square().sum((1, 2))
        half_log_det = root.diagonal(dim1=1, dim2=2).log().sum(1)
        log_p = -0.5 * quadratic - half_log_det - 0.5 * e.shape[1] * math.log(2 * math.pi)
        return torch.where(failed == 0, log_p, torch.nan).to(residual.dtype) - log_sigma.sum(1)


class Whitening(nn.Module):
    """e -> A e for a learned A (D, D) that is triangular with 1 on its diagonal, so that its determinant is 1.

    If A e is N(0, I), e has the covariance A^-1 A^-T, which can be any up to a scale of each element. A starts as I.
    """

    def __init__(self, dimensions: int):
        super().__init__()
        self.below = nn.Parameter(torch.zeros(dimensions, dimensions))
        """Only what lies below the diagonal is used."""

    def forward(self, e: Tensor) -> Tensor:
        """(N, D) -> (N, D): every element less a linear prediction of it from those before."""
        with torch.autocast(e.device.type, enabled=False):
            return e + e @ self.below.tril(-1).T

    def inverse(self, white: Tensor) -> Tensor:
        """The e that `forward` sends to `white`."""
        with torch.autocast(white.device.type, enabled=False):
            upper = self.below.T.triu(1)
            return torch.linalg.solve_triangular(upper, white, upper=True, left=False, unitriangular=True)
