"""Latent variables one at a time, and an image's ELBO in its two terms: the KL and the reconstruction."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.figures.explore.models import codes, decoded
from cqlib.figures.strips import strips
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.pixels import LN_LEVELS, to_uint8
from cqlib.report import plots
from cqlib.report.cells import Range, picture, pixels, slider, subplots, table

STEPS = 9
LN2 = math.log(2)


@torch.no_grad()
def kl_by_latent(model: CoverageQuality, x: Tensor) -> Tensor:
    """KL(q(z_k|x) || p(z_k)) in bits, mean over uint8 images x: (latent,)."""
    mean, log_variance = model.encoder(model.continuous(x, torch.Generator().manual_seed(0)))
    one = [losses.kl_to_standard_normal(mean[:, [k]], log_variance[:, [k]]) for k in range(mean.shape[1])]
    return torch.stack(one).mean(1) / LN2


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
    z = codes(model, x)
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
    -E_q ln p(x|z), their "sum", and "nats", what `LikelihoodSystem.nats` gives for the same draws, with the standard
    "error" of the difference: there the KL is drawn too."""
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
    z = codes(model, x)
    with torch.no_grad():
        mean, log_sigma = model.decode(z)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
        sample = to_uint8(model.image(mean + log_sigma.exp() * noise))
    rows = {"test image x": x, "f⁻¹(μ(z))": decoded(model, z), "a draw of p(x|z)": sample}
    return picture(strips(rows), f"{len(x)} test images, their reconstructions and draws of p(x given z)")


def elbo(model: CoverageQuality, x: Tensor, draws: int = 32) -> HTML:
    """The two terms of each image's ELBO in bits, and that their sum is what the record's BPD is made of."""
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
