"""The models of Tables 1 and 2: bounds that are bounds, gradients that go where the paper says, equal sizes."""

import math

import pytest
import torch
from small_models import generator, images, recipe, system, touched
from torch import nn

from cqlib import losses
from cqlib.models import cq
from cqlib.models.cq import CriticConfig
from cqlib.models.frozen_decoder import FrozenDecoder, FrozenDecoderConfig
from cqlib.models.registry import build
from cqlib.models.variational import VariationalModel
from cqlib.nets.coupling import FlowConfig, RealNVP
from cqlib.pixels import dequantise
from cqlib.suite.experiments.rows import PROFILES

ROWS = [*cq.ROWS, "table1/gan"]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("size", [16, 32])
def test_f_is_paid_for_by_the_other_nets(profile, size):
    with torch.device("meta"):
        systems = {row: build(recipe(row, profile, size).system) for row in ROWS[:4]}
    total = {row: model.parameter_counts()["total"] for row, model in systems.items()}
    assert total["table1/vae"] == total["table1/cq"] and total["table1/vae-f"] == total["table1/cq-f"]
    assert abs(total["table1/vae-f"] / total["table1/vae"] - 1) < 0.02


def test_parameter_counts_add_up():
    model = system("table1/cq-f", shake=0.05)
    counts = model.parameter_counts()
    assert counts["total"] == counts["encoder"] + counts["decoder"] + counts["flow"]
    assert counts["total"] + counts["critic"] == sum(p.numel() for p in model.parameters())


# --- who is trained by what ----------------------------------------------------------------------------------

WITH_F = ("table1/cq-f", "extra/cq-f-conditional")


@pytest.mark.parametrize("critic_input", ["mean", "sample"])
@pytest.mark.parametrize("flow_updated_by", ["both", "coverage"])
@pytest.mark.parametrize("row", WITH_F)
def test_quality_loss_reaches_decoder_not_encoder_and_f_by_the_switch(row, critic_input, flow_updated_by):
    model = system(row, shake=0.05, critic_input=critic_input, flow_updated_by=flow_updated_by)
    model.generator_losses(images())["quality"].backward()
    assert touched(model.decoder) and not touched(model.encoder) and not touched(model.critic)
    assert touched(model.flow) == (flow_updated_by == "both")
    assert all(p.requires_grad for p in model.parameters())  # the switch leaves nothing frozen behind
    model.flow.requires_grad_(False)
    model.generator_losses(images())
    assert not any(p.requires_grad for p in model.flow.parameters())  # nor does it thaw what you froze


def test_a_choice_that_there_is_not_is_no_other_choice():
    for changes in ({"critic_input": "samples"}, {"flow_updated_by": "Coverage"}):
        ((name, value),) = changes.items()
        with pytest.raises(ValueError, match=f"{name} is .* or .*, not '{value}'"):
            system("table1/cq-f", **changes)


def test_flow_updated_by_coverage_gives_the_decoder_the_same_gradient():
    gradients = []
    for switch in ("both", "coverage"):
        model = system("table1/cq-f", shake=0.05, flow_updated_by=switch)
        torch.manual_seed(1)
        cq.quality_loss(model.critic, model.fakes(images(4))).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.decoder.parameters()]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("row", WITH_F)
def test_coverage_loss_reaches_encoder_decoder_and_f_not_the_critic(row):
    model = system(row, shake=0.05)
    model.coverage_losses(images())["coverage"].backward()
    assert touched(model.encoder) and touched(model.decoder) and touched(model.flow) and not touched(model.critic)


def test_total_is_coverage_plus_lambda_times_quality():
    model = system("table1/cq", shake=0.05, quality_weight=7.0)
    terms = model.generator_losses(images())
    torch.testing.assert_close(terms["total"], terms["coverage"] + 7.0 * terms["quality"])
    terms = system("table1/vae", shake=0.05).generator_losses(images())
    assert terms["total"] is terms["coverage"] and "quality" not in terms


def test_lazy_penalty_comes_every_kth_step_with_k_times_the_weight():
    model = system("table1/cq", shake=0.05, critic=CriticConfig((8, 16, 32), penalty_weight=3.0, penalty_every=4))
    x = images()
    assert "gradient_penalty" not in model.critic_losses(x, step=1)
    torch.manual_seed(5)
    terms = model.critic_losses(x, step=8)
    torch.testing.assert_close(terms["total"], terms["discriminator"] + 12 * terms["gradient_penalty"])
    torch.manual_seed(5)
    between = losses.gradient_penalty(model.critic, dequantise(x), model.fakes(x))
    torch.testing.assert_close(terms["gradient_penalty"], between)


