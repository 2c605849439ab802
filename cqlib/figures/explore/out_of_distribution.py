"""Out-of-distribution images: test images, changed ones, and an image of your own, in bits per dimension.

Reference: Nalisnick et al., "Do deep generative models know what they don't know?", ICLR 2019.
"""

import io
import math
from pathlib import Path
from typing import Any

import torch
from IPython.display import HTML
from markupsafe import escape
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.transforms.functional import pil_to_tensor

from cqlib.data import reading
from cqlib.data.grids import grid
from cqlib.data.photos10 import BASE_SIDE, installed
from cqlib.figures.common import bits, draw
from cqlib.figures.strips import cost_board
from cqlib.models.cq import CoverageQuality
from cqlib.report.cells import live, picture, subplots
from cqlib.util.errors import UserError, one_line

PICTURE = "skimage/data/camera.png"
"""A grey photograph by Lav Varshney (CC0 1.0) that comes with scikit-image and is in no data set here."""
MAX_TILES = 1_250  # what a CPU measures in some seconds; a photograph of 16:9 has fewer


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


def costs_by_kind(model: CoverageQuality, x: Tensor) -> HTML:
    """`kinds` of x with examples: mean and middle 90 % of their bits per dimension."""
    images = kinds(x, model)
    values = {name: bits(model, of_kind) for name, of_kind in images.items()}
    alt = "Bits per dimension of test images, changed test images and other images"
    return picture(*cost_board(images, values, "test images", "bits per dimension", alt))


def read(source: Path | str | bytes) -> Image.Image:
    """A picture from a file or from its bytes, in colour. UserError where it cannot be read."""
    try:
        return reading.rgb(io.BytesIO(source) if isinstance(source, bytes) else Path(source))[0]
    except (OSError, ValueError) as error:
        name = "the upload" if isinstance(source, bytes) else source
        raise UserError(one_line(f"{name} is no picture that can be read: {error}")) from error


def tiles(image: Image.Image, size: int) -> tuple[Tensor, tuple[int, int]]:
    """The picture cut into N <= MAX_TILES tiles, uint8 (N, C, S, S), and its rows and columns of tiles. Before, it is
    scaled down to a shorter side of BASE_SIDE pixels, or further if there were more tiles; never up. UserError where it
    is smaller than one tile."""
    scale = min(1.0, BASE_SIDE / min(image.size), size * math.sqrt(MAX_TILES / (image.width * image.height)))
    width, height = (math.floor(length * scale + 1e-6) for length in image.size)
    columns, rows = width // size, height // size
    if not (rows and columns):
        raise UserError(f"the picture has {image.width} × {image.height} pixels; a tile takes {size} × {size}")
    small = pil_to_tensor(image.resize((width, height), Image.Resampling.BOX))
    cut = small.unfold(1, size, size).unfold(2, size, size).permute(1, 2, 0, 3, 4)
    return cut.flatten(0, 1).contiguous(), (rows, columns)


def your_image(model: CoverageQuality, source: Path | str | bytes | None, test: Tensor) -> HTML:
    """A picture (a file or its bytes; None: `PICTURE`) beside the bits per dimension of each of its tiles, and a
    sentence that compares them with `test`, uint8 test images. UserError for a picture that cannot be read."""
    size = model.shape[-1]
    image = read(installed(PICTURE) if source is None else source)
    cut, (rows, columns) = tiles(image, size)
    whole = pil_to_tensor(ImageOps.fit(image, (size, size), Image.Resampling.BOX))[None]  # the central square
    tile_bits, test_bits, whole_bits = bits(model, cut), bits(model, test), bits(model, whole)
    with subplots(7.0, min(4.6, 0.6 + 3.0 * rows / columns), 1, 2) as (figure, (left, right)):
        left.imshow(grid(cut, columns=columns), interpolation="none")
        left.set_title(f"{rows * columns} tiles of {size} × {size} pixels")
        heat = right.imshow(tile_bits.view(rows, columns).numpy(), interpolation="none", cmap="viridis")
        right.set_title("what each tile costs")
        for ax in (left, right):
            ax.set_axis_off()
        figure.colorbar(heat, ax=right, label="bits per dimension", shrink=0.8)
    cheaper = [float((test_bits < values.mean()).double().mean()) for values in (tile_bits, whole_bits)]
    sentence = (f"A tile costs {tile_bits.mean():.2f} bits per dimension on average, more than {cheaper[0]:.0%} of "
                f"{len(test)} test images do; the whole picture at {size} × {size} pixels {whole_bits.mean():.2f}, "
                f"more than {cheaper[1]:.0%}.")  # fmt: skip
    return HTML(f"{picture(figure, f'A picture, and what its tiles cost. {sentence}').data}<p>{sentence}</p>")


def upload(model: CoverageQuality, test: Tensor) -> Any:
    """A button that takes a picture and shows what its tiles cost; None where widgets do not run."""
    if not live():
        return None
    import ipywidgets as widgets

    def changed(change: dict[str, Any]) -> None:
        for file in change["new"][-1:]:
            try:
                view.value = your_image(model, bytes(file["content"]), test).data
            except UserError as error:
                view.value = f"<p>{escape(str(error))}</p>"

    button = widgets.FileUpload(accept="image/*", multiple=False, description="Your picture")
    button.observe(changed, names="value")
    view = widgets.HTML()
    return widgets.VBox([button, view])
