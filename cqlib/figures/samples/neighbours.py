"""Nearest training images of samples, beside those of held-out images and of known copies: are samples copies?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from IPython.display import HTML
from markupsafe import escape
from matplotlib.axes import Axes
from scipy.stats import binomtest
from torch import Tensor

from cqlib.data import WITH_PIP
from cqlib.experiments.experiment import experiment
from cqlib.experiments.load import ModelAndData, find_model
from cqlib.experiments.selection import Selection
from cqlib.figures.samples import memorisation
from cqlib.figures.strips import strips
from cqlib.metrics import evaluation
from cqlib.metrics.cache import FeatureCache
from cqlib.metrics.features import features_for
from cqlib.metrics.metric import NETWORKS
from cqlib.report import plots
from cqlib.report.cells import live, picture, subplots, table
from cqlib.util.errors import UserError

MAX_REFERENCE = 50_000  # training images that others are compared with, at most
SIGMA = 8.0  # noise of the copier, in grey levels, where none is given
QUANTILE = 0.01  # an image nearer to training images than all but this share of held-out ones is suspect
FEATURE_IMAGES = 120  # samples, and held-out images, that features are taken of
LINES = {
    "samples": (plots.SERIES[3], "-"), "test": (plots.INK, "-"),
    "noise": (plots.SERIES[1], "--"), "mirror": (plots.SERIES[0], "-."),
}  # fmt: skip
GROUPS = {
    "samples": "samples", "test": "held-out images", "noise": "copies under noise", "mirror": "mirrored copies",
}  # fmt: skip


def find(selection: Selection) -> tuple[ModelAndData, str]:
    """The model of the first row, on the first data set and seed, or CQ-F of the default run where that model or its
    data is missing; and a description, which then says why."""
    try:
        model = find_model(selection.first(selection.rows[0]), selection.runs_dir, selection.data_dir)
        images, note = model.data, ""
    except UserError as error:
        model = find_model(experiment("table1/cq-f"), selection.runs_dir, selection.data_dir)
        images, note = model.data, f"{error}\nShown instead:\n"
    return model, f"{note}{model.label}: {len(images.train):,} training images, {len(images.test):,} held out"


def draw(model: ModelAndData, n: int) -> Tensor:
    """n samples uint8 (n, C, H, W), the same ones whenever this is called."""
    return evaluation.draw_samples(model.model, n, seed=model.experiment.seed)


def shows_training_images(model: ModelAndData) -> bool:
    """Whether training images may stand in a picture: those of `WITH_PIP` always, others on a reader's own screen."""
    return model.experiment.data in WITH_PIP or live()


def beside_real(model: ModelAndData, n: int = 64) -> HTML:
    """Training images, or held-out ones where those may not be shown, and samples."""
    training = shows_training_images(model)
    name, split = ("training images", model.data.train) if training else ("held-out images", model.data.test)
    board = {name: split.images[:n], "samples": draw(model, n)}
    return picture(plots.sample_board({"": board}, columns=8), f"{n} {name}, then {n} samples of {model.label}")


@dataclass(frozen=True)
class Neighbours:
    """The nearest training images of n images: distances (n, 3), nearest first, and indices (n, 3)."""

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


@dataclass(frozen=True)
class NearestImages:
    """Images by group (`GROUPS`), and their neighbours in both spaces: `pixels`, and `features` for the first images of
    some groups; `description` says how many were compared."""

    images: Mapping[str, Tensor]
    pixels: Mapping[str, Neighbours]
    features: Mapping[str, Neighbours]
    description: str

    @property
    def spaces(self) -> dict[str, Mapping[str, Neighbours]]:
        """Name of a space -> group -> neighbours in it."""
        return {"pixels": self.pixels, "features": self.features}


