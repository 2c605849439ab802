"""Inpainting by posterior search: images of the model that agree with the known pixels.

Reference: randomised maximum likelihood (Oliver, He, Reynolds 1996; "randomize-then-optimize" of Bardsley et al. 2014).

An image is x(z, e) = f^-1(mu(z) + sigma(z) e) with (z, e) ~ N(0, I). Known pixels are observed under noise of standard
deviation tau. A completion starts from a draw (z0, e0) of the prior and a draw n of that noise, and moves no further
than it must:

    minimise  |z - z0|^2 / 2 + |e - e0|^2 / 2 + |known (x(z, e) - x - tau n)|^2 / (2 tau^2)

Where x(z, e) is linear this draws exactly from p(z, e | known pixels) (the notebook measures it); for a net it is an
approximation without a guarantee.
"""

from collections.abc import Callable

import torch
from IPython.display import HTML
from torch import Tensor

from cqlib.figures.strips import strips
from cqlib.models.cq import CoverageQuality
from cqlib.pixels import LEVELS_PER_UNIT, cell_centres, to_uint8
from cqlib.report.cells import picture, table

TOLERANCE = 2 / LEVELS_PER_UNIT  # tau: two levels of 8-bit pixels


def search(
    render: Callable[[Tensor, Tensor], Tensor], z0: Tensor, e0: Tensor, target: Tensor, known: Tensor, *,
    tolerance: float, steps: int, generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The (z, e) that minimise the sum above, by Adam from each start z0 (N, d), e0 (N, …). `render(z, e)` gives
    x(z, e), of e's shape; `target`, x above, and the bool `known` broadcast to it. tau falls from 1/2 to `tolerance`
    over the first 70 % of the steps, so that the search goes from coarse to fine."""
    z, e = z0.clone().requires_grad_(), e0.clone().requires_grad_()
    noise = torch.randn(e0.shape, generator=generator)
    adam = torch.optim.Adam([z, e], betas=(0.9, 0.99))
    for step in range(steps):
        done = (step + 1) / steps
        tau = 0.5 * (2 * tolerance) ** min(1.0, done / 0.7)
        adam.param_groups[0]["lr"] = 0.1 * min(1.0, 0.02 + (1 - done) / 0.3)
        misfit = (render(z, e) - target - tolerance * noise) * known / tau
        moved = ((z - z0).square().sum() + (e - e0).square().sum()) / 2
        adam.zero_grad()
        (moved + misfit.square().sum() / 2).backward()
        adam.step()
    return z.detach(), e.detach()


def complete(model: CoverageQuality, x: Tensor, known: Tensor, n: int, *, steps: int) -> tuple[Tensor, Tensor]:
    """n completions of each uint8 image x (N, C, S, S) from its pixels `known`, bool (S, S); and the same images as the
    model makes them, before the known pixels are pasted in: two of (N, n, C, S, S) uint8."""
    generator = torch.Generator().manual_seed(0)
    target = cell_centres(x).repeat_interleave(n, dim=0)
    z0 = torch.randn(len(target), model.config.latent, generator=generator)
    e0 = torch.randn(target.shape, generator=generator)

    def render(z: Tensor, e: Tensor) -> Tensor:
        mean, log_sigma = model.decode(z)
        return model.image(mean + log_sigma.exp() * e)

    z, e = search(render, z0, e0, target, known, tolerance=TOLERANCE, steps=steps, generator=generator)
    with torch.no_grad():
        rendered = to_uint8(render(z, e))
    pasted = torch.where(known, x.repeat_interleave(n, dim=0), rendered)
    return pasted.unflatten(0, (-1, n)), rendered.unflatten(0, (-1, n))


def masks(size: int) -> dict[str, Tensor]:
    """Name -> the known pixels, bool (S, S): the left half, all but a window in the middle, every fourth pixel."""
    left, outside, sparse = torch.zeros(3, size, size, dtype=torch.bool)
    left[:, : size // 2] = True
    outside[:] = True
    outside[size // 4 : size - size // 4, size // 4 : size - size // 4] = False
    sparse[::2, ::2] = True
    return {"left half": left, "all but a window": outside, "1 pixel in 4": sparse}


Completions = dict[str, tuple[Tensor, Tensor, Tensor]]
"""Name of a mask -> the mask, and both results of `complete`: completions, and the model's images."""


def completions(model: CoverageQuality, x: Tensor, n: int = 6, *, steps: int) -> Completions:
    """`complete` under each of `masks`."""
    return {name: (known, *complete(model, x, known, n, steps=steps)) for name, known in masks(x.shape[-1]).items()}


def board(results: Completions, x: Tensor) -> HTML:
    """Each image with its known pixels, its completions, and the truth."""
    rows: dict[str, Tensor] = {}
    for name, (known, pasted, _) in results.items():
        visible = torch.where(known, x, torch.full_like(x, 255))
        rows |= {f"{name}, {i + 1}": torch.cat([visible[[i]], pasted[i], x[[i]]]) for i in range(len(x))}
    n = pasted.shape[1]
    alt = f"{len(x)} test images with pixels hidden in {len(results)} ways, {n} completions each, and the truth"
    return picture(strips(rows, columns=["known", *map(str, range(1, n + 1)), "truth"]), alt)


def scores(results: Completions, x: Tensor) -> HTML:
    """How far the model's images are from the known pixels; and, at the hidden pixels, how much completions differ and
    how far they, and the mean colour of the known pixels, are from the truth."""
    lines, truth = [], x.float()
    for name, (known, pasted, rendered) in results.items():
        filled, hidden = pasted.float()[..., ~known], truth[..., ~known]
        errors = ((rendered - truth[:, None])[..., known], filled.std(1), filled - hidden[:, None],
                  filled.mean(1) - hidden, truth[..., known].mean(-1, keepdim=True) - hidden)  # fmt: skip
        lines.append([name, *(error.square().mean().sqrt() for error in errors)])
    head = ("off at known pixels", "completions differ by", "one is off the truth by", "their mean by",
            "mean colour of the known by")  # fmt: skip
    return table("Root mean squares, in levels of 0 to 255", {"Known": None, **dict.fromkeys(head, 1)}, lines)
