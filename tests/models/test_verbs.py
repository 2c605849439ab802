"""What a model does for its user beside sampling: codes, reconstructions, paths between images, probabilities; and its
losses by way of `forward`, which wrappers of modules call."""

import pytest
import torch
from small_models import generator, images, system
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from cqlib.models.registry import SYSTEMS
from cqlib.pixels import cell_centres, to_uint8

ROWS = ("table1/vae", "table1/vae-f", "table1/cq-f", "table2/cqf-residual", "extra/vae-full-covariance")


class FirstPixels(nn.Module):
    """An encoder whose codes can be read off an image."""

    def forward(self, v):
        return v.flatten(1)[:, :16], torch.zeros(len(v), 16)


def test_the_code_is_the_mean_of_q():
    model, x = system("table1/vae"), images(3)
    model.encoder = FirstPixels()
    assert torch.equal(model.encode(x), cell_centres(x).flatten(1)[:, :16])
    assert torch.equal(to_uint8(model.encode(x)), x.flatten(1)[:, :16])


@pytest.mark.parametrize("row", ROWS)
def test_a_reconstruction_is_the_image_of_the_mean_at_the_code(row):
    model, x = system(row, shake=0.005).eval(), images(3)
    code = model.encode(x, generator=generator(1))
    found = model.reconstruct(x, generator=generator(1))
    assert found.shape == x.shape and not found.requires_grad
    torch.testing.assert_close(found, model.image(model.decode(code)[0]).clamp(-1, 1))


def test_a_reconstruction_at_temperature_1_has_the_noise_of_the_decoder():
    model, x = system("table1/vae", sigma="shared"), images(1).expand(4000, -1, -1, -1)
    with torch.no_grad():
        model.shared_sigma.fill_(-2)
        sigma = model.decode(model.encode(x[:1]))[1].exp().mean()
    residual = model.reconstruct(x, temperature=1, generator=generator(0)) - model.reconstruct(x)
    assert residual.std() == pytest.approx(float(sigma), rel=0.01)


@pytest.mark.parametrize("row", ["table1/cq-f", "table2/cqf-residual"])
def test_a_path_is_straight_in_the_codes_and_leads_from_image_to_image(row):
    model, a, b = system(row, shake=0.005).eval(), images(2), images(2, seed=1)
    path = model.interpolate(a, b, 3, generator=generator(1))
    draws = generator(1)
    start, end = model.encode(a, generator=draws), model.encode(b, generator=draws)
    assert path.shape == (2, 3, *model.shape)
    for k, z in enumerate((start, (start + end) / 2, end)):
        torch.testing.assert_close(path[:, k], model.image_at(z))
    for one, other, steps in ((a, b[:1], 3), (a, b, 1)):
        with pytest.raises(ValueError, match="as many images a as b, and 2 or more steps"):
            model.interpolate(one, other, steps)


@pytest.mark.parametrize("row", ["table1/cq-f", "table3/nvp", "table3/pixelcnnpp"])
def test_log_prob_is_minus_the_nats(row):
    model, x = system(row).eval(), images(2)
    found = model.log_prob(x, importance_samples=3, generator=generator(2))
    assert found.shape == (2,) and torch.equal(found, -model.nats(x, importance_samples=3, generator=generator(2)))
    for wrong in (x.float(), x[0], x[..., 1:], x.long()):
        with pytest.raises(ValueError, match="uint8"):
            model.log_prob(wrong)


def test_a_model_whose_codes_need_more_says_so():
    with pytest.raises(TypeError, match="call colourise"):
        system("extra/cq-f-conditional").reconstruct(images(1))


@pytest.mark.parametrize("row", ["table1/cq-f", "table1/gan", "table3/improved-gan"])
def test_forward_gives_the_losses_of_a_part(row):
    model, x = system(row), images(4)
    labels = {"labels": torch.arange(4)} if model.uses_labels else {}
    for part, losses_of in (
        ("generator", model.generator_losses),
        ("critic", lambda x, **labels: model.critic_losses(x, step=3, **labels)),
    ):
        torch.manual_seed(0)
        expected = losses_of(x, **labels)
        torch.manual_seed(0)
        assert model(x, part, **({"step": 3} if part == "critic" else {}), **labels) == expected


def test_an_unknown_part_is_told_in_one_line():
    with pytest.raises(ValueError, match="of a CoverageQuality, part is 'generator', not 'critic'"):
        system("table1/vae")(images(2), "critic")
    with pytest.raises(ValueError, match="part is 'generator' or 'critic', not 'decoder'"):
        system("table1/cq-f")(images(2), "decoder")


def test_no_system_hides_forward():
    assert {kind for kind in SYSTEMS.values() if "forward" in vars(kind)} == set()


def test_wrapped_for_several_processes_a_model_has_the_same_gradients(tmp_path):
    model, x = system("table1/cq-f"), images(4)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(model, find_unused_parameters=True)
        for part in ("critic", "generator"):
            gradients = []
            for run in (model, wrapped):
                torch.manual_seed(0)
                model.zero_grad()
                run(x, part)["total"].backward()
                gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
            for name, gradient in gradients[0].items():
                torch.testing.assert_close(gradients[1][name], gradient)
    finally:
        distributed.destroy_process_group()


def test_compiled_a_model_has_the_same_losses():
    """Traced by torch and run as it is, which needs no compiler of C++."""
    model, x = system("table1/cq-f"), images(4)
    compiled = torch.compile(model, backend="eager")
    for part in ("critic", "generator"):
        totals = []
        for run in (model, compiled):
            torch.manual_seed(0)
            totals.append(run(x, part)["total"])
        torch.testing.assert_close(*totals)
