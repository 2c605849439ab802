"""Lesson 04, a flow in the plane: coupling layers that turn two moons into a Gaussian, and back.

    p_X(x) = N(f(x); 0, I) |det df/dx|

Each coordinate is a group, so couplings alternate between "shift and stretch y by a function of x" and the reverse.
The density of the moons is known exactly (`cqlib.data.toy2d`), so the Kullback-Leibler divergence is a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor, nn

from cqlib import losses
from cqlib.data import toy2d
from cqlib.nets.coupling import MAX_LOG_SCALE, Coupling, alternate
from cqlib.report import plots
from cqlib.report.cells import difference, number, picture, table

DATA = toy2d.density("two-moons")
SIDE, SHOWN = 1.5, 1.1
"""Quadrature is on [-SIDE, SIDE)^2, pictures show [-SHOWN, SHOWN)^2."""


class VectorNet(nn.Module):
    """t and ln s of one coordinate as functions of the other, (N, 1) -> two of (N, 1): an MLP with smooth SiLU, its
    log-scale bounded as that of `coupling.CouplingNet`, to 0 where it has no `scales`; s = 1 and t = 0 at the start."""

    def __init__(self, width: int, scales: bool = True):
        super().__init__()
        self.scales = scales
        self.body = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        t, r = self.out(self.body(x)).chunk(2, dim=1)
        return t, MAX_LOG_SCALE * torch.tanh(r / MAX_LOG_SCALE) if self.scales else torch.zeros_like(r)


class VectorCoupling(Coupling):
    """The package's coupling, between two coordinates (N, 1)."""

    def __init__(self, width: int, scales: bool = True):
        nn.Module.__init__(self)
        self.net = VectorNet(width, scales)


class PlaneFlow(nn.Module):
    """f of the plane: `couplings` of them, the second coordinate changed first."""

    def __init__(self, couplings: int = 6, width: int = 64, scales: bool = True):
        super().__init__()
        self.couplings = nn.ModuleList(VectorCoupling(width, scales) for _ in range(couplings))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = f(x) (N, 2), and ln |det df/dx| (N,)."""
        groups, log_det = alternate(self.couplings, x.chunk(2, dim=1))
        return torch.cat(groups, dim=1), log_det

    def steps_back(self, y: Tensor) -> Iterator[Tensor]:
        """y, then the points after the last coupling is undone, after the last but one, …; the last ones are x."""
        groups = list(y.chunk(2, dim=1))
        yield y
        for k, coupling in reversed(list(enumerate(self.couplings))):
            kept, changed = k % 2, 1 - k % 2
            groups[changed] = coupling.inverse(groups[kept], groups[changed])
            yield torch.cat(groups, dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """x = f^-1(y)."""
        return list(self.steps_back(y))[-1]

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p_X(x) of points (N, 2); -> (N,)."""
        y, log_det = self(x)
        zero = y.new_zeros(())
        return losses.decoder_log_density(y, log_det, zero, zero)


@dataclass(frozen=True)
class Trained:
    """A flow, and the loss -E[ln p_X(x)] at some of its steps."""

    flow: PlaneFlow
    curve: list[tuple[int, float]]


