"""Lesson 04: the steps of a coupling layer, its Jacobian entry by entry, and why its scales are bounded.

The couplings are the package's own (`cqlib.nets.coupling`), with random weights: nothing here depends on training.
One coupling is y1 = x1, y2 = t(x1) + s(x1) x2, with dy/dx = [[I, 0], [dy2/dx1, diag(s(x1))]] and
ln |det dy/dx| = sum ln s(x1).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.functional import pad, pixel_unshuffle

from cqlib.nets import coupling
from cqlib.nets.coupling import MAX_LOG_SCALE, join_checkerboard
from cqlib.pixels import cell_centres, to_uint8
from cqlib.report import plots
from cqlib.report.cells import SIGNED, bare, legend, picture, stretched, subplots
from cqlib.util.text import count_of

KEPT, CHANGED = plots.SERIES[0], plots.SERIES[1]
SMALL = (1, 4, 4)
"""The image of the small pictures: 16 grey pixels."""


@torch.no_grad()
def random_flow(couplings: int, channels: int = 1, *, blocks: int = 1, scales: int = 1) -> coupling.RealNVP:
    """f with random weights from a fixed seed, in fp64 and evaluation mode. Unlike at initialisation (s = 1, t near 0),
    |ln s| and |t| are about 1, as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = coupling.RealNVP(channels, coupling.FlowConfig(couplings, 16, blocks, scales))
    generator = torch.Generator().manual_seed(0)
    for net in flow.modules():
        if isinstance(net, coupling.CouplingNet):
            for p in net.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
            net.scale.fill_(1.0)
            net.get_parameter("out.parametrizations.weight.original0").fill_(1.0)
    return flow.double().eval()


def random_image(shape: tuple[int, int, int] = SMALL, seed: int = 3) -> Tensor:
    """One image of uniform values, fp64 (1, C, H, W), in [-1, 1)."""
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def masks() -> HTML:
    """The three ways to partition 16 pixels: a checkerboard, its complement, and channels of a squeezed image."""
    numbers = torch.arange(1, 17).double().view(1, 1, 4, 4)
    zero, one = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    apart = pad(pixel_unshuffle(numbers, 2)[0], (0, 1, 0, 1), value=math.nan).view(2, 2, 3, 3).transpose(1, 2)
    panels = {
        "checkerboard, 1st layer": (numbers[0, 0], join_checkerboard(zero, one)[0, 0]),
        "checkerboard, 2nd layer": (numbers[0, 0], join_checkerboard(one, zero)[0, 0]),
        "squeezed: 4 channels": (apart.reshape(6, 6)[:5, :5], (torch.arange(5) > 2)[:, None].expand(5, 5)),
        "channels, in the image": (numbers[0, 0], coupling.join_channels(zero, one)[0, 0]),
    }
    with subplots(8.6, 2.5, 1, len(panels)) as (figure, axes):
        for ax, (title, (cells, changed)) in zip(axes, panels.items(), strict=True):
            for i, j in cells.isfinite().nonzero().tolist():
                colour = CHANGED if changed[i, j] else KEPT
                ax.add_patch(Rectangle((j, i), 0.94, 0.94, color=colour, linewidth=0))
                text = {"color": plots.PAPER, "ha": "center", "va": "center", "weight": "bold"}
                ax.text(j + 0.47, i + 0.5, f"{cells[i, j]:.0f}", **text)
            ax.set(title=title, aspect="equal", xlim=(0, len(cells)), ylim=(len(cells), 0))
            ax.set_axis_off()
        for colour, label in ((KEPT, "x₁, kept"), (CHANGED, "x₂, changed")):
            axes[0].plot([], [], "s", color=colour, label=label)
        figure.legend(loc="outside lower left", ncols=2, frameon=False)
    alt = "Sixteen numbered pixels. Checkerboard: every second pixel is kept; in the next layer the others. Squeezed: "
    alt += "the four pixels of each 2 by 2 cell go to four channels, two of which are kept"
    return picture(figure, alt)


