"""Lessons 04 and 05, Jacobians by autograd, entry by entry: what the closed forms of the flow are checked against.

Of a coupling: dy/dx = [[I, 0], [dy2/dx1, diag(s(x1))]],   ln |det dy/dx| = sum ln s(x1)
"""

from collections.abc import Callable

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from torch import Tensor

from cqlib.lessons.coupling_layers.steps import SMALL, random_flow, small_image
from cqlib.nets.coupling import RealNVP, split_checkerboard
from cqlib.report import plots
from cqlib.report.cells import bare, heat, picture, subplots

ROWS = 64
"""Rows of a Jacobian that one backward pass computes."""


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(D, D) of dy_i / dx_j for y = f(x) at one x (C, H, W), both flat; f takes and returns batches.
    Row i is a backward pass from y_i; `ROWS` copies of x give as many rows at once."""
    rows = []
    for which in torch.arange(x.numel()).split(ROWS):
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


# --- the triangle ----------------------------------------------------------------------------------------------


def triangle() -> HTML:
    """The Jacobian of one coupling on 16 pixels: in the order of pixels, and with x1 before x2."""
    f, x = random_flow(1), small_image()[0]
    matrix = jacobian(lambda v: f(v)[0], x)
    order, limit = partition_order(SMALL), float(matrix.abs().max())
    with subplots(7.6, 3.7, 1, 2) as (figure, (left, right)):
        heat(left, matrix, limit=limit, title="pixel by pixel")
        image = heat(right, matrix[order][:, order], limit=limit, title="x₁ first, then x₂")
        ticks = range(0, 16, 5)
        left.set_xticks(ticks, [i + 1 for i in ticks])
        left.set_yticks(ticks, [i + 1 for i in ticks])
        left.set(xlabel="pixel of x", ylabel="pixel of y")
        _halves(right)
        figure.colorbar(image, ax=[left, right], label="∂y / ∂x; empty: exactly 0", shrink=0.8)
    alt = (
        "The Jacobian of a coupling, 16 by 16. Pixel by pixel, rows with a single 1 alternate with full rows. With the "
        "kept pixels first, an identity in the upper left, zeros in the upper right, a full block in the lower left, "
        "and a diagonal of scales in the lower right"
    )
    return picture(figure, alt)


def _halves(ax: Axes) -> None:
    ax.axhline(7.5, color=plots.FAINT, linewidth=0.8)
    ax.axvline(7.5, color=plots.FAINT, linewidth=0.8)
    ax.set_xticks([3.5, 11.5], ["x₁", "x₂"])
    ax.set_yticks([3.5, 11.5], ["y₁", "y₂"])
    ax.tick_params(length=0)


def composition() -> HTML:
    """The Jacobians of 1, 2 and 3 alternating couplings on 16 pixels, x1 before x2."""
    x, order = small_image()[0], partition_order(SMALL)

    def arranged(f: RealNVP) -> Tensor:
        return jacobian(lambda v: f(v)[0], x)[order][:, order]

    matrices = [arranged(random_flow(k)) for k in (1, 2, 3)]  # one seed: each flow begins with the one before
    limit = max(float(matrix.abs().max()) for matrix in matrices)
    with subplots(8.6, 3.1, 1, 3) as (figure, axes):
        for k, (ax, matrix) in enumerate(zip(axes, matrices, strict=True), start=1):
            image = heat(ax, matrix, limit=limit, title=_count(k))
            _halves(ax)
        figure.colorbar(image, ax=list(axes), label="∂y / ∂x", shrink=0.8)
    alt = "Jacobians after one, two and three couplings: the empty block of the first is filled by the second"
    return picture(figure, alt)


def _count(k: int) -> str:
    return f"{k} coupling{'s' if k > 1 else ''}"


def influence(size: int = 16) -> HTML:
    """Which pixels of x one pixel of y depends on: |dy/dx| summed over colours, after 1, 2 and 3 couplings and with two
    scales. The nets have no residual blocks: their receptive field is a 3x3 convolution of packed pixels."""
    x = torch.rand(3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    flows = {_count(k): random_flow(k, 3, blocks=0) for k in (1, 2, 3)}
    flows["2 scales"] = random_flow(3, 3, blocks=0, scales=2)
    row, column = size // 2, size // 2 + 1  # changed by the first coupling
    with subplots(8.6, 2.4, 1, len(flows)) as (figure, axes):
        counts = []
        for ax, (title, f) in zip(axes, flows.items(), strict=True):
            v = x[None].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(f(v)[0][0, 0, row, column], v)
            strength = gradient[0].abs().sum(0)
            shown = np.ma.masked_equal(strength.numpy(), 0.0)
            image = ax.imshow(shown / shown.max(), norm=LogNorm(1e-3, 1.0), interpolation="none")
            ax.set_title(title)
            bare(ax)
            counts.append(f"{title}: {int((strength > 0).sum())} of {size * size}")
        figure.colorbar(image, ax=list(axes), label="|∂y / ∂x|, largest = 1", shrink=0.85)
    return picture(figure, f"How many pixels of x one pixel of y depends on. {'; '.join(counts)}")
