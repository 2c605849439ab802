"""Lesson 04, the steps of a coupling layer: partition the variables, keep one group, let it transform the other.

The couplings are the package's own (`cqlib.nets.coupling`), with random weights: nothing here depends on training.
"""

from typing import cast

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from cqlib.nets.coupling import (
    Coupling,
    CouplingNet,
    FlowConfig,
    RealNVP,
    join_channels,
    join_checkerboard,
    split_checkerboard,
)
from cqlib.pixels import to_signed, to_uint8
from cqlib.report import plots
from cqlib.report.cells import picture, stretched, subplots

KEPT, CHANGED = plots.SERIES[0], plots.SERIES[1]
SMALL = (1, 4, 4)
"""The image of the small pictures: 16 grey pixels."""


@torch.no_grad()
def random_flow(couplings: int, channels: int = 1, *, width: int = 16, blocks: int = 1, scales: int = 1) -> RealNVP:
    """f with random weights from a fixed seed, away from its initialisation (s = 1, t near 0): |ln s| and |t| of about
    1, as after training. In fp64 and in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = RealNVP(channels, FlowConfig(couplings, width, blocks, scales))
    generator = torch.Generator().manual_seed(0)
    for net in flow.modules():
        if isinstance(net, CouplingNet):
            for p in net.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
            net.scale.fill_(1.0)
            net.get_parameter("out.parametrizations.weight.original0").fill_(1.0)
    return flow.double().eval()


def small_image() -> Tensor:
    """The 16 grey values of the first pictures, fp64 (1, 1, 4, 4), in [-1, 1)."""
    return torch.rand(1, *SMALL, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1


# --- partition ---------------------------------------------------------------------------------------------


def masks() -> HTML:
    """The three ways to partition 16 pixels: a checkerboard, its complement, and channels of a squeezed image."""
    numbers = torch.arange(1, 17).double().view(1, 1, 4, 4)
    zero, one = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    with subplots(8.6, 2.5, 1, 4) as (figure, (first, second, third, fourth)):
        _cells(first, numbers[0, 0], join_checkerboard(zero, one)[0, 0], "checkerboard, 1st layer")
        _cells(second, numbers[0, 0], join_checkerboard(one, zero)[0, 0], "checkerboard, 2nd layer")
        for channel, values in enumerate(pixel_unshuffle(numbers, 2)[0]):
            corner = (2.6 * (channel % 2), 2.6 * (channel // 2))
            _cells(third, values, torch.full((2, 2), float(channel > 1)), "squeezed: 4 channels", corner)
        _cells(fourth, numbers[0, 0], join_channels(zero, one)[0, 0], "channels, in the image")
        for colour, label in ((KEPT, "x₁, kept"), (CHANGED, "x₂, changed")):
            first.plot([], [], "s", color=colour, label=label)
        figure.legend(loc="outside lower left", ncols=2, frameon=False)
    alt = (
        "Sixteen numbered pixels. Checkerboard: every second pixel is kept, the others are changed; in the next layer "
        "the other way round. Squeezed: the four pixels of each 2 by 2 cell go to four channels, two of which are kept"
    )
    return picture(figure, alt)


def _cells(ax: Axes, numbers: Tensor, changed: Tensor, title: str, corner: tuple[float, float] = (0, 0)) -> None:
    """Squares with their numbers, coloured by whether they are changed (1) or kept (0)."""
    for (i, j), value in np.ndenumerate(numbers.numpy()):
        x, y = corner[0] + j, corner[1] + i
        ax.add_patch(Rectangle((x, y), 0.94, 0.94, color=CHANGED if changed[i, j] else KEPT, linewidth=0))
        ax.text(x + 0.47, y + 0.5, f"{value:.0f}", color=plots.PAPER, ha="center", va="center", weight="bold")
    size = max(4, *(c + len(numbers) for c in corner), ax.get_xlim()[1] if corner != (0, 0) else 0)
    ax.set(title=title, aspect="equal", xlim=(0, size), ylim=(size, 0))
    ax.set_axis_off()


# --- keep and transform ------------------------------------------------------------------------------------


@torch.no_grad()
def transform_board(images: Tensor, n: int = 9) -> HTML:
    """n images uint8 (N, 3, S, S): what a coupling keeps of them, t and s of the other half, and y."""
    x = to_signed(images[:n]).double()
    coupling = cast(Coupling, random_flow(1, x.shape[1]).couplings[0])
    x1, x2 = split_checkerboard(x)
    t, log_s = coupling.net(x1)
    y2, _ = coupling(x1, x2)
    grey = torch.zeros_like(x1)
    board = {
        "x": to_uint8(x),
        "x₁, kept": to_uint8(join_checkerboard(x1, grey)),
        "t(x₁)": stretched(join_checkerboard(grey, t), 1.5),
        "ln s(x₁)": stretched(join_checkerboard(grey, log_s), 1.5),
        "y": to_uint8(join_checkerboard(x1, y2)),
    }
    alt = (
        "Images, their kept pixels, shift and log-scale of the other pixels, and y, in which every second pixel changed"
    )
    return picture(plots.sample_board({"": board}, columns=round(n**0.5)), alt)