def test_critic_input_says_what_the_critic_sees():
    for row in ("table1/cq", "table1/cq-f"):
        mean, sample = (system(row, shake=0.05, critic_input=c) for c in ("mean", "sample"))
        fakes = []
        for model in (mean, sample):
            torch.manual_seed(5)
            fakes.append(model.fakes(images(2)))
        torch.manual_seed(5)
        z = torch.randn(2, mean.config.latent)
        torch.testing.assert_close(fakes[0], mean.image(mean.decode(z)[0]))
        assert (fakes[0] - fakes[1]).abs().mean() > 1e-2


@pytest.mark.parametrize("row", ["table1/vae", "table1/cq-f"])
def test_temperature_scales_the_noise_of_y_alone_and_at_1_it_is_the_densitys(row):
    model = system(row, shake=0.05)
    x = [model.generate(32, temperature=t, generator=generator(2)) for t in (0.0, 0.5, 1.0)]
    low, middle, high = (model.features(v)[0] for v in x)
    torch.testing.assert_close(middle - low, (high - low) / 2, rtol=0, atol=1e-3)
    z = model.prior(32, generator(2))
    mean, log_sigma = model.decode(z)
    torch.testing.assert_close(low, mean, rtol=0, atol=1e-3)
    noise, log_det = torch.distributions.Normal(mean, log_sigma.exp()), model.features(x[2])[1]
    expected = log_det - noise.entropy().flatten(1).sum(1)  # of ln p(x|z), whose spread is that of e^2 / 2
    excess = (model.log_density(x[2], z) - expected).mean() / 768
    assert abs(excess) < 5 * (0.5 / (32 * 768)) ** 0.5


# --- likelihoods ---------------------------------------------------------------------------------------------


class Tiny(VariationalModel):
    """z ~ N(0, 1), v ~ N(a z + b, s^2 I) over D pixels: everything in closed form; q may be wrong on purpose."""

    def __init__(self, dimensions=1, a=0.5, b=0.1, s=0.3, q_shift=0.0, q_scale=1.0):
        super().__init__()
        self.a, self.b, self.s = a, b, s
        self.unused = nn.Parameter(torch.zeros(()))
        precision = 1 + dimensions * a**2 / s**2

        def q(v):
            mean = a / s**2 * (v - b).flatten(1).sum(1, keepdim=True) / precision
            return mean + q_shift, torch.full_like(mean, math.log(q_scale**2 / precision))

        self.encoder = q

    def log_density(self, v, z):
        mean = self.a * z[:, :, None, None] + self.b
        return torch.distributions.Normal(mean, self.s).log_prob(v).flatten(1).sum(1)

    def probability(self, x):
        """P(x) of one pixel: the mass of N(b, a^2 + s^2) on its cell."""
        normal = torch.distributions.Normal(self.b, math.hypot(self.a, self.s))
        low = x.double() / 128 - 1
        return normal.cdf(low + 1 / 128) - normal.cdf(low)


ALL_PIXELS = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1)


