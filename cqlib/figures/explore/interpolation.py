"""Paths between latent codes, linear and spherical: their lengths under the prior, and the images along them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from IPython.display import HTML
from scipy import stats
from torch import Tensor

from cqlib.figures.explore.models import decoded
from cqlib.figures.strips import strips
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.report import plots
from cqlib.report.cells import Range, picture, pixels, slider, subplots, table

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


def prior_pairs(model: CoverageQuality, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two draws of n codes from p(z)."""
    a, b = torch.randn(2, n, model.config.latent, generator=torch.Generator().manual_seed(seed))
    return a, b


def interpolations(model: CoverageQuality, n: int = 3, seed: int = 3) -> HTML:
    """n pairs of codes, each joined in a straight line and on the sphere."""
    a, b = prior_pairs(model, n, seed)
    t = torch.linspace(0, 1, STEPS)[:, None]
    rows = {f"{name}, {i + 1}": decoded(model, path(a[i], b[i], t)) for i in range(n) for name, path in PATHS.items()}
    figure = strips(rows, columns=[f"{float(v):g}" for v in t])
    return picture(figure, f"Images along {n} linear and {n} spherical paths between two codes, t from 0 to 1")


def lengths(model: CoverageQuality, n: int = 500) -> HTML:
    """‖z‖ along the two kinds of paths, mean over n pairs, beside the lengths of draws of the prior."""
    (a, b), d = prior_pairs(model, n), model.config.latent
    t = torch.linspace(0, 1, 41)
    low, middle, high = stats.chi(d).ppf([0.005, 0.5, 0.995])
    with subplots(5.2, 3.0) as (figure, ax):
        ax.axhspan(low, high, color=plots.FAINT, alpha=0.2, linewidth=0)
        ax.text(0.02, high, "99 % of N(0, I)", va="top", fontsize=8)
        for i, (name, path) in enumerate(PATHS.items()):
            values = torch.stack([path(a, b, v).norm(dim=1) for v in t]).mean(1).numpy()
            ax.plot(t.numpy(), values, color=plots.SERIES[i])
            ax.annotate(name, (0.5, values[20]), (0, -5), textcoords="offset points", color=plots.SERIES[i],
                        ha="center", va="top")  # fmt: skip
        ax.set(xlabel="position on the path, t", ylabel="length of the code, ‖z‖", xlim=(0, 1),
               ylim=(0.6 * middle, 1.05 * high))  # fmt: skip
    return picture(figure, f"Mean length of codes along linear and spherical paths in {d} dimensions: the linear ones "
                   "leave the shell where the prior lies")  # fmt: skip


def midpoints(model: CoverageQuality, n: int = 500) -> HTML:
    """Midpoints of paths beside draws of the prior: length by the formula and measured, its probability, contrast."""
    (a, b), d = prior_pairs(model, n), model.config.latent
    length = stats.chi(d).mean()
    groups = {"p(z)": (a, length), "linear, t = ½": (linear(a, b, 0.5), length / 2**0.5),
              "spherical, t = ½": (spherical(a, b, 0.5), length)}  # fmt: skip
    lines = []
    for name, (z, expected) in groups.items():
        contrast = decoded(model, z).float().flatten(2).std(2).mean()
        lines.append([name, expected, z.norm(dim=1).mean(), stats.chi(d).cdf(expected), contrast])
    head = {"Codes": None, "‖z‖ by the formula": 2, "measured": 2,
            "P(shorter) under p(z)": lambda p: f"{p:.1e}" if p < 0.01 else f"{p:.2f}",
            "contrast of the image, levels": 1}  # fmt: skip
    return table(f"{n} pairs of codes in {d} dimensions", head, lines)


def interpolation_slider(models: Mapping[str, CoverageQuality], n: int = 16) -> Any:
    """A slider for the position on n paths, a choice of path and of model."""

    def draw(model: str, path: str, t: float) -> HTML:
        images = decoded(models[model], PATHS[path](*prior_pairs(models[model], n, seed=3), t))
        return pixels(images, f"{n} images at t = {t:.2f} of {path} paths, {model}", columns=n // 2)

    return slider(draw, model=list(models), path=["spherical", "linear"], t=Range(0, 1, 0.02, start=0.0))
