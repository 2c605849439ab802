"""Lesson 04, pictures of a flow in the plane that turns two moons into a Gaussian, and back.

The density of the moons is known exactly (`cqlib.data.toy2d`), so the Kullback-Leibler divergence is a number.
"""

import math
from typing import Any

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from cqlib.data import toy2d
from cqlib.nets.coupling import alternate
from cqlib.report import plots
from cqlib.report.cells import picture, subplots

DATA = toy2d.density("two-moons")
SIDE, SHOWN = 1.5, 1.1
"""Quadrature is on [-SIDE, SIDE)^2, pictures show [-SHOWN, SHOWN)^2."""


Flow = Any
"""The notebook's flow of the plane: `couplings` that change the second coordinate, the first, …, `log_prob`, and
`inverse`."""


@torch.no_grad()
def density_on_grid(density: Flow, side: float, n: int) -> Tensor:
    """The density at the midpoints of n x n cells of [-side, side)^2, float64 (n, n), a row per second coordinate."""
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 * side / n - side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return density.log_prob(torch.stack([x, y], -1).view(-1, 2)).exp().view(n, n)


def mass(flow: Flow, side: float = SIDE, n: int = 300) -> float:
    """The integral of p_X over [-side, side)^2 by the midpoint rule."""
    return float(density_on_grid(flow, side, n).mean()) * (2 * side) ** 2


@torch.no_grad()
def log_ratios(flow: Flow, n: int = 20_000) -> Tensor:
    """ln p_data - ln p_X (n,) at fresh points of the data: their mean estimates KL(data || model) in nats."""
    points = DATA.sample(n, torch.Generator().manual_seed(99))
    return DATA.log_prob(points) - flow.log_prob(points)


# --- pictures and tables -------------------------------------------------------------------------------------


@torch.no_grad()
def densities(flow: Flow) -> HTML:
    """The exact density of the moons, the model's, and draws of the model."""
    exact, model = (density_on_grid(density, SHOWN, 200) for density in (DATA, flow))
    y = torch.randn(1500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    look = {"extent": (-SHOWN, SHOWN, -SHOWN, SHOWN), "vmin": 0, "vmax": float(exact.max()), "interpolation": "none"}
    with subplots(8.6, 3.0, 1, 3) as (figure, axes):
        for ax, values in zip(axes, (exact, model), strict=False):
            image = ax.imshow(values, origin="lower", **look)
        axes[2].scatter(*flow.inverse(y).T, s=2, color=plots.SERIES[0], linewidth=0)
        for ax, title in zip(axes, ("data, exact", "model p_X(x)", "draws of the model"), strict=True):
            ax.set_title(title)
            _frame(ax, SHOWN)
        figure.colorbar(image, ax=list(axes), label="density", shrink=0.8)
    alt = "The density of two moons, that of the flow, which has a thin bridge between them, and draws"
    return picture(figure, alt)


def inverse_steps(flow: Flow, y: Tensor) -> list[Tensor]:
    """y (N, 2), then the points after the inverse of the last coupling, of the last but one, …; the last ones are x."""
    x = flow.inverse(y)
    first = [alternate(flow.couplings[:k], x.chunk(2, dim=1))[0] for k in range(len(flow.couplings), 0, -1)]
    return [*(torch.cat(groups, dim=1) for groups in first), x]


@torch.no_grad()
def inverse_board(flow: Flow) -> HTML:
    """Draws y of the Gaussian and a square grid, and both after the inverse of each coupling: the last panel is x."""
    y = torch.randn(1200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lines = _grid_lines()
    points, grids = inverse_steps(flow, y), inverse_steps(flow, lines.view(-1, 2))
    last, columns = len(points) - 1, math.ceil(len(points) / 2)
    with subplots(2.15 * columns, 4.6, 2, columns) as (figure, axes):
        for k, (ax, some, grid) in enumerate(zip(axes.flat, points, grids, strict=False)):
            for half, colour in zip(grid.view(lines.shape).chunk(2), plots.SERIES, strict=False):
                ax.add_collection(LineCollection(list(half.numpy()), colors=colour, linewidths=0.6))
            ax.scatter(*some.T, s=1.5, color=plots.INK, linewidth=0, alpha=0.6)
            title = {0: "y, Gaussian", last: "x, the moons"}.get(k, f"coupling {len(points) - k} undone")
            ax.set_title(title)
            _frame(ax, SHOWN if k == last else 1.15 * float(some.abs().quantile(0.995)))
        for ax in axes.flat[len(points) :]:
            ax.set_axis_off()
    alt = "A square grid under Gaussian points, bent and stretched coupling by coupling until the points are two moons"
    return picture(figure, alt)


def _grid_lines(n: int = 9, reach: float = 2.4, points: int = 150) -> Tensor:
    """(2 n, points, 2): n lines along the first coordinate, then n along the second."""
    along, across = torch.linspace(-reach, reach, points).double(), torch.linspace(-reach, reach, n).double()
    a, b = torch.meshgrid(across, along, indexing="ij")
    return torch.cat([torch.stack([b, a], -1), torch.stack([a, b], -1)])


def _frame(ax: Axes, side: float) -> None:
    ax.set(xlim=(-side, side), ylim=(-side, side), aspect="equal")
    ax.grid(False)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.yaxis.set_major_locator(MaxNLocator(3))


def learning_curve(curve: list[tuple[int, float]]) -> HTML:
    """The loss over training, and the entropy of the data, below which its expectation cannot fall."""
    steps, values = np.asarray(curve).T
    entropy = -float(DATA.log_prob(DATA.sample(20_000, torch.Generator().manual_seed(98))).mean())
    where = {"xytext": (0, -3), "textcoords": "offset points", "ha": "right", "va": "top"}
    with subplots(4.7, 2.8) as (figure, ax):
        ax.plot(steps, values, color=plots.SERIES[0])
        ax.axhline(entropy, linestyle="--", color=plots.INK)
        ax.annotate("entropy of the data", (steps[-1], entropy), **where)
        ax.set_ylim(bottom=entropy - 0.4)
        ax.set(xlabel="training step", ylabel="−ln p_X(x), nats per point")
    alt = f"The loss falls from {values[0]:.2f} to {values[-1]:.2f} nats; the entropy is {entropy:.2f}"
    return picture(figure, alt)
