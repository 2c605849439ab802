"""examples/cqf.py computes what the package computes: its equations around the package's nets, digit for digit."""

import pytest
import torch
from scripts import script
from torch import nn

from cqlib import losses
from cqlib.models.cq import CoverageQuality, CoverageQualityConfig, CriticConfig
from cqlib.nets.coupling import FlowConfig, join_checkerboard, split_checkerboard
from cqlib.pixels import LN_LEVELS, dequantise

N = 6


@pytest.fixture(scope="module")
def cqf():
    return script("examples/cqf.py")


@pytest.fixture
def package(cqf):
    """The package's CQ-F, moved away from its start, where f is a rotation of colours."""
    torch.manual_seed(0)
    critic = CriticConfig((8, 16, 32), penalty_weight=1.0)
    literal = {"critic_input": "sample", "flow_updated_by": "both", "quality_weight": cqf.LAMBDA}
    config = CoverageQualityConfig(16, (8, 16, 32), 64, flow=FlowConfig(3, 8, 1), critic=critic, **literal)
    system = CoverageQuality(config)
    with torch.no_grad():
        for p in system.parameters():
            p.add_(0.1 * torch.randn_like(p))
        system.critic.head.weight.mul_(100)  # lambda L_Q as large as L_C
    return system


class AtFullResolution(nn.Module):
    """A coupling net of the package, which sees one colour packed, as the example's: it sees the other colour as 0."""

    def __init__(self, net, kept):
        super().__init__()
        self.net, self.kept = net, kept

    def forward(self, x):
        t, log_s = self.net(split_checkerboard(x)[self.kept])
        raw = 4 * torch.atanh(log_s / 4)
        zero = torch.zeros_like(t)
        return torch.cat([join_checkerboard(*((zero, y) if self.kept == 0 else (y, zero))) for y in (t, raw)], dim=1)


class InOne(nn.Module):
    """The package's encoder with both outputs in one tensor."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return torch.cat(self.encoder(x), dim=1)


@pytest.fixture
def example(cqf, package):
    """The example's CQF around the package's nets: they share their parameters."""
    model = cqf.CQF()
    model.encoder, model.decoder = InOne(package.encoder), package.decoder
    model.flow = cqf.Flow(AtFullResolution(c.net, k % 2) for k, c in enumerate(package.flow.couplings))
    del model.flow.colours
    model.flow.colours = torch.stack([convolution.weight for convolution in package.flow.colours])
    return model


@pytest.fixture
def pixels():
    return torch.randint(256, (N, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_f_its_determinant_and_its_inverse(example, package, pixels):
    x = dequantise(pixels)
    (y, log_det), (expected, of_package) = example.flow(x), package.flow(x)
    assert (expected - x).abs().max() > 0.1 and of_package.abs().min() > 0.1
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(log_det, of_package)
    torch.testing.assert_close(example.flow.inverse(y), x, atol=1e-5, rtol=0)


def test_own_coupling_nets_give_the_jacobian_that_they_say(cqf):
    torch.manual_seed(2)
    flow = cqf.CQF().flow.double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.2 * torch.randn_like(p))
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow(x)[0], x).reshape(48, 48)
    y, log_det = flow(x)
    assert log_det.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), rel=1e-9)
    assert abs(log_det.item()) > 0.1
    torch.testing.assert_close(flow.inverse(y), x)


def test_the_log_density_of_equation_8(example, package, pixels):
    x, z = dequantise(pixels), torch.randn(N, 64)
    torch.testing.assert_close(example.log_density(x, z), package.log_density(x, z))


def test_samples(example, package):
    torch.manual_seed(3)
    x = example.sample(N)
    torch.manual_seed(3)
    torch.testing.assert_close(x, package.generate(N))


def test_all_of_the_model_learns_by_l_c_and_lambda_l_q(cqf, example, package, pixels):
    torch.manual_seed(4)
    expected = package.generator_losses(pixels)["total"]
    expected.backward()
    gradients = {name: p.grad for name, p in package.named_parameters() if not name.startswith("critic")}
    package.zero_grad()
    torch.manual_seed(4)
    loss = cqf.model_loss(example, package.critic, cqf.in_cells(pixels))
    assert loss.item() == pytest.approx(expected.item() - 768 * LN_LEVELS, rel=1e-5)
    loss.backward()
    for name, gradient in gradients.items():
        close = 1e-3 * gradient.abs().max()
        torch.testing.assert_close(package.get_parameter(name).grad, gradient, rtol=1e-3, atol=close)


def test_the_critic_learns_by_equation_1_and_a_penalty(cqf, example, package, pixels):
    real = dequantise(pixels)
    with torch.no_grad():
        fake = example.sample(N)
    torch.manual_seed(5)
    loss = cqf.critic_loss(package.critic, real, fake)
    torch.manual_seed(5)
    expected = losses.discriminator_loss(package.critic(real), package.critic(fake))
    torch.testing.assert_close(loss, expected + losses.gradient_penalty(package.critic, real, fake))


def test_it_trains_and_draws(cqf, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    real, trained = torch.optim.Adam, []

    def adam(parameters, **options):
        trained.append([(p, p.detach().clone()) for p in parameters])
        return real([p for p, _ in trained[-1]], **options)

    monkeypatch.setattr(torch.optim, "Adam", adam)
    cqf.main(2)
    of_model, of_critic = ([not torch.equal(p, start) for p, start in net] for net in trained)
    assert all(of_model) and all(of_critic)
    bits = float(capsys.readouterr().out.split()[2])
    assert 8 < bits < 20 and (tmp_path / "cqf.png").is_file()
