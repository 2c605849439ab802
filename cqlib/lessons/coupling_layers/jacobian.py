"""Lesson 04, the Jacobian of coupling layers: a triangle, whose determinant is prod s(x1).

dy/dx = [[I, 0], [dy2/dx1, diag(s(x1))]],   ln |det dy/dx| = sum ln s(x1)
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from torch import nn

from cqlib.lessons.coupling_layers.jacobians import jacobian, log_abs_det, partition_order
from cqlib.lessons.coupling_layers.steps import SMALL, flow, small_image
from cqlib.nets.coupling import RealNVP
from cqlib.report import plots
from cqlib.report.cells import difference, heat, number, picture, table


def triangle() -> HTML:
    """The Jacobian of one coupling on 16 pixels: in the order of pixels, and with x1 before x2."""
    f, x = flow(1), small_image()
    matrix = jacobian(lambda v: f(v)[0], x[0])
    order = partition_order(SMALL)
    limit = float(matrix.abs().max())
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(7.6, 3.7)
        left, right = figure.subplots(1, 2)
        heat(left, matrix, limit=limit, title="pixel by pixel")
        image = heat(right, matrix[order][:, order], limit=limit, title="x₁ first, then x₂")
        _pixels(left)
        _halves(right)
        figure.colorbar(image, ax=[left, right], label="∂y / ∂x; empty: exactly 0", shrink=0.8)
    alt = (
        "The Jacobian of a coupling, 16 by 16. Pixel by pixel, rows with a single 1 alternate with full rows. With the "
        "kept pixels first, an identity in the upper left, zeros in the upper right, a full block in the lower left, "
        "and a diagonal of scales in the lower right"
    )
    return picture(figure, alt)


def _pixels(ax: Axes) -> None:
    ticks = range(0, 16, 5)
    ax.set_xticks(ticks, [i + 1 for i in ticks])
    ax.set_yticks(ticks, [i + 1 for i in ticks])
    ax.set_xlabel("pixel of x")
    ax.set_ylabel("pixel of y")


def _halves(ax: Axes) -> None:
    ax.axhline(7.5, color=plots.FAINT, linewidth=0.8)
    ax.axvline(7.5, color=plots.FAINT, linewidth=0.8)
    ax.set_xticks([3.5, 11.5], ["x₁", "x₂"])
    ax.set_yticks([3.5, 11.5], ["y₁", "y₂"])
    ax.tick_params(length=0)


def composed() -> HTML:
    """The Jacobians of 1, 2 and 3 alternating couplings on 16 pixels, x1 before x2."""
    x, order = small_image(), partition_order(SMALL)
    whole = flow(3)
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 3.1)
        axes = figure.subplots(1, 3)
        found = [jacobian(lambda v, f=f: f(v)[0], x[0])[order][:, order] for f in first_couplings(whole)]
        limit = max(float(matrix.abs().max()) for matrix in found)
        for k, (ax, matrix) in enumerate(zip(axes, found, strict=True), start=1):
            image = heat(ax, matrix, limit=limit, title=f"{k} coupling{'s' if k > 1 else ''}")
            _halves(ax)
        figure.colorbar(image, ax=list(axes), label="∂y / ∂x", shrink=0.8)
    alt = "Jacobians after one, two and three couplings: the empty block of the first is filled by the second"
    return picture(figure, alt)


def first_couplings(whole: RealNVP) -> list[RealNVP]:
    """f made of the first coupling of `whole`, of the first two, …, of one scale each."""
    found = []
    for k in range(1, len(whole.couplings) + 1):
        part = flow(0)
        part.couplings = nn.ModuleList(whole.couplings[:k])
        found.append(part)
    return found


def determinants(cases: Sequence[tuple[int, tuple[int, int, int], int]]) -> HTML:
    """ln |det| of autograd's Jacobian against the sum of ln s: (couplings, (C, H, W), scales) each."""
    lines = []
    for couplings, shape, scales in cases:
        f = flow(couplings, shape[0], scales=scales)
        x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
        with torch.no_grad():
            cheap = float(f(x)[1])
        dear = log_abs_det(jacobian(lambda v, f=f: f(v)[0], x[0]))
        words = f"{couplings} per scale, {scales} scales" if scales > 1 else f"{couplings}"
        size = f"{x.numel()} × {x.numel()}"
        lines.append([words, size, number(dear, 6), number(cheap, 6), difference(dear - cheap)])
    head = ["Couplings", "Jacobian", "ln |det| by elimination", "Σ ln s", "difference"]
    return table("Two ways to the same determinant", head, lines)


def influence(size: int = 16) -> HTML:
    """Which pixels of x one pixel of y depends on: |dy/dx| summed over colours, after 1, 2 and 3 couplings and with two
    scales. The nets have no residual blocks, so that a 3x3 convolution of packed pixels is all that they see."""
    x = torch.rand(3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    cases = {f"{k} coupling{'s' if k > 1 else ''}": flow(k, 3, blocks=0) for k in (1, 2, 3)}
    cases["2 scales"] = flow(3, 3, blocks=0, scales=2)
    place = (size // 2, size // 2 + 1)  # changed by the first coupling
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 2.4)
        axes, words = figure.subplots(1, len(cases)), []
        for ax, (title, f) in zip(axes, cases.items(), strict=True):
            v = x[None].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(f(v)[0][0, 0, place[0], place[1]], v)
            found = gradient[0].abs().sum(0)
            shown = np.ma.masked_equal(found.numpy(), 0.0)
            image = ax.imshow(shown / shown.max(), norm=LogNorm(1e-3, 1.0), interpolation="none")
            ax.set_title(title)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(False)
            words.append(f"{title}: {int((found > 0).sum())} of {size * size}")
        figure.colorbar(image, ax=list(axes), label="|∂y / ∂x|, largest = 1", shrink=0.85)
    return picture(figure, f"How many pixels of x one pixel of y depends on. {'; '.join(words)}")
