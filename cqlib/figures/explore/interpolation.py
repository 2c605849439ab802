"""Paths between latent codes: linear and spherical, where they lead in p(z), and what the decoder makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import torch
from IPython.display import HTML
from scipy import stats
from torch import Tensor

from cqlib.figures.explore.models import decoded, view
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.report import page as report
from cqlib.report import plots
from cqlib.report.cells import live, picture
from cqlib.report.strips import strips

STEPS = 9


def linear(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """(1 - t) a + t b; (..., d)."""
    return (1 - t) * a + t * b


def spherical(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """(sin((1 - t) w) a + sin(t w) b) / sin w on directions a, b at the angle w, lengths in proportion; (..., d)."""
    lengths = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    a, b = a / lengths[0], b / lengths[1]
    w = (a * b).sum(-1, keepdim=True).clamp(-1, 1).acos().clamp_min(1e-4)
    return linear(*lengths, t) * (torch.sin((1 - t) * w) * a + torch.sin(t * w) * b) / torch.sin(w)


PATHS: dict[str, Callable[..., Tensor]] = {"linear": linear, "spherical": spherical}


def prior_pairs(system: CoverageQuality, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two draws of n codes from p(z)."""
    z = torch.randn(2, n, system.config.latent, generator=torch.Generator().manual_seed(seed))
    return z[0], z[1]


def interpolations(system: CoverageQuality, n: int = 3, seed: int = 3) -> HTML:
    """n pairs of codes, each joined in a straight line and on the sphere."""
    a, b = prior_pairs(system, n, seed)
    t = torch.linspace(0, 1, STEPS)[:, None]
    rows = {f"{name}, {i + 1}": decoded(system, path(a[i], b[i], t)) for i in range(n) for name, path in PATHS.items()}
    figure = strips(rows, columns=[f"{float(v):g}" for v in t])
    return picture(figure, f"Images along {n} linear and {n} spherical paths between two codes, t from 0 to 1")


def lengths(system: CoverageQuality, n: int = 500) -> HTML:
    """‖z‖ along the two kinds of paths, mean over n pairs, beside what the prior gives."""
    (a, b), d = prior_pairs(system, n), system.config.latent
    t = torch.linspace(0, 1, 41)
    low, middle, high = stats.chi(d).ppf([0.005, 0.5, 0.995])
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(5.2, 3.0)
        ax = figure.subplots()
        ax.axhspan(low, high, color=plots.FAINT, alpha=0.2, linewidth=0)
        ax.text(0.02, high, "99 % of N(0, I)", va="top", fontsize=8)
        for i, (name, path) in enumerate(PATHS.items()):
            values = torch.stack([path(a, b, v).norm(dim=1) for v in t])
            ax.plot(t.numpy(), values.mean(1).numpy(), color=plots.SERIES[i])
            ax.annotate(name, (0.5, float(values[20].mean())), (0, -5), textcoords="offset points",
                        color=plots.SERIES[i], ha="center", va="top")  # fmt: skip
        ax.set_xlabel("place on the path, t")
        ax.set_ylabel("length of the code, ‖z‖")
        ax.set_ylim(0.6 * middle, 1.05 * high)
        ax.set_xlim(0, 1)
    return picture(figure, f"Mean length of codes along linear and spherical paths in {d} dimensions: "
                                "the linear ones leave the shell where the prior lies")  # fmt: skip


def middles(system: CoverageQuality, n: int = 500) -> HTML:
    """What the middles of linear and spherical paths are like beside draws of the prior: length by the formula and
    measured, the contrast of their images, and how far a change of length alone moves an image."""
    (a, b), d = prior_pairs(system, n), system.config.latent
    middle = stats.chi(d).mean()
    found = {"p(z)": (a, middle), "linear, t = ½": (linear(a, b, 0.5), middle / 2**0.5),
             "spherical, t = ½": (spherical(a, b, 0.5), middle)}  # fmt: skip
    lines = []
    for name, (z, expected) in found.items():
        images = decoded(system, z).float()
        inside = float(stats.chi(d).cdf(expected))
        lines.append([name, f"{expected:.2f}", f"{z.norm(dim=1).mean():.2f}", f"{inside:.1e}" if inside < 0.01 else
                      f"{inside:.2f}", f"{images.flatten(2).std(2).mean():.1f}"])  # fmt: skip
    head = ["Codes", "‖z‖ by the formula", "measured", "P(shorter) under p(z)", "contrast of the image, levels"]
    return HTML(report.macro("plain_table", f"{n} pairs of codes in {d} dimensions", head, lines))


def length_or_direction(system: CoverageQuality, n: int = 500) -> HTML:
    """How much an image changes when its code is shortened to a middle's length, and when the code is another one."""
    a, b = prior_pairs(system, n)
    images = decoded(system, a).float()
    changes = {"another code": b, "the same code, ‖z‖ divided by √2": a / 2**0.5}
    lines = [[name, f"{(decoded(system, z).float() - images).square().mean().sqrt():.1f}"]
             for name, z in changes.items()]  # fmt: skip
    return HTML(report.macro("plain_table", f"What moves an image, {n} codes",
                             ["Instead of z", "root mean square change, levels"], lines))  # fmt: skip


def interpolation_slider(systems: dict[str, CoverageQuality], n: int = 16) -> Any:
    """A slider for the place on n paths, a choice of path and of model."""
    if not live():
        return None
    import ipywidgets as widgets

    def draw(model: str, path: str, t: float) -> tuple[Tensor, str]:
        a, b = prior_pairs(systems[model], n, seed=3)
        return decoded(systems[model], PATHS[path](a, b, t)), f"{n} images at t = {t:.2f} of {path} paths, {model}"

    return view(
        draw, n // 2,
        model=widgets.Dropdown(options=list(systems), description="model"),
        path=widgets.Dropdown(options=list(PATHS), value="spherical", description="path"),
        t=widgets.FloatSlider(0.0, min=0, max=1, step=0.02, description="t"),
    )  # fmt: skip
