"""Improved Training GAN: the K + 1 objective with and without labels, the switches, and the authors' nets."""

import pytest
import torch
from small_models import images, system
from torch import nn

from cqlib import losses
from cqlib.models.improved_gan import labelled_loss, unlabelled_loss
from cqlib.pixels import cell_centres
from cqlib.recipe import TrainingConfig
from cqlib.training.loop import train
from cqlib.util.errors import UserError

LABELLED, UNLABELLED = "table3/improved-gan", "extra/improved-gan-unlabelled"


# --- the objective -------------------------------------------------------------------------------------------


def test_the_objective_is_that_of_k_plus_one_classes():
    """Against a softmax over K + 1 classes, the last of which is "made" and has logit 0."""
    torch.manual_seed(0)
    real, fake = torch.randn(7, 4), torch.randn(5, 4)
    labels = torch.tensor([0, -1, 3, 3, -1, 1, 2])

    def probabilities(logits):
        return torch.cat([logits, torch.zeros(len(logits), 1)], dim=1).softmax(1)

    p_real, p_fake = probabilities(real), probabilities(fake)
    unlabelled = -0.5 * (1 - p_real[:, -1]).log().mean() - 0.5 * p_fake[:, -1].log().mean()
    torch.testing.assert_close(unlabelled_loss(real, fake), unlabelled)
    found = labels >= 0
    of_class = p_real[found].gather(1, labels[found][:, None])[:, 0] / (1 - p_real[found, -1])
    torch.testing.assert_close(labelled_loss(real, labels), -of_class.log().mean())


def test_a_batch_without_labels_trains_by_the_rest():
    logits = torch.randn(4, 10, requires_grad=True)
    loss = labelled_loss(logits, torch.full((4,), -1))
    loss.backward()
    assert loss == 0 and logits.grad.abs().sum() == 0
    model, x = system(LABELLED), images(6)
    terms = model.critic_losses(x, step=0, labels=torch.full((6,), -1))
    terms["total"].backward()
    assert torch.equal(terms["total"], terms["unlabelled"])
    assert all(torch.isfinite(p.grad).all() for p in model.critic.parameters())


def test_labels_reach_the_critic_where_there_are_some():
    def gradient(labels):
        model, x = system(LABELLED), torch.full((6, 3, 16, 16), 100, dtype=torch.uint8)
        torch.manual_seed(2)
        model.critic_losses(x, step=1, labels=torch.tensor(labels))["total"].backward()
        return model.critic.head.parametrizations.weight.original1.grad

    none, some, others = (gradient(x) for x in ([-1] * 6, [3, -1, -1, 5, -1, -1], [4, -1, -1, 5, -1, -1]))
    assert not torch.equal(none, some)
    assert [k for k in range(10) if not torch.allclose(some[k], others[k])] == [3, 4]


def test_without_labels_there_is_one_class_and_a_gan():
    model, x = system(UNLABELLED, real_target=1.0), images(6)
    assert not model.uses_labels and system(LABELLED).uses_labels
    seen = []
    model.critic.register_forward_hook(lambda module, inputs, output: seen.append(output))
    terms = model.critic_losses(x, step=1)
    real, fake = seen
    assert real.shape == (6, 1) and set(terms) == {"unlabelled", "total"}
    torch.testing.assert_close(terms["total"], losses.discriminator_loss(real, fake) / 2)


@pytest.mark.parametrize("loss", ["adversarial", "non-saturating"])
def test_the_generator_descends_ln_one_minus_d_or_minus_ln_d(loss):
    model, x = system(LABELLED, generator_loss=loss), images(6)
    seen = []
    model.critic.register_forward_hook(lambda module, inputs, output: seen.append(output))
    total = model.generator_losses(x)["total"]
    z = seen[0].exp().sum(1)
    d = z / (z + 1)
    torch.testing.assert_close(total, (1 - d).log().mean() if loss == "adversarial" else -d.log().mean())
    total.backward()
    assert all(p.grad is None for p in model.critic.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.generator.parameters() if p.dim() > 1)


def test_labels_are_asked_for(tmp_path):
    with pytest.raises(ValueError, match="trained with labels"):
        train(system(LABELLED), images(3), TrainingConfig(steps=1), seed=0, folder=tmp_path)


def test_more_classes_than_logits_are_a_one_line_error_before_training(tmp_path):
    wrong = torch.tensor([3, 10, -1])
    with pytest.raises(UserError, match="knows 10 classes and the data has label 10: .*unlabelled") as error:
        train(system(LABELLED), images(3), TrainingConfig(steps=1), seed=0, folder=tmp_path, labels=wrong)
    assert "\n" not in str(error.value)


# --- switches ------------------------------------------------------------------------------------------------


def test_label_smoothing_is_one_sided():
    real, fake = torch.randn(9, 3), torch.randn(9, 3)
    d_real, d_fake = (x.logsumexp(1).sigmoid() for x in (real, fake))
    expected = -0.5 * (0.9 * d_real.log() + 0.1 * (1 - d_real).log()).mean() - 0.5 * (1 - d_fake).log().mean()
    torch.testing.assert_close(unlabelled_loss(real, fake, 0.9), expected)
    model, x = system(LABELLED, real_target=0.9), images(6)
    seen = []
    model.critic.register_forward_hook(lambda module, inputs, output: seen.append(output))
    terms = model.critic_losses(x, step=1, labels=torch.full((6,), -1))
    torch.testing.assert_close(terms["unlabelled"], unlabelled_loss(*seen, 0.9))


# --- the authors' nets ---------------------------------------------------------------------------------------


def test_codes_are_uniform_on_the_unit_interval():
    model = system(LABELLED)
    z = torch.tensor([[-1.0, 0.0, 2.0]])
    model.generator = nn.Identity()
    torch.testing.assert_close(model.decode(z), torch.distributions.Normal(0.0, 1.0).cdf(z))


def test_noise_and_dropout_are_for_training():
    critic, x = system(LABELLED).critic, cell_centres(images(6))
    assert not torch.equal(critic(x), critic(x))
    critic.eval()
    assert torch.equal(critic(x), critic(x))
    noise = critic.body[0].train()
    difference = noise(torch.zeros(100_000))
    assert difference.std().item() == pytest.approx(0.2, rel=0.02) and difference.mean().abs() < 0.003
    assert [m.p for m in critic.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
