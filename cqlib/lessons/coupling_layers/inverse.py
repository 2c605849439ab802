"""Lesson 04, the inverse of coupling layers takes any functions t and s; and why the scales are bounded."""

from collections.abc import Callable

import torch
from IPython.display import HTML
from torch import Tensor, nn

from cqlib.nets.coupling import MAX_LOG_SCALE, Coupling
from cqlib.report import plots
from cqlib.report.cells import legend, picture, subplots


class Functions(nn.Module):
    """t and ln s by any two functions of x1, in the place of a coupling's net."""

    def __init__(self, t: Callable[[Tensor], Tensor], log_s: Callable[[Tensor], Tensor]):
        super().__init__()
        self.t, self.log_s = t, log_s

    def forward(self, x1: Tensor) -> tuple[Tensor, Tensor]:
        return self.t(x1), self.log_s(x1)


def coupling_of(t: Callable[[Tensor], Tensor], log_s: Callable[[Tensor], Tensor]) -> Coupling:
    """A coupling of the package with these t and ln s."""
    coupling = Coupling(1, width=1, blocks=0)
    coupling.net = Functions(t, log_s)
    return coupling


@torch.no_grad()
def error(coupling: Coupling, x1: Tensor, x2: Tensor) -> float:
    """The largest error of x2 after the coupling and its inverse."""
    return float((coupling.inverse(x1, coupling(x1, x2)[0]) - x2).abs().max())


# --- scales --------------------------------------------------------------------------------------------------


@torch.no_grad()
def round_trip_error(log_s: float, dtype: torch.dtype) -> float:
    """The largest error of x2 after a coupling with ln s = `log_s` everywhere and |t| up to 1, there and back."""
    x1, x2 = torch.rand(2, 1, 1, 50, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    coupling = coupling_of(lambda x: x, lambda x: torch.full_like(x, log_s))
    return error(coupling, x1.to(dtype), x2.to(dtype))


def scale_bound() -> HTML:
    """The bound on ln s in the package's nets, and what scales beyond it cost in fp32 and fp64."""
    r = torch.linspace(-16, 16, 201)
    scales = torch.arange(-40, 41).tolist()
    with subplots(8.0, 3.2, 1, 2) as (figure, (left, right)):
        left.plot(r, r, "--", color=plots.INK, label="no bound")
        left.plot(r, MAX_LOG_SCALE * (r / MAX_LOG_SCALE).tanh(), color=plots.SERIES[0], label="ln s = 4 tanh(r / 4)")
        left.set(xlabel="output of the net, r", ylabel="log-scale ln s", ylim=(-10, 10))
        for dtype, label, colour in ((torch.float32, "fp32", 1), (torch.float64, "fp64", 0)):
            look = {"color": plots.SERIES[colour]}
            right.plot(scales, [max(round_trip_error(s, dtype), 1e-17) for s in scales], label=label, **look)
            rounding = [torch.finfo(dtype).eps * max(1.0, float(torch.tensor(-s).exp())) for s in map(float, scales)]
            right.plot(scales, rounding, ":", label=f"{label}: ε max(1, |t| / s)", **look)
        right.axvspan(-MAX_LOG_SCALE, MAX_LOG_SCALE, color=plots.FAINT, alpha=0.25, linewidth=0)
        right.set(yscale="log", ylim=(1e-17, 1e2))
        right.set(xlabel="log-scale ln s (grey: within the bound)", ylabel="largest error of x₂")
        legend(left)
        legend(right)
    alt = (
        "Left: the bounded log-scale levels off at plus and minus 4. Right: the round-trip error grows as 1 / s for "
        "small s, from 1e-7 in fp32 and 1e-16 in fp64"
    )
    return picture(figure, alt)
