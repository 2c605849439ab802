"""BatchGAN: the critic is symmetric at every layer, batches are mixed, and the loss is that of the ratio."""

import math
from itertools import product

import pytest
import torch
from small_models import images, shaken, system
from torch import nn

from cqlib import losses
from cqlib.models.batchgan import BatchGAN, SymmetricCritic, SymmetricLayer, ratio_loss, symmetric_conv

BGAN, MBGAN = "table3/batchgan", "extra/m-batchgan"


def symmetric_linear(a, b):
    return SymmetricLayer(torch.nn.Linear(a, b), torch.nn.Linear(a, b, bias=False))


# --- the symmetric critic ------------------------------------------------------------------------------------


def test_every_layer_has_a_mean_over_the_batch_and_nothing_else_mixes_images():
    net = shaken(SymmetricCritic(16, (6, 8, 10)).double(), 0.1, seed=0)
    y = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    other = torch.cat([y[:4], torch.randn_like(y[4:])])
    assert (net(other)[:4] - net(y)[:4]).abs().min() > 1e-4
    symmetric = [m for m in net.modules() if isinstance(m, SymmetricLayer)]
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 * len(symmetric) == 2 * (1 + 2 * 2 + 1)
    with torch.no_grad():
        for layer in symmetric:
            layer.batch.weight.zero_()
    torch.testing.assert_close(net(other)[:4], net(y)[:4])


def test_layers_compute_their_formula():
    torch.manual_seed(0)
    for layer, x in ((symmetric_conv(3, 5, 4, stride=2), torch.randn(4, 3, 8, 8)),
                     (symmetric_linear(6, 2), torch.randn(3, 6))):  # fmt: skip
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        b = layer.own.bias.view(-1, *[1] * (x.dim() - 2))
        mean = sum(x) / len(x)
        root = math.sqrt(len(x) / (len(x) + 1))
        y = layer(x)
        for i, x_i in enumerate(x):
            together = layer.own(x_i[None])[0] - b + layer.batch(mean[None])[0]
            torch.testing.assert_close(y[i], b + root * together)


@pytest.mark.parametrize("n", [1, 2, 64])
def test_layers_preserve_the_variance_whatever_the_batch(n):
    torch.manual_seed(0)
    layer = symmetric_linear(2000, 2000)
    nn.init.kaiming_normal_(layer.batch.weight, a=0.1)
    gain = 2 / (1 + 0.1**2)  # of weights meant for inputs behind a leaky ReLU
    assert layer(torch.randn(n, 2000)).var().item() == pytest.approx(gain, rel=0.1)


# --- mixed batches and the ratio -----------------------------------------------------------------------------


def test_two_mixed_batches_share_out_all_images():
    model = system(BGAN)
    real, fake = torch.full((9, 3, 2, 2), 1.0), torch.full((9, 3, 2, 2), -1.0)
    (first, r), (second, s) = model.mixed(real, fake)
    is_real = first[:, 0, 0, 0] > 0
    assert r == is_real.float().mean() and r + s == 1
    assert torch.equal(first, torch.where(is_real.view(-1, 1, 1, 1), real, fake))
    assert torch.equal(second, -first)


@pytest.mark.parametrize("smoothing", [1.0, 5.0])
def test_the_number_of_real_images_follows_the_beta_binomial_law(smoothing):
    model, n, draws = system(BGAN, smoothing=smoothing), 4, 2000
    x = torch.zeros(n, 1, 1, 1)
    counts = torch.stack([(n * model.mixed(x, x)[0][1]).round().long() for _ in range(draws)]).bincount(minlength=n + 1)

    def beta(a, b):
        return math.exp(math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))

    law = [math.comb(n, k) * beta(k + smoothing, n - k + smoothing) / beta(smoothing, smoothing) for k in range(n + 1)]
    if smoothing == 1:
        assert law == pytest.approx([1 / (n + 1)] * (n + 1))
    for count, p in zip(counts.tolist(), law, strict=True):
        assert abs(count - draws * p) < 4 * math.sqrt(draws * p * (1 - p))


