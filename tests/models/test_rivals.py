"""What every rival has in common: G(z) for z ~ N(0, I), two losses that stay apart, a starred BPD, the loop."""

from dataclasses import replace

import pytest
import torch

from cqlib.models import coverage_quality
from cqlib.models.registry import RECIPES, build
from cqlib.nets.conv import BOTTOM
from cqlib.recipe import PROFILES
from cqlib.training.device import to_device
from cqlib.training.loop import train
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import StoppedEarly
from cqlib.util.stop import StopRequest

ROWS = ["table3/dcgan", "table3/sngan", "table3/sngan-hinge", "table3/wgan-gp", "table3/sngan-resnet-hinge"]


def recipe(row, profile="smoke", size=16):
    return RECIPES[row](row, profile, size)


def images(n=4, size=16):
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def system(row, size=16):
    torch.manual_seed(0)
    return build(recipe(row, size=size).system)


def touched(module):
    return any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def flat(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("size", sorted(BOTTOM))
def test_every_size_samples_and_has_finite_losses(row, size):
    model, x = system(row, size), images(2, size)
    sample = model.sample(3)
    assert sample.shape == (3, 3, size, size) and sample.abs().max() <= 1 and sample.std() > 0
    assert all(torch.isfinite(value) for value in model.critic_losses(x, step=0).values())
    assert all(torch.isfinite(value) for value in model.generator_losses(x).values())
    with torch.no_grad():
        model.generator.out.weight.mul_(1e3)
        assert model.decode(model.codes(2)).abs().max() <= 1


@pytest.mark.parametrize("row", ROWS)
def test_grey_images(row):
    torch.manual_seed(0)
    model = build(RECIPES[row](row, "smoke", 16, image_channels=1).system)
    assert model.sample(2).shape == (2, 1, 16, 16)
    assert torch.isfinite(model.critic_losses(images(2)[:, :1], step=0)["total"])


@pytest.mark.parametrize("row", ROWS)
def test_each_loss_reaches_its_own_net_alone(row):
    model = system(row)
    model.critic_losses(images(), step=0)["total"].backward()
    assert touched(model.critic) and not touched(model.generator)
    model.zero_grad()
    model.generator_losses(images())["total"].backward()
    assert touched(model.generator) and not touched(model.critic)
    parameters = [*model.generator_parameters(), *model.critic_parameters()]
    assert {id(p) for p in parameters} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("row", ROWS)
def test_evaluation_changes_nothing(row):
    model = system(row).eval()
    before = flat(model)
    sample = model.sample(2, generator=torch.Generator().manual_seed(1))
    model.critic(sample)
    assert torch.equal(flat(model), before)
    again = model.sample(2, temperature=0.0, generator=torch.Generator().manual_seed(1))
    z = torch.randn(2, model.config.latent, generator=torch.Generator().manual_seed(1))
    assert torch.equal(sample, again) and torch.equal(sample, model.decode(z))  # no decoder noise, z ~ N(0, I)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_training_resumes_bit_for_bit_and_its_weights_survive_a_file(row, ema, tmp_path):
    r = recipe(row)
    training = replace(r.training, steps=4, batch_size=4, generator_batch=None, n_critic=2, ema=ema)

    class StopAtTwo(StopRequest):
        calls = 0

        def reason(self):
            self.calls += 1
            return "a test" if self.calls > 2 else None

    def go(folder, stop=None):
        return train(system(row), images(16), training, seed=1, folder=tmp_path / folder, stop=stop).system

    whole = go("whole")
    with pytest.raises(StoppedEarly):
        go("parts", StopAtTwo())
    assert torch.equal(flat(go("parts")), flat(whole))
    assert not torch.equal(flat(whole), flat(system(row)))
    save_checkpoint(tmp_path / "model.safetensors", dict(whole.state_dict()))
    loaded = to_device(system(row), training, torch.device("cpu")).eval()
    loaded.load_state_dict(load_checkpoint(tmp_path / "model.safetensors"))
    x, z = torch.rand(2, 3, 16, 16) * 2 - 1, whole.codes(2)
    assert torch.equal(loaded.critic(x), whole.critic(x)) and torch.equal(loaded.decode(z), whole.decode(z))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_starred_bpd_takes_half_of_the_vaes_steps(row, profile):
    vae = coverage_quality.recipe("table1/vae", profile, 16).training
    stage = recipe(row, profile).frozen_decoder
    assert stage.training == replace(vae, steps=vae.steps // 2)
    assert profile != "quick" or stage.training.steps <= 750


@pytest.mark.parametrize("row", ROWS)
def test_shorter_profiles_keep_the_papers_optimiser(row):
    paper = recipe(row, "paper").training
    for profile in ("quick", "study"):
        r = recipe(row, profile).training
        kept = ("optimiser", "learning_rate", "betas", "decay_from", "n_critic", "generator_batch", "ema", "flips")
        assert all(getattr(r, name) == getattr(paper, name) for name in kept)
        assert r.steps < paper.steps and r.snapshots == (3 if profile == "quick" else 0)
