"""Lesson 04, the inverse of coupling layers: one pass, any functions t and s, and why the scales are bounded.

x1 = y1,   x2 = (y2 - t(y1)) / s(y1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib
import torch
from IPython.display import HTML
from torch import Tensor, nn

from cqlib.lessons.coupling_layers.steps import flow
from cqlib.nets.coupling import MAX_LOG_SCALE, Coupling, RealNVP
from cqlib.pixels import to_signed
from cqlib.report import plots
from cqlib.report.cells import difference, legend, number, picture, table


@torch.no_grad()
def round_trips(images: Tensor, couplings: Sequence[int] = (1, 3, 6, 12)) -> HTML:
    """The largest |f^-1(f(x)) - x| over 16 images in fp64 and fp32, and how often a net is called on either way."""
    x = to_signed(images[:16])
    lines = []
    for k in couplings:
        f = flow(k, x.shape[1])
        calls = _count_calls(f)
        y = f(x.double())[0]
        there = calls[0]
        errors = [float((f.inverse(y) - x).abs().max())]
        back = calls[0] - there
        f = f.float()
        errors.append(float((f.inverse(f(x)[0]) - x).abs().max()))
        largest = number(float(y.abs().max()), 1)
        lines.append([str(k), str(there), str(back), largest, *map(difference, errors)])
    head = ["Couplings", "nets called by f", "by f⁻¹", "largest |y|", "error, fp64", "error, fp32"]
    return table("There and back: the largest error of a pixel value in [−1, 1]", head, lines)


def _count_calls(f: RealNVP) -> list[int]:
    """A list whose one entry grows with every call of a coupling's net."""
    calls = [0]

    def count(*_: object) -> None:
        calls[0] += 1

    for coupling in f.couplings:
        coupling.net.register_forward_hook(count)
    return calls


class Fixed(nn.Module):
    """t and ln s by any two functions of x1, in the place of a coupling's net."""

    def __init__(self, t: Callable[[Tensor], Tensor], log_s: Callable[[Tensor], Tensor]):
        super().__init__()
        self.t, self.log_s = t, log_s

    def forward(self, x1: Tensor) -> tuple[Tensor, Tensor]:
        return self.t(x1), self.log_s(x1)


def with_functions(t: Callable[[Tensor], Tensor], log_s: Callable[[Tensor], Tensor]) -> Coupling:
    """A coupling of the package with these t and ln s."""
    coupling = Coupling(1, width=1, blocks=0)
    coupling.net = Fixed(t, log_s)
    return coupling


@torch.no_grad()
def not_invertible() -> HTML:
    """Couplings whose t and ln s cannot be inverted: how many different values t takes, and the round trip."""
    half = torch.arange(1, 5001, dtype=torch.float64) / 5000
    x1 = torch.cat([half, -half]).view(1, 1, 100, 100)
    x2 = torch.rand(x1.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    chosen = {
        "t = |x₁|, ln s = cos 9 x₁": with_functions(torch.abs, lambda x: torch.cos(9 * x)),
        "t = sign x₁, ln s = round(2 x₁)": with_functions(torch.sign, lambda x: (2 * x).round()),
        "t = 0.3, ln s = −1": with_functions(lambda x: 0.3 + 0 * x, lambda x: 0 * x - 1),
    }
    lines = []
    for name, coupling in chosen.items():
        t, _ = coupling.net(x1)
        error = float((coupling.inverse(x1, coupling(x1, x2)[0]) - x2).abs().max())
        lines.append([name, f"{len(torch.unique(x1)):,}", f"{len(torch.unique(t)):,}", difference(error)])
    head = ["t and s", "different x₁", "different t(x₁)", "error of x₂, fp64"]
    return table("t and s are evaluated, never inverted", head, lines)


# --- scales --------------------------------------------------------------------------------------------------


@torch.no_grad()
def error_at(log_s: float, dtype: torch.dtype) -> float:
    """The largest error of x2 after a coupling with ln s = `log_s` everywhere and |t| up to 1, there and back."""
    x1, x2 = torch.rand(2, 1, 1, 50, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    coupling = with_functions(lambda x: x, lambda x: torch.full_like(x, log_s))
    x1, x2 = x1.to(dtype), x2.to(dtype)
    return float((coupling.inverse(x1, coupling(x1, x2)[0]) - x2).abs().max())


def bounded() -> HTML:
    """The bound of ln s that the package's nets have, and what scales beyond it cost in fp32 and fp64."""
    r = torch.linspace(-16, 16, 201)
    scales = torch.arange(-40, 41).tolist()
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(8.0, 3.2)
        left, right = figure.subplots(1, 2)
        left.plot(r, r, "--", color=plots.INK, label="no bound")
        left.plot(r, MAX_LOG_SCALE * (r / MAX_LOG_SCALE).tanh(), color=plots.SERIES[0], label="ln s = 4 tanh(r / 4)")
        left.set_xlabel("output of the net, r")
        left.set_ylabel("log-scale ln s")
        left.set_ylim(-10, 10)
        legend(left)
        for dtype, label, colour in (
            (torch.float32, "fp32", plots.SERIES[1]),
            (torch.float64, "fp64", plots.SERIES[0]),
        ):
            errors = [max(error_at(float(s), dtype), 1e-17) for s in scales]
            right.plot(scales, errors, color=colour, label=label)
            likely = [torch.finfo(dtype).eps * max(1.0, float(torch.tensor(-s).exp())) for s in map(float, scales)]
            right.plot(scales, likely, ":", color=colour, label=f"{label}: ε max(1, |t| / s)")
        right.axvspan(-MAX_LOG_SCALE, MAX_LOG_SCALE, color=plots.FAINT, alpha=0.25, linewidth=0)
        right.set_yscale("log")
        right.set_ylim(1e-17, 1e2)
        right.set_xlabel("log-scale ln s (grey: within the bound)")
        right.set_ylabel("largest error of x₂")
        legend(right)
    alt = (
        "Left: the bounded log-scale levels off at plus and minus 4. Right: the round-trip error grows as 1 / s for "
        "small s, from 1e-7 in fp32 and 1e-16 in fp64"
    )
    return picture(figure, alt)


def overflow(log_scales: Sequence[float] = (4, 40, 88, 89)) -> HTML:
    """The error of x2 in fp32 at some log-scales of either sign; beyond 88 exp overflows."""
    lines = []
    for s in log_scales:
        errors = [error_at(sign * s, torch.float32) for sign in (-1, 1)]
        lines.append([f"{s:g}", *("∞" if not e < 2 else difference(e) for e in errors)])
    return table(
        "The largest error of x₂ in fp32, x₂ in [−1, 1]; ∞: overflow", ["|ln s|", "ln s < 0", "ln s > 0"], lines
    )
