"""Every row: samples, losses and gradients of its system at every size, and a training that resumes bit for bit."""

import math
from dataclasses import replace

import pytest
import torch
from small_models import StopAfter, flat, generator, images, labels, recipe, system, touched, trained

from cqlib.data import IMAGE_SIZES
from cqlib.models.base import LikelihoodSystem
from cqlib.models.gan_baseline import GANBaseline
from cqlib.models.registry import RECIPES, SYSTEMS, build_seeded
from cqlib.models.variational import VariationalModel
from cqlib.pixels import cell_centres, to_uint8
from cqlib.suite.experiments.rows import PROFILES
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import StoppedEarly

ROWS = list(RECIPES)
ONE_PER_SYSTEM = list({type(recipe(row).system): row for row in ROWS}.values())
LIKELIHOODS = [row for row in ONE_PER_SYSTEM if issubclass(SYSTEMS[type(recipe(row).system)], LikelihoodSystem)]
BASELINES = [row for row in ROWS if issubclass(SYSTEMS[type(recipe(row).system)], GANBaseline)]
PIXEL_BY_PIXEL = ("table3/pixelrnn", "table3/pixelcnnpp", "extra/vae-pixelcnn")


def test_a_system_built_apart_has_the_weights_of_its_seed_and_leaves_the_random_state():
    config = recipe("table1/gan").system
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (build_seeded(config, seed) for seed in (1, 2))
    assert torch.equal(torch.rand(3), expected) and not first.training
    assert torch.equal(flat(first), flat(build_seeded(config, 1))) and not torch.equal(flat(first), flat(second))


@pytest.mark.parametrize("profile", PROFILES)
def test_rows_of_table_1_share_their_training_and_gans_have_the_critics_optimiser_for_both_nets(profile):
    trainings = [recipe(f"table1/{name}", profile).training for name in ("vae", "vae-f", "cq", "cq-f")]
    assert all(training == trainings[0] for training in trainings)
    of_critic = trainings[0].critic_betas or trainings[0].betas
    for row in ("table1/gan", "table2/gan-residual"):
        gan = recipe(row, profile).training
        assert (gan.betas, gan.critic_betas or gan.betas) == (of_critic, of_critic)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_every_size_has_samples_and_finite_losses(row, size):
    model, n = system(row, size), 2 if row in BASELINES else 1 + 2 * (size > 16)
    x = images(n, size)
    model.schedule(0, 10)
    model.initialise(x)
    if model.critic is not None:
        assert torch.isfinite(model.critic_losses(x, step=0, **labels(model, n))["total"])
    assert all(torch.isfinite(value) for value in model.generator_losses(x, **labels(model, n)).values())
    if isinstance(model, LikelihoodSystem):
        nats = model.eval().nats(x, importance_samples=2)
        assert nats.shape == (n,) and torch.isfinite(nats).all()
    for temperature in (0.0, 1.0) if row not in PIXEL_BY_PIXEL else ():
        sample = model.sample(n, temperature=temperature)
        assert sample.shape == x.shape and sample.abs().max() <= 1 and sample.std() > 0


@pytest.mark.parametrize("row", LIKELIHOODS)
def test_samples_in_place_of_8_bit_images_have_no_nats(row):
    with pytest.raises(ValueError, match="pixels are uint8"):
        system(row).nats(torch.zeros(2, 3, 16, 16))


@pytest.mark.parametrize("row", LIKELIHOODS)
def test_an_image_alone_and_in_a_batch_has_the_same_nats(row, monkeypatch):
    model, x = system(row, shake=0.02).double().eval(), images(3)
    if isinstance(model, VariationalModel):
        continuous = model.continuous
        monkeypatch.setattr(model, "continuous", lambda *of: continuous(*of).double())
    for name in ("randn", "rand"):  # the same noise for every image
        monkeypatch.setattr(torch, name, lambda *n, **_: torch.full(n[0] if len(n) == 1 else n, 0.5).double())
    with torch.no_grad():
        alone = torch.cat([model.nats(one) for one in x.split(1)])
        torch.testing.assert_close(model.nats(x), alone, rtol=1e-10, atol=0)