def test_the_two_losses_are_their_formulas():
    logits, ratio = torch.randn(8, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)

    def cross_entropy(d):
        return -ratio * d.log() - (1 - ratio) * (1 - d).log()

    torch.testing.assert_close(ratio_loss(logits, ratio, "logits"), cross_entropy(logits.mean().sigmoid()))
    torch.testing.assert_close(ratio_loss(logits, ratio, "losses"), cross_entropy(logits.sigmoid()).mean())
    assert ratio_loss(logits, ratio, "losses") > ratio_loss(logits, ratio, "logits")  # Jensen
    right = torch.full((8,), math.log(0.3 / 0.7), dtype=torch.float64)
    entropy = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    for average in ("logits", "losses"):
        assert ratio_loss(right, ratio, average).item() == pytest.approx(entropy)


def best_loss(p_data, p_made, n=3):
    """The least loss of a critic of n images of one bit, over all 2^n batches; and the prediction at it."""
    joint = {}
    for beta, y in product(product((0, 1), repeat=n), repeat=2):
        real = sum(beta)
        mass = 1 / ((n + 1) * math.comb(n, real))  # p uniform
        for b, bit in zip(beta, y, strict=True):
            p = p_data if b else p_made
            mass *= p if bit else 1 - p
        joint.setdefault(y, []).append((mass, real / n))
    total = 0.0
    for cases in joint.values():
        prediction = sum(m * r for m, r in cases) / sum(m for m, _ in cases)
        logit = torch.tensor([math.log(prediction / (1 - prediction))], dtype=torch.float64)
        at = [sum(m * ratio_loss(logit + shift, r, "logits").item() for m, r in cases) for shift in (-0.1, 0.0, 0.1)]
        assert at[1] < at[0] and at[1] < at[2]  # E[r | y] is the best prediction
        total += at[1]
    return total


def test_the_generator_can_do_no_better_than_the_data():
    assert best_loss(0.3, 0.3) == pytest.approx(math.log(2))
    worse = [best_loss(0.3, p) for p in (0.35, 0.5, 0.8)]
    assert math.log(2) - 1e-5 > worse[0] > worse[1] > worse[2]


# --- losses of the system ------------------------------------------------------------------------------------


@pytest.mark.parametrize("row, average", [(BGAN, "logits"), (MBGAN, "losses")])
def test_losses_predict_the_ratio_of_each_mixed_batch(row, average):
    model, x = system(row), images(6)
    seen, mixed = [], []
    original = model.mixed
    model.mixed = lambda real, fake: mixed.append(original(real, fake)) or mixed[-1]
    model.critic.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    terms = model.critic_losses(x, step=1)
    del seen[2:]  # the penalty's
    expected = sum(ratio_loss(l_i, r, average) for (_, l_i), (_, r) in zip(seen, mixed[0], strict=True))
    torch.testing.assert_close(terms["discriminator"], expected)
    torch.testing.assert_close(terms["total"], expected + model.config.penalty_weight * terms["gradient_penalty"])
    assert all(torch.equal(y, batch) for (y, _), (batch, _) in zip(seen, mixed[0], strict=True))
    seen.clear()
    total = model.generator_losses(x)["total"]
    logits = [l_i.mean() if average == "logits" else l_i for _, l_i in seen]
    torch.testing.assert_close(total, -sum(l_i.sigmoid().log().mean() for l_i in logits))


def test_of_one_image_it_is_a_gan():
    model, x = system(BGAN), images(1)
    seen = {}
    model.mixed = lambda real, fake: seen.update(real=real, fake=fake) or BatchGAN.mixed(model, real, fake)
    loss = model.critic_losses(x, step=1)["discriminator"]
    real, fake = model.critic(seen["real"]), model.critic(seen["fake"])
    torch.testing.assert_close(loss, losses.discriminator_loss(real, fake))
    loss = model.generator_losses(x)["total"]
    real, fake = model.critic(seen["real"]), model.critic(seen["fake"])
    constant = losses.non_saturating_generator_loss(real)
    torch.testing.assert_close(loss - constant, losses.non_saturating_generator_loss(fake))
