"""Lesson 02, the equations: the likelihood of the plane's models, and Eqs. (1) to (3) for them, in two ways each."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from IPython.display import HTML
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from cqlib import losses
from cqlib.lessons.coverage_and_quality.exact_plane import Ruler
from cqlib.lessons.coverage_and_quality.plane_models import PlaneModels
from cqlib.lessons.drawing import difference, number, table

N = 20_000
"""Points of a mean."""


def likelihood(models: PlaneModels, ruler: Ruler) -> HTML:
    """ln p_theta of the first model, as training computes it, against the package's losses and torch's mixture; and
    its integral."""
    x = ruler.data.sample(2000, torch.Generator().manual_seed(1))
    mean, sigma = (v[0] for v in models.decode())
    found = models.log_prob(x)[0]
    each = torch.stack([losses.gaussian_log_density(x, m, s.log()) for m, s in zip(mean, sigma, strict=True)])
    mixture = MixtureSameFamily(Categorical(torch.ones(len(mean))), Independent(Normal(mean, sigma), 1))
    mass = ruler.distance(ruler.log_density(models.log_prob)[0]).mass
    lines = [
        ["−ln p_θ(x), cqlib.losses, z by z", difference(float((losses.importance_weighted(each) + found).abs().max()))],
        ["ln p_θ(x), torch.distributions", difference(float((mixture.log_prob(x) - found).abs().max()))],
        ["integral of p_θ, against 1", difference(mass - 1)],
    ]
    return table("The likelihood of a model, 2,000 points", ["Against", "largest difference"], lines)


def equations(systems: Mapping[str, PlaneModels], ruler: Ruler) -> HTML:
    """For the first model of each: Eqs. (1) to (3) by means over points, beside integrals over the plane."""
    lines = []
    for label, models in systems.items():
        generators = [torch.Generator().manual_seed(2 + k) for k in range(len(models.z))]
        real = ruler.data.sample(N, torch.Generator().manual_seed(1))
        made = models.draw(N, generators)[0]
        log_q = ruler.log_density(models.log_prob)[0]
        found = ruler.distance(log_q)
        ratio = {name: ruler.data.log_prob(x) - models.log_prob(x)[0] for name, x in (("r", real), ("m", made))}
        excess = -models.log_prob(real)[0] + ruler.data.log_prob(real)
        d_loss = float(losses.discriminator_loss(ratio["r"], ratio["m"]))
        lines += [
            [f"{label}: L_C − H(p) = KL(p ‖ p_θ)", _mean(excess), number(found.coverage, 3)],
            [f"{label}: L_Q at D* = KL(p_θ ‖ p)", _mean(-ratio["m"]), number(found.quality, 3)],
            [f"{label}: −Eq. (1) at D* = 2 ln 2 − 2 JS", number(d_loss, 3),
             number(2 * math.log(2) - 2 * ruler.jensen_shannon(log_q), 3)],
        ]  # fmt: skip
    return table(f"Means over {N:,} points, and integrals; nats", ["Equation", "mean", "integral"], lines)


def _mean(values: Tensor) -> str:
    """ "0.123 ± 0.004", mean and standard error."""
    return f"{number(float(values.mean()), 3)} ± {float(values.std()) / math.sqrt(len(values)):.3f}"
