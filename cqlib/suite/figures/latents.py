"""What the notebook `explore` does with the codes of Table 1's models: paths between them, linear and spherical, one
latent variable at a time, and an image's ELBO in its two terms, the KL and the reconstruction."""

import math
from collections.abc import Callable

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib import losses
from cqlib.models.cq import CoverageQuality
from cqlib.pixels import LN_LEVELS, to_uint8
from cqlib.suite.cells import table

ROWS = ("table1/cq-f", "table1/cq", "table1/vae-f", "table1/vae")  # the first is shown where the notebook names none
LN2 = math.log(2)


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


@torch.no_grad()
def kl_by_latent(model: CoverageQuality, x: Tensor) -> Tensor:
    """KL(q(z_k|x) || p(z_k)) in bits, mean over uint8 images x: (latent,)."""
    kl = losses.kl_to_standard_normal(*(values.reshape(-1, 1) for values in posterior(model, x)))
    return kl.view(len(x), -1).mean(0) / LN2


def with_latent(model: CoverageQuality, x: Tensor, k: int, value: float | Tensor) -> Tensor:
    """The images of the codes of x with latent variable k set to `value`, (N, C, S, S) uint8."""
    z = encode(model, x)
    z[:, k] = value
    return decoded(model, z)


@torch.no_grad()
def elbo_terms(model: CoverageQuality, x: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """The two terms of the ELBO in bits per image, means over draws of u and z, for uint8 x: the KL in closed form, and
    the reconstruction -E_q ln p(x|z), (N,) each. Their sum bounds -log2 P(x)."""
    kls, reconstructions = [], []
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        v = model.continuous(x, generator)
        q = model.infer(v, generator)
        kls.append(q.kl["z"])
        reconstructions.append(x[0].numel() * LN_LEVELS - model.log_density(v, q.z))
    return torch.stack(kls).mean(0) / LN2, torch.stack(reconstructions).mean(0) / LN2


def elbo(model: CoverageQuality, x: Tensor, draws: int = 32) -> HTML:
    """The two terms of each image's ELBO in bits, their sum, and the bits per dimension that it makes."""
    columns = zip(*(term.tolist() for term in elbo_terms(model, x, draws)), strict=True)
    lines = [[str(i), kl, rest, kl + rest, (kl + rest) / x[0].numel()] for i, (kl, rest) in enumerate(columns, 1)]
    head = {"Image": None, "KL, bits": 0, "−E ln p(x|z), bits": 0, "sum": 0, "BPD": 2}
    return table(f"The ELBO in two parts, means of {draws} draws", head, lines)
