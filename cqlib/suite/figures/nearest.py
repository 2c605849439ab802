"""The nearest that a model can draw: coverage at a glance.

With the decoder's noise every image can be drawn, if only once in a very long time; so the images searched are those
without it, f^-1(mu(z)), or G(z) of a GAN.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from IPython.display import HTML
from scipy import stats
from torch import Tensor

from cqlib.models.cq import CoverageQuality
from cqlib.models.frozen_decoder import FrozenDecoder
from cqlib.models.gan import GAN
from cqlib.models.variational import VariationalModel
from cqlib.pixels import cell_centres, to_uint8
from cqlib.suite.cells import picture, table
from cqlib.suite.experiments.load import ModelAndData, published_weights
from cqlib.suite.experiments.model_file import ENCODER, load_weights, stored_training
from cqlib.suite.experiments.paper import TABLE1
from cqlib.suite.figures.common import draw
from cqlib.suite.figures.strips import strips

ROWS = tuple(row.id for row in TABLE1.rows)
REAL = "held-out images"
PRIOR_STARTS, STEPS, RATE = 4, 450, 0.15
REMAINING = {50: 2, 150: 1}
"""A step of the search -> how many starts of each image are followed from there on: those that came nearest so far."""
SHARE = 0.999
"""Of the draws of the prior, those whose codes are no longer than the longest code that the search may return."""


def nearest_codes(decode: Callable[[Tensor], Tensor], target: Tensor, starts: Tensor, steps: int = STEPS) -> Tensor:
    """For each image of `target` (N, C, H, W) a code z whose `decode(z)` is near it: (N, d).

    Adam minimises ||decode(z) - x||^2 over z from each of the `starts` (K, N, d) by itself, with a rate that falls to
    0; starts that fall behind are given up (`REMAINING`). A z longer than nearly all draws of N(0, I) (`SHARE`) counts
    as the one of that length in its direction, for the model would not draw it. Of each image the best z of all steps
    and starts is returned. It is the nearest that was found: a search cannot prove that there is no nearer one.
    """
    count, n, d = starts.shape
    longest = float(stats.chi(d).ppf(SHARE))
    free, image = starts.clone().requires_grad_(), torch.arange(n)
    optimiser = torch.optim.Adam([free], lr=RATE)
    best, found = torch.full((count, n), math.inf), torch.zeros(count, n, d)
    kept = torch.arange(count)[:, None].expand(-1, n)  # of each image the starts that are still followed
    for step in range(steps + 1):
        if step in REMAINING:
            kept = best.argsort(0)[: REMAINING[step]]
        z = free[kept, image]
        z = z * (longest / z.norm(dim=2, keepdim=True).clamp(min=longest))
        decoded = decode(z.flatten(0, 1)).unflatten(0, kept.shape)
        squares = (decoded - target).square().flatten(2).mean(2)
        with torch.no_grad():
            nearer = squares < best[kept, image]
            found[kept, image] = z.where(nearer[..., None], found[kept, image])
            best[kept, image] = squares.minimum(best[kept, image])
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / (steps + 1))
        optimiser.zero_grad()
        squares.sum().backward()
        optimiser.step()
    return found[best.argmin(0), image]


def mean_image(model: CoverageQuality | GAN, z: Tensor) -> Tensor:
    """The image of a code (N, d) without the decoder's noise: f^-1(mu(z)), or G(z); float (N, C, H, W)."""
    return model.decode(z) if isinstance(model, GAN) else model.image(model.decode(z)[0])


def encoder_of(model: ModelAndData, runs_dir: Path | str) -> VariationalModel | None:
    """The model itself, or, of a GAN, the model with the encoder that was trained around its frozen generator, if its
    weights are here or published."""
    if isinstance(model.model, VariationalModel):
        return model.model
    e = model.experiment
    for file in (Path(runs_dir) / e.folder / ENCODER, published_weights(e.folder, ENCODER)):
        stage, stored = e.recipe.frozen_decoder, stored_training(file, e)
        if stage is not None and stored is not None:
            system = FrozenDecoder(stage.config, model.model).eval().requires_grad_(False)
            load_weights(system, stored["weights"], file)
            return system
    return None


def nearest_images(model: ModelAndData, x: Tensor, runs_dir: Path | str) -> Tensor:
    """The images nearest to uint8 x (N, C, H, W) that were found, uint8 (N, C, H, W). The search starts at draws of the
    prior and, where there is an encoder, at the mean of q(z|x)."""
    system, v, d = model.model, cell_centres(x), model.model.config.latent
    starts = torch.randn(PRIOR_STARTS, len(x), d, generator=torch.Generator().manual_seed(0))
    if (encoder := encoder_of(model, runs_dir)) is not None:
        with torch.no_grad():
            starts = torch.cat([starts, encoder.encoder(v)[0][None]])
    codes = nearest_codes(lambda z: mean_image(system, z), v, starts)
    with torch.no_grad():
        return to_uint8(mean_image(system, codes))


def found_by(models: Mapping[str, ModelAndData], x: Tensor, runs_dir: Path | str) -> dict[str, Tensor]:
    """Short label of each model -> `nearest_images` of x."""
    return {label: nearest_images(model, x, runs_dir) for label, model in models.items()}


def board(x: Tensor, found: Mapping[str, Tensor]) -> HTML:
    """Real images above the nearest that each model can draw."""
    return picture(strips({REAL: x, **found}), f"{len(x)} {REAL}, the nearest of {', '.join(found)}")


def drawn(x: Tensor, models: Mapping[str, ModelAndData]) -> HTML:
    """Real images above the first samples x ~ p_theta of each model."""
    samples = {label: draw(model.model, len(x)) for label, model in models.items()}
    return picture(strips({REAL: x, **samples}), f"{len(x)} {REAL}, samples of {', '.join(samples)}")


def distances(x: Tensor, found: Mapping[str, Tensor]) -> HTML:
    """The mean squared distance of each image that was found from its held-out image, in squared grey levels."""
    lines = []
    for label, images in found.items():
        squares = (images.double() - x.double()).square().flatten(1).mean(1)
        lines.append([label, squares.mean(), *squares])
    head = {"Model": None, "mean": 0} | {f"image {i}": 0 for i in range(1, len(x) + 1)}
    return table("Mean squared distance of the nearest images, in squared grey levels", head, lines)
