"""Train the classifier that counts digits (`cqlib.metrics.digits`) and print its accuracy on held-out images; a few
minutes on one core. `python tools/digit_reader.py` writes cqlib/metrics/digits.safetensors."""

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, pad

from cqlib import data
from cqlib.metrics.digits import CONFIDENT, WEIGHTS, DigitReader, read, small

EPOCHS, BATCH = 5, 100
NO_DIGIT = 10


def without_digit(images: Tensor, grounds: Tensor) -> Tensor:
    """As many images in which no digit can be read: (N, 3, 16, 16) in [-1, 1], a third each of bare grounds, digits cut
    into 16 blocks that are shuffled, and digits blurred to 4 x 4 pixels."""
    bare, scrambled, blurred = images.chunk(3)
    bare = grounds[torch.randint(len(grounds), (len(bare),))]
    blocks = scrambled.unfold(2, 4, 4).unfold(3, 4, 4).reshape(len(scrambled), 3, 16, 4, 4)
    order = torch.rand(len(scrambled), 1, 16).argsort(-1)[..., None, None].expand_as(blocks)
    scrambled = blocks.gather(2, order).reshape(-1, 3, 4, 4, 4, 4).transpose(3, 4).reshape(-1, 3, 16, 16)
    return torch.cat([bare, scrambled, interpolate(avg_pool2d(blurred, 4), 16, mode="bilinear")])


def worn(images: Tensor) -> Tensor:
    """Images (N, 3, 16, 16) with a little blur and noise, each of its own amount: a person reads them all the same."""
    blur, noise = torch.rand(2, len(images), 1, 1, 1)
    soft = avg_pool2d(pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return images + 0.7 * blur * (soft - images) + 0.15 * noise * torch.randn(images.shape)


def main() -> None:
    torch.manual_seed(0)
    sets = [data.load("photodigits", size=size) for size in (16, 32, 64)]
    images = torch.cat([small(each.train.images) for each in sets])
    labels = torch.cat([each.train.labels for each in sets])
    grounds = small(data.load("photos10", size=16).train.images)
    grounds = (grounds + grounds.mean((2, 3), keepdim=True)) / 2
    net = DigitReader()
    steps = EPOCHS * (len(images) // BATCH)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for step in range(steps):
        of = torch.randint(len(images), (BATCH,))
        x = images[of][:, torch.randperm(3)]  # any colours, light on dark and dark on light
        x = x if torch.rand(()) < 0.5 else -x
        x = worn(torch.cat([x, without_digit(x[: BATCH // 2], grounds)]))
        y = torch.cat([labels[of], torch.full((BATCH // 2,), NO_DIGIT)])
        loss = cross_entropy(net(x), y, label_smoothing=0.01)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {steps}: {loss.item():.3f}", flush=True)
    save_file({name: weight.half() for name, weight in net.state_dict().items()}, WEIGHTS)
    for each in sets:
        sure, digit = read(each.test.images)[:, :10].max(1)
        right = (digit == each.test.labels).float().mean()
        print(f"{each.size} pixels: {right:.2%} right, {(sure >= CONFIDENT).float().mean():.2%} read with confidence")


if __name__ == "__main__":
    main()
