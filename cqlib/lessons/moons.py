"""Lesson 04: a flow in the plane that turns two moons, whose density is known exactly, into a Gaussian, and back."""

import math
from typing import Any

import torch
from IPython.display import HTML
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cqlib.lessons import toy2d
from cqlib.lessons.coverage_and_quality.distances import Lattice
from cqlib.lessons.coverage_and_quality.pictures import density_board
from cqlib.nets.coupling import apply_couplings
from cqlib.report import plots
from cqlib.report.cells import panels, picture, subplots

DATA = toy2d.density("two-moons")
Flow = Any
"""The notebook's flow y = f(x) of points (N, 2). It has `couplings`, which change the second coordinate, the first, the
second, …, and methods `log_prob` and `inverse`."""


def mass(flow: Flow) -> float:
    """The integral of the flow's density p_X over the square of `Lattice`: near 1 if nearly all its mass lies there."""
    lattice = Lattice(DATA)
    return lattice.integral(lattice.log_density(flow.log_prob).exp())


@torch.no_grad()
def log_ratios(flow: Flow, n: int = 20_000) -> Tensor:
    """ln p_data - ln p_X (n,) at fresh points of the data: their mean estimates KL(data || model) in nats."""
    points = DATA.sample(n, torch.Generator().manual_seed(99))
    return DATA.log_prob(points) - flow.log_prob(points)


def densities(flow: Flow) -> HTML:
    """The exact density of the moons beside the model's."""
    lattice = Lattice(DATA)
    columns = {"data, exact": lattice.log_p, "model p_X(x)": lattice.log_density(flow.log_prob)}
    alt = "The density of two moons, and that of the flow, which has a bridge between them and threads beyond"
    return density_board(lattice, [("", columns)], 6.6, 3.0, alt)


def learning_curve(curve: list[tuple[int, float]]) -> HTML:
    """The loss over training, and the entropy of the data, below which its expectation cannot fall."""
    steps, values = zip(*curve, strict=True)
    entropy = -float(DATA.log_prob(DATA.sample(20_000, torch.Generator().manual_seed(98))).mean())
    lines = {"loss": (steps, values, plots.SERIES[0], "", "-"),
             "entropy of the data": (steps, [entropy] * len(steps), plots.INK, "", "--")}  # fmt: skip
    figure = panels({"": lines}, xlabel="training step", ylabel="−ln p_X(x), nats per point", width=4.3)
    alt = f"The loss falls from {values[0]:.2f} to {values[-1]:.2f} nats; the entropy is {entropy:.2f}"
    return picture(figure, alt)


def inverse_steps(flow: Flow, y: Tensor) -> list[Tensor]:
    """y (N, 2), then the points after the inverse of the last coupling, of the last but one, …; the last ones are x."""
    x = flow.inverse(y)
    first = [apply_couplings(flow.couplings[:k], x.chunk(2, dim=1))[0] for k in range(len(flow.couplings), 0, -1)]
    return [*(torch.cat(groups, dim=1) for groups in first), x]


@torch.no_grad()
def inverse_board(flow: Flow) -> HTML:
    """Draws y of the Gaussian and a square grid, and both after the inverse of each coupling: the last panel is x. Each
    panel holds the whole grid and nearly all points; y and x have one scale on both axes."""
    y = torch.randn(1200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = torch.meshgrid(torch.linspace(-2.4, 2.4, 9), torch.linspace(-2.4, 2.4, 150), indexing="ij")
    lines = torch.cat([torch.stack([b, a], -1), torch.stack([a, b], -1)]).double()  # 9 across, then 9 upwards
    points, grids = inverse_steps(flow, y), inverse_steps(flow, lines.view(-1, 2))
    last, columns = len(points) - 1, math.ceil(len(points) / 2)
    with subplots(2.15 * columns, 4.6, 2, columns) as (figure, axes):
        for k, (ax, some, grid) in enumerate(zip(axes.flat, points, grids, strict=False)):
            for half, colour in zip(grid.view(lines.shape).chunk(2), plots.SERIES, strict=False):
                ax.add_collection(LineCollection(list(half.numpy()), colors=colour, linewidths=0.6))
            ax.scatter(*some.T, s=1.5, color=plots.INK, linewidth=0, alpha=0.6)
            (left, bottom), (right, top) = _corners(some, grid)
            title = {0: "y, Gaussian", last: "x, the moons"}.get(k, f"coupling {len(points) - k} undone")
            aspect = "equal" if k in (0, last) else "auto"  # in between one axis can be many times as long as the other
            ax.set(title=title, xlim=(left, right), ylim=(bottom, top), aspect=aspect)
            ax.xaxis.set_major_locator(MaxNLocator(3))
            ax.yaxis.set_major_locator(MaxNLocator(3))
            ax.grid(False)
        for ax in axes.flat[len(points) :]:
            ax.set_axis_off()
    alt = "A square grid under Gaussian points, bent and stretched coupling by coupling until the points are two moons"
    return picture(figure, alt)


def _corners(points: Tensor, grid: Tensor) -> tuple[list[float], list[float]]:
    """The lower left and the upper right corner of a panel that holds the whole grid (M, 2) and 99 % of the points
    (N, 2) along either axis, with some room."""
    ends = points.quantile(torch.tensor([0.005, 0.995], dtype=points.dtype), 0)
    low, high = torch.minimum(ends[0], grid.amin(0)), torch.maximum(ends[1], grid.amax(0))
    room = 0.05 * (high - low)
    return (low - room).tolist(), (high + room).tolist()
