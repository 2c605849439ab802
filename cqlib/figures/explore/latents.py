"""One latent variable at a time, and an image's ELBO in two parts: what the code says, and what is left to say."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.figures.explore.models import codes, decoded, view
from cqlib.models.coverage_quality import CoverageQuality
from cqlib.pixels import LN_LEVELS, to_uint8
from cqlib.report import page as report
from cqlib.report import plots
from cqlib.report.cells import live, picture
from cqlib.report.strips import strips

STEPS = 9
LN2 = math.log(2)


@torch.no_grad()
def kl_by_latent(system: CoverageQuality, x: Tensor) -> Tensor:
    """KL(q(z_k|x) || p(z_k)) in bits, mean over uint8 images x: (latent,)."""
    mean, log_variance = system.encoder(system.see(x, torch.Generator().manual_seed(0)))
    one = [losses.kl_to_standard_normal(mean[:, [k]], log_variance[:, [k]]) for k in range(mean.shape[1])]
    return torch.stack(one).mean(1) / LN2


def latents_used(system: CoverageQuality, x: Tensor) -> HTML:
    """How many bits each latent variable carries, in falling order."""
    bits = kl_by_latent(system, x).sort(descending=True).values
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.blank(6.2, 2.4)
        ax = figure.subplots()
        ax.bar(range(1, len(bits) + 1), bits.numpy(), color=plots.SERIES[0], width=0.8)
        ax.set_xlabel("latent variable, by its KL")
        ax.set_ylabel("KL, bits per image")
        ax.set_xlim(0.3, len(bits) + 0.7)
    what = f"{bits[0]:.1f} to {bits[-1]:.2f}, {bits.sum():.0f} together, mean over {len(x)} test images"
    return picture(figure, f"Bits of {len(bits)} latent variables in falling order, from {what}")


def moved(system: CoverageQuality, x: Tensor, k: int, value: float | Tensor) -> Tensor:
    """The images of the codes of x with latent variable k set to `value`, (N, C, S, S) uint8."""
    z = codes(system, x)
    z[:, k] = value
    return decoded(system, z)


def traversals(system: CoverageQuality, x: Tensor, many: Tensor, n: int = 6) -> HTML:
    """Test image x (C, S, S) with each of the n most used latent variables going from -3 to 3; use is measured on the
    uint8 images `many`."""
    bits = kl_by_latent(system, many)
    values = torch.linspace(-3, 3, STEPS)
    rows = {f"z{k + 1}, {bits[k]:.1f} bits": moved(system, x.expand(STEPS, -1, -1, -1), int(k), values)
            for k in bits.argsort(descending=True)[:n]}  # fmt: skip
    figure = strips(rows, columns=[f"{float(v):g}" for v in values])
    return picture(figure, f"One test image, each of its {n} most used latent variables moved from -3 to 3")


# --- reconstruction and the ELBO -----------------------------------------------------------------------------


@torch.no_grad()
def elbo_terms(system: CoverageQuality, x: Tensor, draws: int) -> dict[str, Tensor]:
    """Bits per image (N,) of uint8 x, means over draws of u and z: "kl" in closed form, "reconstruction"
    -E_q ln p(x|z), their "sum", and "nats", what `LikelihoodSystem.nats` gives for the same draws, with the standard
    "error" of the difference: there the KL is drawn too."""
    found: dict[str, list[Tensor]] = {"kl": [], "reconstruction": [], "nats": []}
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        v = system.see(x, generator)
        q = system.infer(v, generator)
        found["kl"].append(sum(q.kl.values()))
        found["reconstruction"].append(x[0].numel() * LN_LEVELS - system.log_density(v, q.z))
        found["nats"].append(system.nats(x, generator=torch.Generator().manual_seed(seed)))
    bits = {name: torch.stack(values) / LN2 for name, values in found.items()}
    differences = bits["kl"] + bits["reconstruction"] - bits["nats"]
    means = {name: values.mean(0) for name, values in bits.items()}
    return {**means, "sum": means["kl"] + means["reconstruction"], "error": differences.std(0) / draws**0.5}


def reconstructions(system: CoverageQuality, x: Tensor) -> HTML:
    """Test images, f^-1(mu(z)) of their codes, and one draw of p(x|z) for each."""
    z = codes(system, x)
    torch.manual_seed(0)
    with torch.no_grad():
        mean, log_sigma = system.decode(z)
        drawn = to_uint8(system.image(mean + log_sigma.exp() * torch.randn_like(mean)))
    rows = {"test image x": x, "f⁻¹(μ(z))": decoded(system, z), "a draw of p(x|z)": drawn}
    return picture(strips(rows), f"{len(x)} test images, their reconstructions and draws of p(x given z)")


def elbo(system: CoverageQuality, x: Tensor, draws: int = 32) -> HTML:
    """The two terms of each image's ELBO in bits, and that their sum is what the record's BPD is made of."""
    terms, dimensions = elbo_terms(system, x, draws), x[0].numel()
    columns = zip(*(terms[key].tolist() for key in ("kl", "reconstruction", "sum", "nats", "error")), strict=True)
    lines = [[str(i + 1), f"{kl:,.0f}", f"{rest:,.0f}", f"{total:,.0f}", f"{nats:,.0f}",
              f"{total - nats:+.1f} ± {2 * error:.1f}", f"{nats / dimensions:.2f}"]
             for i, (kl, rest, total, nats, error) in enumerate(columns)]  # fmt: skip
    head = ["Image", "KL, bits", "−E ln p(x|z), bits", "sum", "nats(x), in bits", "difference", "BPD"]
    return HTML(report.macro("plain_table", f"The ELBO in two parts, means of {draws} draws", head, lines))


def latent_slider(systems: dict[str, CoverageQuality], x: Tensor, many: Tensor) -> Any:
    """A slider for one latent variable of the images x, chosen by its rank in use."""
    if not live():
        return None
    import ipywidgets as widgets

    order = {name: kl_by_latent(system, many).argsort(descending=True) for name, system in systems.items()}

    def draw(model: str, rank: int, value: float) -> tuple[Tensor, str]:
        k = int(order[model][rank - 1])
        return moved(systems[model], x, k, value), f"{len(x)} test images with z{k + 1} = {value:.1f}, {model}"

    return view(
        draw, len(x),
        model=widgets.Dropdown(options=list(systems), description="model"),
        rank=widgets.IntSlider(1, min=1, max=min(map(len, order.values())), description="latent, rank"),
        value=widgets.FloatSlider(0.0, min=-3, max=3, step=0.1, description="value"),
    )  # fmt: skip
