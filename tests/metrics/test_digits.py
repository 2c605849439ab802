"""The classifier that counts digits."""

import pytest
import torch

from cqlib import data
from cqlib.data import photos10
from cqlib.metrics.digits import counted, read


@pytest.mark.parametrize("size", [16, 32])
def test_it_reads_held_out_digits(size):
    images = data.load("photodigits", size=size).test
    right = read(images.images).argmax(1) == images.labels
    assert right.float().mean() >= 0.95


def test_it_reads_nothing_in_grounds_and_in_scrambled_digits():
    grounds = photos10.build(16).test.images
    digits = data.load("photodigits", size=16).test.images[:1000]
    halves = torch.cat([digits[:, :, 8:], digits[:, :, :8]], 2)
    for images, most in ((grounds, 0.02), (halves, 0.3)):
        assert counted(images)["Digits-read"].value <= most


def test_shares_are_of_all_images_and_add_up():
    images = data.load("photodigits", size=16).test
    shares = counted(images.images)
    assert shares["Digits-read"].value == pytest.approx(sum(shares[f"Digit-{k}"].value for k in range(10)))
    assert shares["Digits-read"].value > 0.9
    ones = counted(images.images[images.labels == 1])
    assert ones["Digit-1"].value == pytest.approx(ones["Digits-read"].value, abs=0.03)
