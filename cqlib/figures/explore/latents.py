"""What the notebook `explore` does with the codes of Table 1's models: paths between them, linear and spherical, one
latent variable at a time, and an image's ELBO in its two terms, the KL and the reconstruction."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from IPython.display import HTML
from scipy import stats
from torch import Tensor

from cqlib import losses
from cqlib.experiments.load import ModelAndData
from cqlib.experiments.selection import Selection
from cqlib.figures.common import bits
from cqlib.figures.strips import strips
from cqlib.models.cq import CoverageQuality
from cqlib.pixels import LN_LEVELS, to_uint8
from cqlib.report import plots
from cqlib.report.cells import Range, panels, picture, pixels, slider, subplots, table
from cqlib.util.errors import UserError

ROWS = ("table1/cq-f", "table1/cq", "table1/vae-f", "table1/vae")  # the first is shown where the notebook names none
STEPS = 9
LN2 = math.log(2)


def find(selection: Selection) -> dict[str, ModelAndData]:
    """Name -> trained model, as chosen, or, without any, of the default run, which is published. UserError if none."""
    if not (models := selection.find()):
        raise UserError(f"there is no trained model yet: python -m cqlib train {ROWS[0]}")
    for model in models.values():
        model.model.requires_grad_(False)
    return {model.name: model for model in models.values()}


def overview(models: Mapping[str, ModelAndData], n: int = 250) -> HTML:
    """Each model's latent variables, parameters and bits per dimension on the first n test images."""
    first = next(iter(models.values()))
    images, lines = first.data.test.images[:n], []
    for name, one in models.items():
        counts, latent = one.model.parameter_counts(), one.model.config.latent
        lines.append([name, latent, counts["total"], counts.get("flow", 0), bits(one.model, images).mean()])
    head = {"Model": None, "Latent variables": 0, "Parameters": 0, "of them in f": 0,
            f"BPD ↓, {len(images)} test images": 2}  # fmt: skip
    return table(f"Trained models ({first.source})", head, lines)


@torch.no_grad()
def decoded(model: CoverageQuality, z: Tensor) -> Tensor:
    """f^-1(mu(z)), the image without the decoder's noise: (N, latent) -> uint8 (N, C, S, S)."""
    return to_uint8(model.image(model.decode(z)[0]))


