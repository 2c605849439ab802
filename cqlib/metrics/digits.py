"""Digits counted: a small classifier reads samples of photodigits, as a person would, and says which digits it saw.

It has an eleventh answer, no digit, which it learned from bare grounds, scrambled digits and digits blurred beyond
recognition; little noise and blur it learned to read through. `tools/digit_reader.py` trains it and prints its
accuracy; its weights are `digits.safetensors`.
"""

import functools
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from cqlib.metrics.metric import Metric, Protocol, Subject
from cqlib.util.fp32 import full_fp32

WEIGHTS = Path(__file__).with_name("digits.safetensors")
SIDE = 16
CONFIDENT = 0.9
"""A digit is read with confidence where the classifier's probability of it is at least this."""
CHUNK = 1000


class DigitReader(nn.Sequential):
    """Images (N, 3, 16, 16) in [-1, 1] -> logits (N, 11): digits 0 to 9, and no digit."""

    def __init__(self) -> None:
        def convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
            return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()

        super().__init__(
            *convolution(3, 32), *convolution(32, 32), nn.MaxPool2d(2),
            *convolution(32, 64), *convolution(64, 64), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 4 * 4, 11),
        )  # fmt: skip


def small(images: Tensor) -> Tensor:
    """uint8 (N, 3, S, S), S a multiple of 16 -> float (N, 3, 16, 16) in [-1, 1]: means of blocks."""
    return avg_pool2d(images.float(), images.shape[-1] // SIDE) / 127.5 - 1


@functools.cache
def reader() -> DigitReader:
    """The trained classifier."""
    net = DigitReader()
    net.load_state_dict({name: weight.float() for name, weight in load_file(WEIGHTS).items()})
    return net.eval().requires_grad_(False)


def read(images: Tensor) -> Tensor:
    """Probabilities (N, 11), on the CPU, of the digits 0 to 9 and of no digit in uint8 images (N, 3, S, S)."""
    with full_fp32():
        return torch.cat([reader()(small(part.cpu())).softmax(1) for part in images.split(CHUNK)])


def counted(images: Tensor, of: Subject = None) -> dict[str, Metric]:
    """ "Digits-read", the share of uint8 images (N, 3, S, S) in which a digit is read with confidence, and "Digit-0" to
    "Digit-9", the shares in which it is that digit; shares are of all images. `of`: what they are, if
    not samples."""
    sure, digit = read(images)[:, :10].max(1)
    counts = torch.bincount(digit[sure >= CONFIDENT], minlength=10).double() / len(images)
    protocol = Protocol(of=of, confidence=CONFIDENT)
    shares = {"Digits-read": counts.sum(), **{f"Digit-{k}": share for k, share in enumerate(counts)}}
    return {name: Metric(float(share), None, len(images), protocol) for name, share in shares.items()}
