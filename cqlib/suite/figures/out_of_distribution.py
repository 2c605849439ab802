"""Out-of-distribution images: test images, changed ones, and an image of your own, in bits per dimension.

Reference: Nalisnick et al., "Do deep generative models know what they don't know?", ICLR 2019.
"""

from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.transforms.functional import pil_to_tensor

from cqlib.data.photos10 import BASE_SIDE, installed
from cqlib.models.cq import CoverageQuality
from cqlib.suite.figures.common import draw

PICTURE = "skimage/data/camera.png"
"""A grey photograph by Lav Varshney (CC0 1.0) that comes with scikit-image and is in no data set here."""


def kinds(x: Tensor, model: CoverageQuality) -> dict[str, Tensor]:
    """uint8 test images x (N, C, S, S), changed ones, other images, and samples; all (N, C, S, S)."""
    mean, generator = x.float().mean((2, 3), keepdim=True), torch.Generator().manual_seed(0)
    small = avg_pool2d(x.float(), 4)
    order = torch.randperm(x[0, 0].numel(), generator=generator)
    return {
        "test images": x,
        "upside down": x.flip(2),
        "half the contrast": (mean + (x - mean) / 2).round().to(torch.uint8),
        "blurred": interpolate(small, scale_factor=4, mode="bilinear").round().to(torch.uint8),
        "flat, the mean colour": mean.round().to(torch.uint8).expand_as(x),
        "negative": 255 - x,
        "red, green, blue in turn": x.roll(1, dims=1),
        "pixels in another order": x.flatten(2)[..., order].view_as(x),
        "uniform noise": torch.randint(256, x.shape, dtype=torch.uint8, generator=generator),
        "samples": draw(model, len(x)),
    }


def read(path: Path | str | None) -> Image.Image:
    """The picture in a file, upright and in colour; None: `PICTURE`."""
    return ImageOps.exif_transpose(Image.open(installed(PICTURE) if path is None else path)).convert("RGB")


def tiles(image: Image.Image, size: int) -> tuple[Tensor, int]:
    """The picture, scaled down to a shorter side of at most BASE_SIDE pixels and cut into tiles in reading order, uint8
    (N, C, S, S); and the number of tiles in a row."""
    scale = min(1.0, BASE_SIDE / min(image.size))
    small = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.BOX)
    cut = pil_to_tensor(small).unfold(1, size, size).unfold(2, size, size).permute(1, 2, 0, 3, 4)
    return cut.flatten(0, 1).contiguous(), cut.shape[1]