def mean_nats(model, x, k, repeats, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draws = [model.nats(x, importance_samples=k, generator=generator).double() for _ in range(repeats)]
    return torch.stack(draws).mean(0)


def test_exact_posterior_gives_the_exact_probability():
    """With q = p(z|x) every weight is p(x + u) and -ln P differs from the bound by dequantisation alone."""
    model = Tiny()
    truth = -model.probability(ALL_PIXELS).log().flatten()
    torch.testing.assert_close(mean_nats(model, ALL_PIXELS, 1, 50), truth, atol=5e-3, rtol=0)


def test_bounds_are_ordered_elbo_above_importance_weighted_above_truth():
    model = Tiny(q_shift=0.4, q_scale=1.5)
    x = ALL_PIXELS[::16]
    truth = -model.probability(x).log().flatten().mean()
    bounds = [mean_nats(model, x, k, 512 // k).mean() for k in (1, 4, 16)]
    assert all(a > b for a, b in zip(bounds, bounds[1:], strict=False))
    assert bounds[0] > truth + 0.1 and truth - 0.02 < bounds[-1] < truth + 0.15


def test_elbo_is_the_truth_plus_the_kl_of_q_and_the_posterior():
    shift, scale = 0.4, 1.5
    model = Tiny(q_shift=shift, q_scale=scale)
    posterior_sd = (1 + model.a**2 / model.s**2) ** -0.5
    q = torch.distributions.Normal(shift, scale * posterior_sd)
    gap = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, posterior_sd)).item()
    truth = -model.probability(ALL_PIXELS).log().mean().item()
    assert mean_nats(model, ALL_PIXELS, 1, 400).mean().item() == pytest.approx(truth + gap, abs=0.02)


def test_the_probabilities_of_a_real_model_sum_to_the_share_of_its_samples_that_are_images():
    """VAE-F's decoder on grey images of 2 x 2 pixels. A weight is P(x) on average, so that the mean over uniform x of
    256^4 weights is the sum over all x: the mass of [-1, 1)^4, which the share of samples there is too."""
    torch.manual_seed(0)

    class Small(VariationalModel):
        def __init__(self):
            super().__init__()
            self.encoder_net = nn.Linear(4, 4)
            self.decoder = nn.Linear(2, 8)
            self.flow = RealNVP(1, FlowConfig(2, 4, 1))
            with torch.no_grad():
                for p in self.parameters():
                    p.add_(0.2 * torch.randn_like(p))
            self.encoder = lambda v: self.encoder_net(v.flatten(1)).chunk(2, dim=1)

        def features(self, z):
            return self.decoder(z).view(-1, 2, 2, 2).chunk(2, dim=1)

        def log_density(self, v, z):
            return losses.decoder_log_density(*self.flow(v), *self.features(z))

    model, source = Small().eval(), generator(0)
    x = torch.randint(0, 256, (60_000, 1, 2, 2), dtype=torch.uint8, generator=source)
    with torch.no_grad():
        mass = (model.log_weight(x, source).double() + 4 * math.log(256)).exp().mean()
        mean, log_sigma = model.features(torch.randn(100_000, 2, generator=source))
        samples = model.flow.inverse(mean + log_sigma.exp() * torch.randn(mean.shape, generator=source))
    share = ((samples >= -1) & (samples < 1)).flatten(1).all(1).double().mean()
    assert 0.1 < share < 0.15
    torch.testing.assert_close(mass, share, rtol=0.08, atol=0)


@pytest.mark.parametrize("row", ["table1/vae", "table1/cq-f", "table2/cqf-residual", "table2/cqf-iaf-residual"])
def test_training_loss_and_evaluation_agree(row):
    """L_C with the closed-form KL, and the Monte-Carlo ELBO, have one expectation."""
    model = system(row, shake=0.05)
    x = images(2).repeat(8, 1, 1, 1)
    torch.manual_seed(3)
    with torch.no_grad():
        trained = torch.stack([model.coverage_losses(x)["coverage"] for _ in range(16)])
        evaluated = torch.stack([model.nats(x).mean() for _ in range(16)])
    error = 4 * math.hypot(trained.std(), evaluated.std()) / 16**0.5
    assert abs(trained.mean() - evaluated.mean()) < error


# --- GAN and the BPD around it ---------------------------------------------------------------------------------


def frozen():
    generator = system("table1/gan", shake=0.05)
    config = FrozenDecoderConfig(16, (8, 16, 32), 16)
    torch.manual_seed(1)
    return FrozenDecoder(config, generator), generator


def test_frozen_decoder_trains_encoder_and_sigma_only():
    model, generator = frozen()
    trained = {id(p) for p in model.generator_parameters()}
    assert trained == {id(p) for p in model.encoder.parameters()} | {id(model.log_sigma)}
    model.generator_losses(images())["total"].backward()
    assert touched(model.encoder) and model.log_sigma.grad.abs() > 0 and not touched(generator)
    model.train()
    assert not generator.training and model.encoder.training


def test_frozen_decoder_density_is_isotropic_round_the_generator():
    model, generator = frozen()
    z, v = torch.randn(2, 16), torch.rand(2, 3, 16, 16)
    expected = torch.distributions.Normal(generator.decode(z), model.log_sigma.exp()).log_prob(v)
    torch.testing.assert_close(model.log_density(v, z), expected.flatten(1).sum(1))


def test_samples_of_the_frozen_decoder_are_the_generators_and_noise_of_temperature_times_sigma():
    model, generator = frozen()
    with torch.no_grad():
        model.log_sigma.fill_(math.log(0.02))
    clean, noisy = (model.sample(8, temperature=t, generator=torch.Generator().manual_seed(0)) for t in (0.0, 0.5))
    assert torch.equal(clean, generator.sample(8, generator=torch.Generator().manual_seed(0)))
    assert (noisy - clean)[clean.abs() < 0.9].std().item() == pytest.approx(0.01, rel=0.05)


def test_sigma_of_the_frozen_decoder_has_a_floor():
    model, _ = frozen()
    with torch.no_grad():
        model.log_sigma.fill_(-50.0)
    assert model._log_sigma().exp().item() == pytest.approx(1 / 256)
    assert torch.isfinite(model.nats(images(2))).all()