def train(steps: int, *, couplings: int = 6, scales: bool = True, seed: int = 0) -> Trained:
    """Maximum likelihood on fresh batches of 256 points, by Adam with a one-cycle learning rate."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = PlaneFlow(couplings, scales=scales)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    curve = []
    for step in range(steps):
        loss = -flow.log_prob(DATA.sample(256, generator).float()).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            curve.append((step, float(loss.detach())))
    return Trained(flow.double().eval(), curve)


@torch.no_grad()
def on_grid(density: PlaneFlow | toy2d.Density, side: float, n: int) -> Tensor:
    """The density at the midpoints of n x n cells of [-side, side)^2, float64 (n, n), a row per second coordinate."""
    axis = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 * side / n - side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return density.log_prob(torch.stack([x, y], -1).view(-1, 2)).exp().view(n, n)


def mass(flow: PlaneFlow, side: float = SIDE, n: int = 300) -> float:
    """The integral of p_X over [-side, side)^2 by the midpoint rule."""
    return float(on_grid(flow, side, n).mean()) * (2 * side) ** 2


@torch.no_grad()
def kl(flow: PlaneFlow, n: int = 20_000) -> tuple[float, float]:
    """KL(data || model) in nats by the mean of ln p_data - ln p_X over n fresh points, and its standard error."""
    points = DATA.sample(n, torch.Generator().manual_seed(99))
    gaps = DATA.log_prob(points) - flow.log_prob(points)
    return float(gaps.mean()), float(gaps.std() / math.sqrt(n))


# --- to see --------------------------------------------------------------------------------------------------


@torch.no_grad()
def checks(trained: Trained) -> HTML:
    """The divergence before and after training, the mass by quadrature, and the round trip of data points."""
    lines = []
    for name, flow in (("before", PlaneFlow(len(trained.flow.couplings)).double()), ("after training", trained.flow)):
        x = DATA.sample(2000, torch.Generator().manual_seed(5))
        back = float((flow.inverse(flow(x)[0]) - x).abs().max())
        divergence, error = kl(flow)
        lines.append([name, f"{number(divergence, 3)} ± {error:.3f}", number(mass(flow), 4), difference(back)])
    head = ["Flow", "KL(data ‖ model), nats", f"mass in [−{SIDE}, {SIDE}]²", "f⁻¹(f(x)) − x"]
    return table("Two moons", head, lines)


@torch.no_grad()
def densities(trained: Trained) -> HTML:
    """The exact density of the moons, the model's, and draws of the model."""
    exact, model = (on_grid(density, SHOWN, 200) for density in (DATA, trained.flow))
    top = float(exact.max())
    drawn = trained.flow.inverse(torch.randn(1500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.6, 3.0)
        axes = figure.subplots(1, 3)
        for ax, values, title in zip(axes, (exact, model), ("data, exact", "model p_X(x)"), strict=False):
            extent = (-SHOWN, SHOWN, -SHOWN, SHOWN)
            image = ax.imshow(values, origin="lower", extent=extent, vmin=0, vmax=top, interpolation="none")
            ax.set_title(title)
        axes[2].scatter(*drawn.T, s=2, color=plots.SERIES[0], linewidth=0)
        axes[2].set_title("draws of the model")
        for ax in axes:
            _frame(ax, SHOWN)
        figure.colorbar(image, ax=list(axes), label="density", shrink=0.8)
    return picture(
        figure, "The density of two moons, that of the flow, which has a thin bridge between them, and draws"
    )


@torch.no_grad()
def journey(trained: Trained) -> HTML:
    """Draws y of the Gaussian and a square grid, and both after each coupling is undone: the last panel is x."""
    y = torch.randn(1200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lines = _grid_lines()
    flow = trained.flow
    points, warped = list(flow.steps_back(y)), list(flow.steps_back(lines.view(-1, 2)))
    columns = math.ceil(len(points) / 2)
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(2.15 * columns, 4.6)
        axes = figure.subplots(2, columns).ravel()
        for k, (ax, some, wires) in enumerate(zip(axes, points, warped, strict=False)):
            wires = wires.view(lines.shape).numpy()
            half = len(wires) // 2
            for part, colour in ((wires[:half], plots.SERIES[0]), (wires[half:], plots.SERIES[1])):
                ax.add_collection(LineCollection(list(part), colors=colour, linewidths=0.6))
            ax.scatter(*some.T, s=1.5, color=plots.INK, linewidth=0, alpha=0.6)
            last = k == len(points) - 1
            ax.set_title("y, Gaussian" if k == 0 else "x, the moons" if last else f"coupling {len(points) - k} undone")
            _frame(ax, SHOWN if last else 1.15 * float(some.abs().quantile(0.995)))
        for ax in axes[len(points) :]:
            ax.set_axis_off()
    alt = "A square grid under Gaussian points, bent and stretched coupling by coupling until the points are two moons"
    return picture(figure, alt)


def _grid_lines(n: int = 9, reach: float = 2.4, points: int = 150) -> Tensor:
    """(2 n, points, 2): n lines along the first coordinate, then n along the second."""
    along, across = torch.linspace(-reach, reach, points).double(), torch.linspace(-reach, reach, n).double()
    a, b = torch.meshgrid(across, along, indexing="ij")
    return torch.cat([torch.stack([b, a], -1), torch.stack([a, b], -1)])


def _frame(ax: Axes, side: float) -> None:
    ax.set_xlim(-side, side)
    ax.set_ylim(-side, side)
    ax.set_aspect("equal")
    ax.grid(False)
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
    ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))


def learning(trained: Trained) -> HTML:
    """The loss over training, and the entropy of the data, below which its expectation cannot fall."""
    steps, values = np.asarray(trained.curve).T
    sample = DATA.sample(20_000, torch.Generator().manual_seed(98))
    entropy = -float(DATA.log_prob(sample).mean())
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(4.7, 2.8)
        ax = figure.subplots()
        ax.plot(steps, values, color=plots.SERIES[0])
        ax.axhline(entropy, linestyle="--", color=plots.INK)
        ax.annotate(
            "entropy of the data", (steps[-1], entropy), (0, -3), textcoords="offset points", ha="right", va="top"
        )
        ax.set_ylim(bottom=entropy - 0.4)
        ax.set_xlabel("training step")
        ax.set_ylabel("−ln p_X(x), nats per point")
    return picture(
        figure, f"The loss falls from {values[0]:.2f} to {values[-1]:.2f} nats; the entropy is {entropy:.2f}"
    )
