"""The kernel distances of many subsets, from the kernel of all pairs of images, which is computed once; torch-fidelity
recomputes it for every subset."""

import numpy as np
import torch
from torch import Tensor

CHUNK = 1000
"""Rows of the kernel's matrix that are in memory at a time."""


def subset_distances(fake: Tensor, real: Tensor, *, subsets: int, size: int, seed: int) -> Tensor:
    """The unbiased squared maximum mean discrepancy of `subsets` pairs of subsets of `size`, with the kernel
    (x . y / d + 1)^3 of features (n, d) and (m, d) -> (subsets,) float64. Subsets are those that torch-fidelity draws
    with this seed; the sum of the kernel over one is v^T K v, with v its indicator."""
    rng = np.random.RandomState(seed)
    a, b = (torch.zeros(len(features), subsets, dtype=torch.float64) for features in (fake, real))
    for k in range(subsets):
        for members in (a, b):
            members[torch.from_numpy(rng.choice(len(members), size, replace=False)), k] = 1
    return mmd_of_subsets(fake, a, real, b)


def mmd_of_subsets(fake: Tensor, a: Tensor, real: Tensor, b: Tensor) -> Tensor:
    """The unbiased squared maximum mean discrepancy of pairs of subsets, (subsets,) float64. Column k of a (n, subsets)
    and of b (m, subsets), float64, is 1 for the members of subset k of `fake` (n, d) and `real` (m, d), else 0."""
    (x, y), (n, m) = (features.double().cpu() for features in (fake, real)), (a.sum(0), b.sum(0))
    within = (_sums(x, a, x, a) - _own(x, a)) / (n * (n - 1)) + (_sums(y, b, y, b) - _own(y, b)) / (m * (m - 1))
    return within - 2 * _sums(x, a, y, b) / (n * m)


def _own(x: Tensor, a: Tensor) -> Tensor:
    """sum_i a_ik K(x_i, x_i), (subsets,)."""
    return _kernel(x.square().sum(1), x.shape[1]) @ a


def _sums(x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """sum_ij a_ik K(x_i, y_j) b_jk for each subset k, (subsets,)."""
    parts = zip(x.split(CHUNK), a.split(CHUNK), strict=True)
    return torch.stack([(some_a * (_kernel(some_x @ y.T, x.shape[1]) @ b)).sum(0) for some_x, some_a in parts]).sum(0)


def _kernel(products: Tensor, d: int) -> Tensor:
    """The kernel (x . y / d + 1)^3 of features in d dimensions with these inner products x . y."""
    base = products / d + 1
    return base * base * base