@torch.no_grad()
def posterior(model: CoverageQuality, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-scale of q(z|x) for uint8 (N, C, S, S): (N, latent) each."""
    return model.encoder(model.continuous(x, torch.Generator().manual_seed(0)))


def encode(model: CoverageQuality, x: Tensor) -> Tensor:
    """The mean of q(z|x) for uint8 (N, C, S, S): (N, latent)."""
    return posterior(model, x)[0]


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


def interpolations(model: CoverageQuality) -> HTML:
    """Three pairs of codes, each joined in a straight line and on the sphere."""
    (a, b), t = prior_pairs(model, 3, seed=3), torch.linspace(0, 1, STEPS)[:, None]
    rows = {f"{name}, {i + 1}": decoded(model, path(a[i], b[i], t)) for i in range(3) for name, path in PATHS.items()}
    figure = strips(rows, columns=[f"{float(v):g}" for v in t])
    return picture(figure, "Images along 3 linear and 3 spherical paths between two codes, t from 0 to 1")


def lengths(model: CoverageQuality) -> HTML:
    """‖z‖ along the two kinds of paths, mean over 500 pairs, beside the lengths of draws of the prior."""
    (a, b), d = prior_pairs(model, 500), model.config.latent
    t = torch.linspace(0, 1, 41)
    means = {name: torch.stack([path(a, b, v).norm(dim=1) for v in t]).mean(1) for name, path in PATHS.items()}
    lines = {name: (t, values, plots.SERIES[i], "", "-") for i, (name, values) in enumerate(means.items())}
    figure = panels({"": lines}, xlabel="position on the path, t", ylabel="length of the code, ‖z‖", width=4.8)
    low, middle, high = stats.chi(d).ppf([0.005, 0.5, 0.995])
    figure.axes[0].axhspan(low, high, color=plots.FAINT, alpha=0.2, linewidth=0)
    figure.axes[0].text(0.02, high, "99 % of N(0, I)", va="top", fontsize=8)
    figure.axes[0].set(xlim=(0, 1), ylim=(0.6 * middle, 1.05 * high))
    alt = f"Mean length of codes along linear and spherical paths in {d} dimensions: the linear ones leave the shell "
    return picture(figure, f"{alt}where the prior lies")


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


@torch.no_grad()
def kl_by_latent(model: CoverageQuality, x: Tensor) -> Tensor:
    """KL(q(z_k|x) || p(z_k)) in bits, mean over uint8 images x: (latent,)."""
    kl = losses.kl_to_standard_normal(*(values.reshape(-1, 1) for values in posterior(model, x)))
    return kl.view(len(x), -1).mean(0) / LN2


def latents_used(model: CoverageQuality, x: Tensor) -> HTML:
    """How many bits each latent variable carries, in falling order."""
    bits = kl_by_latent(model, x).sort(descending=True).values
    with subplots(6.2, 2.4) as (figure, ax):
        ax.bar(range(1, len(bits) + 1), bits.numpy(), color=plots.SERIES[0], width=0.8)
        ax.set(xlabel="latent variable, by its KL", ylabel="KL, bits per image", xlim=(0.3, len(bits) + 0.7))
    alt = f"Bits of {len(bits)} latent variables in falling order, from {bits[0]:.1f} to {bits[-1]:.2f}, "
    return picture(figure, f"{alt}{bits.sum():.0f} together, mean over {len(x)} test images")


def with_latent(model: CoverageQuality, x: Tensor, k: int, value: float | Tensor) -> Tensor:
    """The images of the codes of x with latent variable k set to `value`, (N, C, S, S) uint8."""
    z = encode(model, x)
    z[:, k] = value
    return decoded(model, z)


def traversals(model: CoverageQuality, x: Tensor, many: Tensor, n: int = 6) -> HTML:
    """Test image x (C, S, S) with each of the n latent variables most used on `many` (uint8) moved from -3 to 3."""
    bits = kl_by_latent(model, many)
    values = torch.linspace(-3, 3, STEPS)
    rows = {f"z{k + 1}, {bits[k]:.1f} bits": with_latent(model, x.expand(STEPS, -1, -1, -1), int(k), values)
            for k in bits.argsort(descending=True)[:n]}  # fmt: skip
    figure = strips(rows, columns=[f"{float(v):g}" for v in values])
    return picture(figure, f"One test image, each of its {n} most used latent variables moved from -3 to 3")


@torch.no_grad()
def elbo_terms(model: CoverageQuality, x: Tensor, draws: int) -> dict[str, Tensor]:
    """Bits per image (N,) of uint8 x, means over draws of u and z: "kl" in closed form, "reconstruction"
    -E_q ln p(x|z), their "sum", and "nats": in bits, what `LikelihoodSystem.nats` gives for the same draws. That has
    the KL from the draws too, and so differs from the sum; "error" is the standard error of the difference."""
    terms: dict[str, list[Tensor]] = {"kl": [], "reconstruction": [], "nats": []}
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        v = model.continuous(x, generator)
        q = model.infer(v, generator)
        terms["kl"].append(q.kl["z"])
        terms["reconstruction"].append(x[0].numel() * LN_LEVELS - model.log_density(v, q.z))
        terms["nats"].append(model.nats(x, generator=torch.Generator().manual_seed(seed)))
    bits = {name: torch.stack(values) / LN2 for name, values in terms.items()}
    error = (bits["kl"] + bits["reconstruction"] - bits["nats"]).std(0) / draws**0.5
    means = {name: values.mean(0) for name, values in bits.items()}
    return {**means, "sum": means["kl"] + means["reconstruction"], "error": error}


def reconstructions(model: CoverageQuality, x: Tensor) -> HTML:
    """Test images, f^-1(mu(z)) of their codes, and one draw of p(x|z) for each."""
    z = encode(model, x)
    with torch.no_grad():
        sample = to_uint8(model.image(model.sample_features(z, 1.0, torch.Generator().manual_seed(0))))
    rows = {"test image x": x, "f⁻¹(μ(z))": decoded(model, z), "a draw of p(x|z)": sample}
    return picture(strips(rows), f"{len(x)} test images, their reconstructions and draws of p(x given z)")


def elbo(model: CoverageQuality, x: Tensor, draws: int = 32) -> HTML:
    """The two terms of each image's ELBO in bits, and their sum beside `nats(x)`, from which records have their BPD."""
    terms = elbo_terms(model, x, draws)
    columns = zip(*(terms[key].tolist() for key in ("kl", "reconstruction", "sum", "nats", "error")), strict=True)
    lines = [[str(i), kl, rest, total, nats, f"{total - nats:+.1f} ± {2 * error:.1f}", nats / x[0].numel()]
             for i, (kl, rest, total, nats, error) in enumerate(columns, 1)]  # fmt: skip
    head = {"Image": None, "KL, bits": 0, "−E ln p(x|z), bits": 0, "sum": 0, "nats(x), in bits": 0, "difference": None,
            "BPD": 2}  # fmt: skip
    return table(f"The ELBO in two parts, means of {draws} draws", head, lines)


def latent_slider(models: Mapping[str, CoverageQuality], x: Tensor, many: Tensor) -> Any:
    """A slider for one latent variable of the images x, chosen by its rank in use on the uint8 images `many`."""
    order = {name: kl_by_latent(model, many).argsort(descending=True) for name, model in models.items()}

    def draw(model: str, rank: int, value: float) -> HTML:
        k = int(order[model][rank - 1])
        images = with_latent(models[model], x, k, value)
        return pixels(images, f"{len(x)} test images with z{k + 1} = {value:.1f}, {model}")

    ranks = Range(1, min(map(len, order.values())), 1, start=1, label="latent, rank")
    return slider(draw, model=list(models), rank=ranks, value=Range(-3, 3, 0.1, start=0.0))