@pytest.mark.parametrize("row", LIKELIHOODS)
def test_k_draws_give_the_log_of_the_mean_of_their_weights(row):
    model, x, g = system(row, shake=0.02).eval(), images(3), generator()
    with torch.no_grad():
        singles = torch.stack([model.nats(x, generator=g) for _ in range(8)])
        together = model.nats(x, importance_samples=8, generator=generator())
    torch.testing.assert_close(together, math.log(8) - torch.logsumexp(-singles, 0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("row", [row for row in ONE_PER_SYSTEM if row != "extra/cq-f-conditional"])
def test_grey_images(row):
    model, x = system(row, image_channels=1), images(2, channels=1)
    assert row in PIXEL_BY_PIXEL or model.sample(2).shape == x.shape
    assert torch.isfinite(model.generator_losses(x, **labels(model, 2))["total"])
    if model.critic is not None:
        assert torch.isfinite(model.critic_losses(x, step=0, **labels(model, 2))["total"])


@pytest.mark.parametrize("row", ROWS)
def test_each_loss_trains_its_own_net_and_all_of_it(row):
    model, x = system(row, shake=0.02), images()
    ours, critics = model.generator_parameters(), model.critic_parameters()
    assert {id(p) for p in [*ours, *critics]} == {id(p) for p in model.parameters()}
    model.generator_losses(x, **labels(model, 4))["total"].backward()
    growing = row == "table3/prog-gan"  # fully grown, it does not use the coarse images
    assert (growing or all(p.grad is not None and p.grad.any() for p in ours)) and not touched(model.critic)
    if model.critic is not None:
        model.zero_grad(set_to_none=True)
        model.critic_losses(x, step=0, **labels(model, 4))["total"].backward()
        assert growing or all(p.grad is not None for p in critics)
        assert touched(model.critic) and all(p.grad is None for p in ours)


@pytest.mark.parametrize("row", ONE_PER_SYSTEM)
def test_samples_come_from_the_generator_alone_and_change_nothing(row):
    model = system(row, 8 if row in ("table3/pixelrnn", "table3/pixelcnnpp") else 16).eval()
    before, state = flat(model), torch.get_rng_state()
    sample = model.sample(2, generator=generator())
    assert torch.equal(sample, model.sample(2, generator=generator())) and not sample.requires_grad
    assert not torch.equal(sample, model.sample(2, generator=generator(2)))
    assert torch.equal(flat(model), before) and torch.equal(torch.get_rng_state(), state)
    cold = model.sample(2, temperature=0.0, generator=generator())
    assert torch.equal(cold, sample) != isinstance(model, VariationalModel)
    if row in PIXEL_BY_PIXEL:
        assert torch.equal(sample, cell_centres(to_uint8(sample)))


@pytest.mark.parametrize("row", ONE_PER_SYSTEM)
def test_losses_are_fp32_under_autocast(row):
    model, x = system(row), images()
    model.schedule(0, 10)
    losses = [model.generator_losses] + ([model.critic_losses] if model.critic is not None else [])
    for k, loss in enumerate(losses):
        with torch.autocast("cpu", torch.bfloat16):
            total = loss(x, **({"step": 0} if k else {}), **labels(model, 4))["total"]
        total.backward()
        assert total.dtype == torch.float32 and torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("row", ONE_PER_SYSTEM)
def test_training_resumes_bit_for_bit_and_its_weights_survive_a_file(row, tmp_path):
    r = recipe(row)
    training = replace(r.training, steps=3, batch_size=2, generator_batch=None, n_critic=min(r.training.n_critic, 2))
    whole = trained(system(row), training, tmp_path / "whole")
    with pytest.raises(StoppedEarly):
        trained(system(row), training, tmp_path / "parts", StopAfter(2))
    assert torch.equal(flat(trained(system(row), training, tmp_path / "parts")), flat(whole))
    assert not torch.equal(flat(whole), flat(system(row)))
    save_checkpoint(tmp_path / "model.safetensors", dict(whole.state_dict()))
    loaded = system(row, seed=5).eval()
    loaded.load_state_dict(load_checkpoint(tmp_path / "model.safetensors"))
    assert torch.equal(flat(loaded), flat(whole))


@pytest.mark.parametrize("row", BASELINES)
def test_codes_of_the_baselines_are_normal_and_their_images_bounded(row):
    model = system(row).eval()
    sample = model.sample(2, generator=generator())
    z = torch.randn(2, model.config.latent, generator=generator())
    assert torch.equal(sample, model.decode(z)) and torch.equal(model.prior(2, generator()), z)
    for p in list(model.generator.parameters())[-2:]:
        p.data.mul_(1e3)
    assert model.decode(z).abs().max() <= 1
