"""Encoder, decoder and critic at every supported size, and what their normalisation does."""

import pytest
import torch
from small_models import shaken
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, elu, leaky_relu, linear

from cqlib.nets.conv import Critic, Decoder, Encoder, group_norm


def test_encoder_decoder_and_critic_are_their_formulas():
    def layers(net):
        return [(layer.weight, layer.bias) for layer in net.body if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]

    def normed(h, layer):
        return elu(nn.functional.group_norm(h, 2, layer.weight, layer.bias))  # 8 channels

    torch.manual_seed(0)
    encoder = shaken(Encoder(16, (8, 8), 5), 0.2)
    decoder = shaken(Decoder(16, (8, 8), 5, out_channels=6), 0.2)
    critic, x, z = shaken(Critic(16, (8, 8)), 0.2), torch.randn(2, 3, 16, 16), torch.randn(2, 5)
    first, (weight, _) = layers(encoder)
    h = normed(conv2d(elu(conv2d(x, *first, padding=1)), weight, stride=2, padding=1), encoder.body[3])
    torch.testing.assert_close(torch.cat(encoder(x), 1), linear(h.flatten(1), *encoder.head.parameters()))
    ((weight, _),) = layers(decoder)
    h = normed(linear(z, *decoder.head.parameters()).view(2, 8, 8, 8), decoder.body[0])
    h = normed(conv_transpose2d(h, weight, stride=2, padding=1), decoder.body[3])
    torch.testing.assert_close(decoder(z), conv2d(h, *decoder.out.parameters(), padding=1))
    h = x
    for stride, layer in zip((1, 2, 1), layers(critic), strict=True):
        h = leaky_relu(conv2d(h, *layer, stride=stride, padding=1), 0.2)
    torch.testing.assert_close(critic(x), linear(h.flatten(1), *critic.head.parameters()).squeeze(1))


def test_an_encoders_log_variance_stays_where_exp_is_finite():
    encoder = Encoder(16, (4, 8, 16), 2)
    with torch.no_grad():
        encoder.head.weight.zero_()
        encoder.head.bias.copy_(torch.tensor([50.0, -50.0, 50.0, -50.0]))
    mean, log_variance = encoder(torch.rand(1, 3, 16, 16))
    assert (mean.tolist(), log_variance.tolist()) == ([[50.0, -50.0]], [[12.0, -12.0]])


def test_widths_that_do_not_fit_the_size_are_named():
    with pytest.raises(ValueError, match="16 pixels cannot be halved 5 times"):
        Critic(16, (4,) * 6)


@pytest.mark.parametrize("channels, groups", [(2, 1), (6, 1), (8, 2), (12, 2), (16, 4), (30, 2), (64, 8), (128, 8)])
def test_group_norm_divides_any_even_width(channels, groups):
    layer = group_norm(channels)
    x = 5 + 3 * torch.randn(2, channels, 4, 4)
    y = layer(x).view(2, layer.num_groups, -1)
    torch.testing.assert_close(y.mean(2), torch.zeros(2, layer.num_groups), atol=1e-4, rtol=0)
    assert layer.num_groups == groups


def test_group_norm_and_critic_judge_each_image_alone():
    torch.manual_seed(0)
    x = torch.rand(4, 3, 16, 16)
    for net in (Encoder(16, (4, 8, 16), 5), Critic(16, (4, 8, 16))):
        together, alone = net(x), net(x[:1])
        for a, b in zip(together, alone, strict=True) if isinstance(alone, tuple) else [(together, alone)]:
            torch.testing.assert_close(a[:1], b, rtol=1e-4, atol=1e-5)
