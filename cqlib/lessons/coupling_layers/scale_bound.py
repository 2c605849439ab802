"""Lesson 04, why the scales of coupling layers are bounded: what others cost in fp32 and fp64."""

import torch
from IPython.display import HTML

from cqlib.nets.coupling import MAX_LOG_SCALE
from cqlib.report import plots
from cqlib.report.cells import legend, picture, subplots


def round_trip_error(log_s: float, dtype: torch.dtype) -> float:
    """The largest error of x2 after y2 = t(x1) + s x2 and its inverse, with ln s = `log_s` and t(x1) = x1, up to 1."""
    random = torch.rand(2, 2500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    (t, x2), scale = random.to(dtype), torch.tensor(log_s, dtype=dtype)
    y2 = t + scale.exp() * x2
    return float(((y2 - t) * (-scale).exp() - x2).abs().max())


def bound_and_errors() -> HTML:
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