def nearest_images(
    model: ModelAndData, *, runs_dir: Path | str, data_dir: Path | str | None = None,
    feature_weights: Path | str | None = None, sigma: float = SIGMA,
) -> NearestImages:  # fmt: skip
    """The nearest training images of 1,000 held-out images (or as many as there are), of as many samples, of half as
    many copies of training images under noise of `sigma` grey levels, and of as many mirrored ones: copies that a test
    of copying has to find.

    Features are compared for `FEATURE_IMAGES` samples (or fewer, by the profile), as many held-out images and half as
    many mirrored copies, with those training images that are nearest in pixels to one of these or to its mirror image.
    """
    e, train, test = model.experiment, model.data.train.images[:MAX_REFERENCE], model.data.test.images[:1000]
    n, generator = len(test), torch.Generator().manual_seed(e.seed)
    images = {
        "samples": draw(model, n),
        "test": test,
        "noise": memorisation.copier_samples(train, n // 2, sigma=sigma, generator=generator),
        "mirror": train[torch.randint(len(train), (n // 2,), generator=generator)].flip(3),
    }
    pixels = {name: Neighbours(*memorisation.nearest(group, train, 3)) for name, group in images.items()}
    description = f"in pixels: {n:,} samples against {len(train):,} training images"
    most = min(FEATURE_IMAGES, e.evaluation.fidelity_images // 4)
    groups = {"samples": images["samples"][:most], "test": test[:most], "mirror": images["mirror"][: most // 2]}
    candidates = [pixels[name].index[: len(group), 0] for name, group in groups.items()]
    candidates += [memorisation.nearest(group.flip(3), train)[1][:, 0] for group in groups.values()]
    index, cache = torch.cat(candidates).unique(), Path(runs_dir) / "features"
    weights = Path(feature_weights) if feature_weights else None
    features = features_for(weights, data_dir, profile=e.profile, side=e.evaluation.side)
    pooled = FeatureCache(features, cache if cache.is_dir() else None).pooled
    reference = pooled(train[index])
    in_features = {name: memorisation.nearest(pooled(group), reference, 3) for name, group in groups.items()}
    near = {name: Neighbours(distances, index[places]) for name, (distances, places) in in_features.items()}
    network = NETWORKS[features.name]
    description += f"\nin features ({network}): {len(groups['samples'])} samples against {len(index):,} of them"
    return NearestImages(images, pixels, near, description)


def board(model: ModelAndData, images: NearestImages, n: int = 6) -> HTML:
    """The first n samples and the n with the lowest `ratio` in pixels, each above its three nearest training images in
    pixels and in features; below, held-out images in the same way. Training images are left out where they may not be
    shown."""
    train, may_show, rows = model.data.train.images, shows_training_images(model), {}
    for group, title in (("samples", "samples"), ("test", "held out")):
        count = len(images.features[group].nearest)
        columns = torch.cat((torch.arange(n), images.pixels[group].ratio[:count].argsort()[:n]))
        rows[title] = images.images[group][columns]
        for name, space in images.spaces.items() if may_show else ():
            rows |= {f"{title}, {name} {k + 1}": train[space[group].index[columns, k]] for k in range(3)}
    heads = [""] * (2 * n)
    heads[n // 2], heads[n + n // 2] = f"the first {n}", f"the {n} most suspect"
    alt = f"Samples of {model.label} and held-out images, the first {n} and the {n} most suspect"
    alt += f", each with three training images nearest in {' and in '.join(images.spaces)}" * may_show
    remark = f"<p>Training images of {escape(model.source)} are not shown in a page that may be passed on.</p>"
    return HTML(str(picture(strips(rows, columns=heads), alt).data) + remark * (not may_show))


def distances(images: NearestImages) -> HTML:
    """What share of each group lies within a distance of its nearest training image; and the same for that distance
    over the one to the second nearest. Dots: medians. Grey line: 1 % of the held-out images lie left of it."""
    units, words = {"pixels": "grey levels", "features": "r.m.s."}, []
    with subplots(7.6, 0.6 + 2.5 * len(images.spaces), len(images.spaces), 2, squeeze=False) as (figure, axes):
        for line, (name, space) in zip(axes, images.spaces.items(), strict=True):
            for ax, quantity in zip(line, ("nearest", "ratio"), strict=True):
                for group in (group for group in LINES if group in space):
                    median = cumulative(ax, getattr(space[group], quantity), _in_legend(group, images), *LINES[group])
                    words.append(f"{name}, {quantity}: {GROUPS[group]} {median:.3g}")
                limit = float(getattr(space["test"], quantity).quantile(QUANTILE))
                share = f"left of it: {100 * QUANTILE:g} % of held-out images"
                ax.axvline(limit, color=plots.FAINT, linewidth=1, label=share)
                ax.set_xlim(left=0)
            line[0].set(xlabel=f"Distance to the nearest, {name} ({units[name]})", ylabel="share of images")
            line[1].set_xlabel(f"Nearest over second nearest, {name}")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False)
    alt = "Cumulative shares of images over the distance to the nearest training image and over its ratio to the second"
    return picture(figure, f"{alt}; medians: {'; '.join(words)}")


def _in_legend(group: str, images: NearestImages) -> str:
    """The name of a group, and the space where it is drawn if that is not each: "copies under noise (pixels only)"."""
    within = [name for name, space in images.spaces.items() if group in space]
    return GROUPS[group] + f" ({', '.join(within)} only)" * (0 < len(within) < len(images.spaces))


def cumulative(ax: Axes, values: Tensor, label: str, colour: str, style: str) -> float:
    """Draws the share of `values` (n,) that lies below each value, with a dot at the median, which is returned."""
    values, median = values.sort().values, float(values.median())
    share = torch.arange(1, len(values) + 1) / len(values)
    ax.step(values, share, where="post", color=colour, linestyle=style, label=label, linewidth=1.6)
    ax.plot(median, 0.5, "o", color=colour, markersize=4)
    ax.set_ylim(0, 1)
    return median


def suspects(images: NearestImages) -> HTML:
    """Medians of the distance to the nearest training image, how often it is less than a held-out image's, and the
    share of images nearer than the nearest 1 % of held-out images, with its 95 % interval; the same for the ratio."""
    lines = []
    for name, space in images.spaces.items():
        for group, near in space.items():
            line = [f"{GROUPS[group]}, {name}", f"{len(near.nearest):,}"]
            for quantity in ("nearest", "ratio"):
                values, test = getattr(near, quantity), getattr(space["test"], quantity)
                count = int((values < float(test.quantile(QUANTILE))).sum())
                interval = binomtest(count, len(values)).proportion_ci(0.95)  # Clopper and Pearson
                share, low, high = (f"{100 * p:.1f}" for p in (count / len(values), interval.low, interval.high))
                nearer = memorisation.probability_nearer(values, test)
                line += [f"{float(values.median()):.3g}", f"{nearer:.2f}", f"{share} % [{low}, {high}]"]
            lines.append(line)
    head = ["Images", "n", "Distance, median", "nearer than held out", "in the nearest 1 %",
            "Ratio, median", "below held out", "in the lowest 1 %"]  # fmt: skip
    return table("Nearest training images (shares with 95 % intervals)", head, lines)