@torch.no_grad()
def transform_board(images: Tensor) -> HTML:
    """The first nine of the images, uint8 (N, 3, S, S): x, the pixels that a coupling keeps, t and ln s for the others,
    and y."""
    x = cell_centres(images[:9]).double()
    layer: Any = random_flow(1, channels=3).couplings[0]
    x1, x2 = coupling.split_checkerboard(x)
    t, log_s = layer.net(x1)
    grey = torch.zeros_like(x1)
    board = {
        "x": to_uint8(x),
        "x₁, kept": to_uint8(join_checkerboard(x1, grey)),
        "t(x₁)": stretched(join_checkerboard(grey, t), 1.5),
        "ln s(x₁)": stretched(join_checkerboard(grey, log_s), 1.5),
        "y": to_uint8(join_checkerboard(x1, layer(x1, x2)[0])),
    }
    alt = "Images, their kept pixels, shift and log-scale of the others, and y, in which every second pixel changed"
    return picture(plots.sample_board({"": board}, columns=3), alt)


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The Jacobian (D, D) of y = f(x) at one x (C, H, W), entries dy_i / dx_j of flat y and x; f takes and returns
    batches."""
    rows = torch.func.jacrev(lambda v: f(v[None]).flatten(), chunk_size=64)(x.detach())
    return rows.flatten(1).detach()


def log_abs_det(matrix: Tensor) -> float:
    """ln |det| by an LU decomposition in fp64."""
    return float(torch.linalg.slogdet(matrix.double())[1])


def in_order(matrix: Tensor) -> Tensor:
    """A Jacobian (16, 16) of `SMALL` images with rows and columns reordered: x1 (pixels of even row + column) first."""
    index = torch.arange(16).view(1, *SMALL)
    order = torch.cat([group.flatten() for group in coupling.split_checkerboard(index)])
    return matrix[order][:, order]


def triangle() -> HTML:
    """The Jacobian of one coupling on 16 pixels: in the order of pixels, and with x1 before x2."""
    matrix = _of_couplings(1)
    alt = (
        "The Jacobian of a coupling, 16 by 16. Pixel by pixel, rows with a single 1 alternate with full rows. With the "
        "kept pixels first, an identity in the upper left, zeros in the upper right, a full block in the lower left, "
        "and a diagonal of scales in the lower right"
    )
    return _matrices({"pixel by pixel": matrix, "x₁ first, then x₂": in_order(matrix)}, alt)


def composition() -> HTML:
    """The Jacobians of 1, 2 and 3 alternating couplings on 16 pixels, x1 before x2."""
    matrices = {count_of(k, "coupling"): in_order(_of_couplings(k)) for k in (1, 2, 3)}  # each begins with the former
    alt = "Jacobians after one, two and three couplings: the empty block of the first is filled by the second"
    return _matrices(matrices, alt)


def _of_couplings(k: int) -> Tensor:
    f = random_flow(k)
    return jacobian(lambda v: f(v)[0], random_image()[0])


def _matrices(matrices: Mapping[str, Tensor], alt: str) -> HTML:
    """Jacobians (16, 16) side by side, in one scale of colours."""
    limit = max(float(matrix.abs().max()) for matrix in matrices.values())
    with subplots(2.7 * len(matrices) + 0.7, 3.1, 1, len(matrices)) as (figure, axes):
        for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
            shown = np.ma.masked_equal(matrix.double().numpy(), 0.0)
            image = ax.imshow(shown, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="none")
            ax.set_title(title)
            ax.grid(False)
            if title == "pixel by pixel":
                ax.set(xlabel="pixel of x", ylabel="pixel of y", xticks=range(0, 16, 5), yticks=range(0, 16, 5))
                ax.set(xticklabels=range(1, 17, 5), yticklabels=range(1, 17, 5))
            else:
                ax.axhline(7.5, color=plots.FAINT, linewidth=0.8)
                ax.axvline(7.5, color=plots.FAINT, linewidth=0.8)
                ax.set(xticks=(3.5, 11.5), yticks=(3.5, 11.5), xticklabels=("x₁", "x₂"), yticklabels=("y₁", "y₂"))
                ax.tick_params(length=0)
        figure.colorbar(image, ax=list(axes), label="∂y / ∂x; empty: exactly 0", shrink=0.8)
    return picture(figure, alt)


def influence() -> HTML:
    """Which pixels of x one pixel of y depends on: |dy/dx| summed over colours, after 1, 2 and 3 couplings and with two
    scales. The nets have no residual blocks: their receptive field is that of one 3x3 convolution of packed pixels."""
    x = random_image((3, 16, 16), seed=1)
    flows = {count_of(k, "coupling"): random_flow(k, 3, blocks=0) for k in (1, 2, 3)}
    flows["2 scales"] = random_flow(3, 3, blocks=0, scales=2)
    with subplots(8.6, 2.4, 1, len(flows)) as (figure, axes):
        counts = []
        for ax, (title, f) in zip(axes, flows.items(), strict=True):
            v = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(f(v)[0][0, 0, 8, 9], v)  # a pixel that the first coupling changes
            strength = gradient[0].abs().sum(0)
            shown = np.ma.masked_equal(strength.numpy(), 0.0)
            image = ax.imshow(shown / shown.max(), norm=LogNorm(1e-3, 1.0), interpolation="none")
            ax.set_title(title)
            bare(ax)
            counts.append(f"{title}: {int((strength > 0).sum())} of {strength.numel()}")
        figure.colorbar(image, ax=list(axes), label="|∂y / ∂x|, largest = 1\nempty: exactly 0", shrink=0.85)
    return picture(figure, f"How many pixels of x one pixel of y depends on. {'; '.join(counts)}")


def round_trip_error(log_s: float, dtype: torch.dtype) -> float:
    """The largest error of x2 after y2 = t + s x2 and its inverse, with ln s = `log_s`, t and x2 drawn from [-1, 1)."""
    random = torch.rand(2, 2500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    (t, x2), scale = random.to(dtype), torch.tensor(log_s, dtype=dtype)
    y2 = t + scale.exp() * x2
    return float(((y2 - t) * (-scale).exp() - x2).abs().max())


def bound_and_errors() -> HTML:
    """The bound on ln s in the package's nets, and what scales beyond it cost in fp32 and fp64."""
    r, scales = torch.linspace(-16, 16, 201), torch.arange(-40, 41).double()
    with subplots(8.0, 3.2, 1, 2) as (figure, (left, right)):
        left.plot(r, r, "--", color=plots.INK, label="no bound")
        left.plot(r, MAX_LOG_SCALE * (r / MAX_LOG_SCALE).tanh(), color=plots.SERIES[0], label="ln s = 4 tanh(r / 4)")
        left.set(xlabel="output of the net, r", ylabel="log-scale ln s", ylim=(-10, 10))
        for label, dtype, k in (("fp32", torch.float32, 1), ("fp64", torch.float64, 0)):
            errors = [max(round_trip_error(s, dtype), 1e-17) for s in scales.tolist()]
            right.plot(scales, errors, color=plots.SERIES[k], label=label)
            rounding = torch.finfo(dtype).eps * (-scales).exp().clamp(min=1)
            right.plot(scales, rounding, ":", color=plots.SERIES[k], label=f"{label}: ε max(1, |t| / s)")
        right.axvspan(-MAX_LOG_SCALE, MAX_LOG_SCALE, color=plots.FAINT, alpha=0.25, linewidth=0)
        right.set(yscale="log", ylim=(1e-17, 1e2), xlabel="log-scale ln s (grey: within the bound)")
        right.set_ylabel("largest error of x₂")
        legend(left)
        legend(right)
    alt = (
        "Left: the bounded log-scale levels off at plus and minus 4. Right: the round-trip error grows as 1 / s for "
        "small s, from 1e-7 in fp32 and 1e-16 in fp64"
    )
    return picture(figure, alt)
