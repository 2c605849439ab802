"""Lesson 02, a latent-variable model of the plane whose likelihood is exact, trained by L_C, by L_Q, or by both.

    p_theta(x) = (1/M) sum_m N(x; mu(z_m), diag(sigma(z_m)^2))

z is uniform over the M points of a square lattice of unit variance, so the integral over z is a sum, and L_C needs no
bound. Everything else is as in `cqlib.models.hybrid`: decoder, critic, L = c L_C + lambda L_Q, and the critic takes
one step for each of the model's. It has no gradient penalty: the decoder's noise gives both densities the whole plane
as their support.

Several models are trained side by side, each from its own seed: one product of stacks of matrices costs little more
than one of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from IPython.display import HTML
from torch import Generator, Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import leaky_relu, silu, softplus
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cqlib import losses
from cqlib.data import toy2d
from cqlib.lessons.coverage_and_quality.distances import Lattice
from cqlib.models.base import frozen
from cqlib.report.cells import difference, mean_and_error, table

WIDTH, SIDE_OF_Z, SIGMA_FLOOR = 64, 14, 0.02
BATCH, LEARNING_RATE, BETAS, EMA = 128, 5e-3, (0.5, 0.9), 0.99
POINTS = 50_000
"""Training points, more than a run sees twice over."""
ZOOM = 3.0
"""Factor on the critic's inputs: the data's details are small beside 1."""
CHECK_POINTS = 20_000
"""Points of a mean in the checks."""


class Nets(nn.Module):
    """S multilayer perceptrons side by side, (S, N, i) -> (S, N, o); each is started by its own generator."""

    def __init__(self, sizes: Sequence[int], activation: Callable[[Tensor], Tensor], gain: float, generators: list):
        super().__init__()
        self.activation = activation
        pairs = list(zip(sizes, sizes[1:], strict=False))
        weights = [torch.stack([torch.randn(i, o, generator=g) for g in generators]) * gain / i**0.5 for i, o in pairs]
        self.weights = nn.ParameterList(nn.Parameter(w) for w in weights)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(len(generators), 1, o)) for _, o in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, self.activation(x) if k else x, weight)
        return x


class PlaneModels(nn.Module):
    """S models p_theta side by side."""

    def __init__(self, generators: list[Generator]):
        super().__init__()
        axis = math.sqrt(3) * ((torch.arange(SIDE_OF_Z) + 0.5) * 2 / SIDE_OF_Z - 1)
        self.register_buffer("z", torch.cartesian_prod(axis, axis).repeat(len(generators), 1, 1))
        self.decoder = Nets([2, WIDTH, WIDTH, WIDTH, 4], silu, 1.0, generators)
        with torch.no_grad():
            self.decoder.weights[-1].mul_(0.5)  # all of mu(z) is near the origin at the start

    def decode(self) -> tuple[Tensor, Tensor]:
        """mu(z_m) and sigma(z_m) for all z, two of (S, M, 2); sigma > `SIGMA_FLOOR`."""
        mean, raw = self.decoder(self.z).chunk(2, -1)
        return mean, SIGMA_FLOOR + softplus(raw - 2)

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p_theta(x) of points (S, N, 2), each model its own, or (N, 2) for all; -> (S, N).

        ln N(x; mu, sigma) is linear in (x^2, x), so that all z take one product of matrices.
        """
        mean, sigma = self.decode()
        x = x.expand(len(mean), -1, -1)
        precision = sigma.square().reciprocal()
        constant = -(0.5 * mean.square() * precision + sigma.log()).sum(-1) - math.log(2 * math.pi)
        linear = torch.cat([-0.5 * precision, mean * precision], -1)
        log_p = torch.baddbmm(constant[:, None], torch.cat([x.square(), x], -1), linear.transpose(1, 2))
        return torch.logsumexp(log_p, -1) - math.log(log_p.shape[-1])

    def draw(self, n: int, generators: list[Generator]) -> Tensor:
        """n points of each model, x = mu(z) + sigma(z) eps, (S, n, 2); differentiable."""
        mean, sigma = self.decode()
        which = torch.stack([torch.randint(mean.shape[1], (n, 1), generator=g) for g in generators]).expand(-1, -1, 2)
        noise = torch.stack([torch.randn(n, 2, generator=g, dtype=mean.dtype) for g in generators])
        return mean.gather(1, which) + sigma.gather(1, which) * noise


