"""Nearest training images of samples, beside those of held-out images and of known copies: are samples copies?"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from IPython.display import HTML
from markupsafe import escape
from scipy.stats import binomtest
from torch import Tensor

from cqlib.data import WITH_PIP
from cqlib.suite.cells import live, picture, subplots, table
from cqlib.suite.experiments.load import ModelAndData
from cqlib.suite.figures.common import draw
from cqlib.suite.figures.memorisation import CHUNK, MAX_REFERENCE, SIGMA, copier_samples
from cqlib.suite.figures.strips import strips
from cqlib.suite.report import plots

QUANTILE = 0.01  # an image nearer to training images than all but this share of held-out ones is suspect
GROUPS = {
    "samples": ("samples", plots.SERIES[3], "-"), "test": ("held-out images", plots.INK, "-"),
    "noise": ("copies under noise", plots.SERIES[1], "--"), "mirror": ("mirrored copies", plots.SERIES[0], "-."),
}  # fmt: skip
"""Group of images -> its name, and the colour and style of its line."""


def shows_training_images(model: ModelAndData) -> bool:
    """Whether training images may stand in a picture: those of `WITH_PIP` always, others on a reader's own screen."""
    return model.experiment.data in WITH_PIP or live()


@dataclass(frozen=True)
class Neighbours:
    """The n images (n, C, H, W), and their nearest training images: distances (n, 3), nearest first, and indices
    (n, 3)."""

    images: Tensor
    distances: Tensor
    index: Tensor

    @property
    def nearest(self) -> Tensor:
        """The distance to the nearest one (n,)."""
        return self.distances[:, 0]

    @property
    def ratio(self) -> Tensor:
        """`nearest` over the distance to the second nearest (n,): near 1 unless one training image stands out."""
        return self.distances[:, 0] / self.distances[:, 1].clamp(min=1e-9)


@torch.no_grad()
def nearest(queries: Tensor, reference: Tensor, k: int = 3) -> Neighbours:
    """The k nearest of `reference` (N, C, H, W) for each of `queries` (n, C, H, W): root mean square differences (n, k)
    in the units of the values, float64, and indices into `reference`."""
    a = queries.flatten(1).float()
    parts = [torch.cdist(a, part.flatten(1).float()) for part in reference.split(CHUNK)]
    best = torch.cat(parts, 1).topk(k, largest=False).indices
    # the search in float32 loses digits in |a|^2 - 2ab + |b|^2; the distances returned do not
    found = reference[best.flatten()].flatten(1).view(len(a), k, -1).double()
    rms, order = (queries.flatten(1).double()[:, None] - found).square().mean(2).sqrt().sort(1)
    return Neighbours(queries, rms, best.gather(1, order))


def compare(model: ModelAndData, *, sigma: float = SIGMA) -> dict[str, Neighbours]:
    """Group (`GROUPS`) -> its nearest training images: of 1,000 held-out images (or as many as there are), of as many
    samples, of half as many copies of training images under noise of `sigma` grey levels, and of as many mirrored ones,
    to see which kinds of copies the test finds."""
    train, test = model.data.train.images[:MAX_REFERENCE], model.data.test.images[:1000]
    n, generator = len(test), torch.Generator().manual_seed(model.experiment.seed)
    images = {
        "samples": draw(model.model, n),
        "test": test,
        "noise": copier_samples(train, n // 2, sigma=sigma, generator=generator),
        "mirror": train[torch.randint(len(train), (n // 2,), generator=generator)].flip(3),
    }
    return {name: nearest(group, train) for name, group in images.items()}


def board(model: ModelAndData, found: Mapping[str, Neighbours], n: int = 6) -> HTML:
    """The first n samples and the n with the lowest `ratio`, each above its three nearest training images; below,
    held-out images in the same way. Training images are left out where they may not be shown."""
    train, may_show, rows = model.data.train.images, shows_training_images(model), {}
    for group, title in (("samples", "samples"), ("test", "held out")):
        near = found[group]
        columns = torch.cat((torch.arange(n), near.ratio.argsort()[:n]))
        rows[title] = near.images[columns]
        if may_show:
            rows |= {f"{title}, nearest {k + 1}": train[near.index[columns, k]] for k in range(3)}
    heads = [""] * (2 * n)
    heads[n // 2], heads[n + n // 2] = f"the first {n}", f"the {n} most suspect"
    alt = f"Samples of {model.label} and held-out images, the first {n} and the {n} most suspect"
    alt += ", each with its three nearest training images" * may_show
    remark = f"<p>Training images of {escape(model.source)} are not shown in a page that may be passed on.</p>"
    return HTML(str(picture(strips(rows, columns=heads), alt).data) + remark * (not may_show))


def distances(found: Mapping[str, Neighbours]) -> HTML:
    """What share of each group lies within a distance of its nearest training image; and the same for that distance
    over the one to the second nearest. Grey line: 1 % of the held-out images lie left of it."""
    with subplots(7.6, 3.2, 1, 2) as (figure, axes):
        for ax, quantity in zip(axes, ("nearest", "ratio"), strict=True):
            for group, near in found.items():
                label, colour, style = GROUPS[group]
                ax.ecdf(getattr(near, quantity).numpy(), label=label, color=colour, linestyle=style)
            limit = float(getattr(found["test"], quantity).quantile(QUANTILE))
            ax.axvline(limit, color=plots.FAINT, linewidth=1, label="left of it: 1 % of held-out images")
            ax.set_xlim(left=0)
        axes[0].set(xlabel="distance to the nearest (grey levels)", ylabel="share of images")
        axes[1].set_xlabel("nearest over second nearest")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False)
    alt = "Cumulative shares of images over the distance to the nearest training image and over its ratio to the second"
    return picture(figure, alt)


def suspects(found: Mapping[str, Neighbours]) -> HTML:
    """Medians of the distance to the nearest training image and of its ratio to the second, and for both the share of
    images that lie below the lowest 1 % of held-out images, with its 95 % interval (Clopper and Pearson)."""
    lines = []
    for group, near in found.items():
        line = [GROUPS[group][0], f"{len(near.nearest):,}"]
        for quantity in ("nearest", "ratio"):
            values, limit = getattr(near, quantity), getattr(found["test"], quantity).quantile(QUANTILE)
            count = int((values < limit).sum())
            interval = binomtest(count, len(values)).proportion_ci(0.95)
            share, low, high = (f"{100 * p:.1f}" for p in (count / len(values), interval.low, interval.high))
            line += [f"{float(values.median()):.3g}", f"{share} % [{low}, {high}]"]
        lines.append(line)
    head = ["Images", "n", "Distance, median", "in the nearest 1 %", "Ratio, median", "in the lowest 1 %"]
    return table("Nearest training images (shares with 95 % intervals)", head, lines)