def train(
    data: toy2d.Density, steps: int, *, coverage: float = 1.0, quality: float | Sequence[float] = 0.0,
    seeds: Sequence[int] = (0, 1, 2),
) -> PlaneModels:  # fmt: skip
    """One model per seed by `coverage` L_C + `quality` L_Q, the latter one number or one per model; weights averaged
    over the last steps, float64. Adam for model and critic alike, its rate falling to 0 over the second half."""
    weights = tuple(float(q) for q in ([quality] * len(seeds) if isinstance(quality, int | float) else quality))
    points = data.sample(POINTS, torch.Generator().manual_seed(toy2d.SEED)).float()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    models = PlaneModels(generators)
    critic = Nets([2, WIDTH, WIDTH, 1], lambda h: leaky_relu(h, 0.2), math.sqrt(2), generators)

    def real() -> Tensor:
        return points[torch.stack([torch.randint(POINTS, (BATCH,), generator=g) for g in generators])]

    def logits(x: Tensor) -> Tensor:
        return critic(ZOOM * x).squeeze(-1)

    optimiser, critics = (
        torch.optim.Adam(net.parameters(), LEARNING_RATE, BETAS, fused=True) for net in (models, critic)
    )
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(used, lambda k: min(1.0, 2 * (1 - k / steps)))
        for used in ((optimiser, critics) if any(weights) else (optimiser,))
    ]
    average = AveragedModel(models, multi_avg_fn=get_ema_multi_avg_fn(EMA))
    for _ in range(steps):
        if any(weights):
            with torch.no_grad():
                fake = models.draw(BATCH, generators)
            of_real, of_fake = logits(torch.cat([real(), fake], 1)).split(BATCH, 1)
            loss = len(seeds) * losses.discriminator_loss(of_real, of_fake)  # a sum: models stay independent
            critics.zero_grad()
            loss.backward()
            critics.step()
        loss = torch.zeros(())
        if coverage:
            loss = loss - coverage * models.log_prob(real()).mean(1).sum()
        if any(weights):
            with frozen(critic):
                fakes = logits(models.draw(BATCH, generators))
            loss = loss + sum(q * losses.quality_loss(fake) for q, fake in zip(weights, fakes, strict=True))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for schedule in schedules:
            schedule.step()
        average.update_parameters(models)
    return average.module.double().requires_grad_(False)


# --- checks --------------------------------------------------------------------------------------------------


def likelihood_checks(models: PlaneModels, lattice: Lattice) -> HTML:
    """ln p_theta of the first model, as training computes it, against the package's losses and torch's mixture; and
    its integral."""
    x = lattice.data.sample(2000, torch.Generator().manual_seed(1))
    mean, sigma = (v[0] for v in models.decode())
    log_p = models.log_prob(x)[0]
    each = torch.stack([losses.gaussian_log_density(x, m, s.log()) for m, s in zip(mean, sigma, strict=True)])
    mixture = MixtureSameFamily(Categorical(torch.ones(len(mean))), Independent(Normal(mean, sigma), 1))
    mass = lattice.distance(lattice.log_density(models.log_prob)[0]).mass
    lines = [
        ("−ln p_θ(x), cqlib.losses, z by z", (losses.importance_weighted(each) + log_p).abs().max()),
        ("ln p_θ(x), torch.distributions", (mixture.log_prob(x) - log_p).abs().max()),
        ("integral of p_θ, against 1", mass - 1),
    ]
    return table("The likelihood of a model, 2,000 points", {"Against": None, "largest difference": difference}, lines)


def equation_checks(systems: Mapping[str, PlaneModels], lattice: Lattice) -> HTML:
    """For the first model of each: Eqs. (1) to (3) by means over points, beside integrals over the plane."""
    lines: list[tuple[str, str | float, float]] = []
    for label, models in systems.items():
        real = lattice.data.sample(CHECK_POINTS, torch.Generator().manual_seed(1))
        generators = [torch.Generator().manual_seed(2 + k) for k in range(len(models.z))]
        generated = models.draw(CHECK_POINTS, generators)[0]
        log_q = lattice.log_density(models.log_prob)[0]
        distance = lattice.distance(log_q)
        of_real, of_generated = (lattice.data.log_prob(x) - models.log_prob(x)[0] for x in (real, generated))
        js = lattice.jensen_shannon(log_q)
        lines += [
            (f"{label}: L_C − H(p) = KL(p ‖ p_θ)", mean_and_error(of_real), distance.coverage),
            (f"{label}: L_Q at D* = KL(p_θ ‖ p)", mean_and_error(-of_generated), distance.quality),
            (f"{label}: −Eq. (1) at D* = 2 ln 2 − 2 JS", float(losses.discriminator_loss(of_real, of_generated)),
             2 * math.log(2) - 2 * js),
        ]  # fmt: skip
    columns = {"Equation": None, "mean": 3, "integral": 3}
    return table(f"Means over {CHECK_POINTS:,} points, and integrals; nats", columns, lines)
