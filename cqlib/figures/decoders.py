"""The notebook on decoders: four decoders of one VAE, and the four families of generative models, as measured."""

import math
import statistics
from collections.abc import Mapping
from pathlib import Path

from IPython.display import HTML
from torch import Tensor

from cqlib.experiments.rows import NOTEBOOK_ROWS, short_label
from cqlib.figures.common import batch_times, draw, stored_samples
from cqlib.metrics.evaluation import TIMED
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.hierarchical import Hierarchical
from cqlib.models.registry import RECIPES, build
from cqlib.models.vae_iaf import VAEIAF
from cqlib.report import plots
from cqlib.report.cells import picture, table
from cqlib.report.run_sets import RunSet

ROWS = NOTEBOOK_ROWS["figure_decoders"]
OTHER_DEVICE = "†"
NONE = HTML("<p>No trained decoder is here: <code>./run_all.sh --only figure_decoders</code> trains them.</p>")
DECODERS = {
    "table1/vae": "factorised Gaussian",
    "extra/vae-full-covariance": "correlated Gaussian",
    "extra/vae-pixelcnn": "PixelCNN",
    "table1/vae-f": "NVP",
}
"""Row -> how its pixels depend on each other given z."""
FAMILIES = {
    "autoregressive": ("table3/pixelcnnpp", "table3/pixelrnn"),
    "flow": ("table3/nvp",),
    "variational": ("table1/vae", "table3/vae-iaf", "table1/vae-f"),
    "adversarial": ("table1/gan", "table3/sngan", "table3/wgan-gp"),
    "both losses": ("table1/cq-f",),
}
"""The slides' four families, and what the paper makes of two of them."""


def samples(runs: RunSet, models: Mapping[str, System], runs_dir: Path | str, n: int = 36) -> HTML:
    """n samples of each decoder: drawn with one fixed seed where the model is among `models` (by short label), else the
    first ones stored by its run; and a note on decoders that have neither."""

    def images(row: str) -> Tensor | None:
        model = models.get(short_label(row))
        return stored_samples(runs, row, runs_dir, n) if model is None else draw(model, n)

    board = {name: x for row, name in DECODERS.items() if (x := images(row)) is not None}
    if not board:
        return NONE
    figure = picture(plots.sample_board({"": board}, columns=round(n**0.5)), f"Samples of decoders: {', '.join(board)}")
    if absent := [name for name in DECODERS.values() if name not in board]:
        command = runs.command("figure_decoders", DECODERS)
        missing = f"<p>Not here: {', '.join(absent)}. <code>{command}</code> trains what is missing.</p>"
        figure.data = f"{figure.data}{missing}"
    return figure


def compared(runs: RunSet) -> HTML:
    """BPD, KL, distance and parameters of each decoder, the time of a batch of samples, and the number of seeds: of one
    alone nothing says how far chance moves it."""
    times = batch_times(DECODERS, runs)
    least = min((seconds for seconds, alike in times.values() if alike), default=1.0)
    lines = []
    for row, name in DECODERS.items():
        done = runs.done(row)
        bpd, distance = (runs.cell(row, metric) for metric in ("BPD", "FD-lite0"))
        parameters = f"{done[0].parameters['total']:,}" if done else "—"
        ratio = f"{times[row][0] / least:,.1f}{OTHER_DEVICE * (not times[row][1])}" if row in times else "—"
        kls = [run.curve["KL"][-1][1] for run in done if run.curve.get("KL")]  # at the end of training
        kl = f"{statistics.mean(kls):,.1f}" if kls else "—"
        lines.append([name, bpd, kl, distance, parameters, _milliseconds(times.get(row)), ratio,
                      _seeds(runs, row)])  # fmt: skip
    head = ["Decoder", "BPD ↓", "KL, nats", "FD-lite0 ↓", "Parameters", f"{TIMED} samples", "times the fastest",
            "Seeds"]  # fmt: skip
    return table(f"Four decoders of one VAE ({runs.label}{_note(times)})", head, lines)


def families(runs: RunSet) -> HTML:
    """The slides' families: what kind of likelihood, what latent space, the time of a batch, BPD and distance, and the
    number of seeds."""
    times = batch_times([row for rows in FAMILIES.values() for row in rows], runs)
    lines = []
    for family, row in ((family, row) for family, rows in FAMILIES.items() for row in rows):
        model = build(RECIPES[row](row, runs.profile, runs.size).system)
        lines.append([short_label(row), family, likelihood(model), latent_space(model), _milliseconds(times.get(row)),
                      runs.cell(row, "BPD"), runs.cell(row, "FD-lite0"), _seeds(runs, row)])  # fmt: skip
    head = ["Model", "Family", "Likelihood", "Latent space", f"{TIMED} samples", "BPD ↓", "FD-lite0 ↓", "Seeds"]
    return table(f"Families of generative models ({runs.label}{_note(times)})", head, lines)


def _note(times: Mapping[str, tuple[float, bool]]) -> str:
    return "" if all(alike for _, alike in times.values()) else f"; {OTHER_DEVICE} timed on another device"


def _seeds(runs: RunSet, row: str) -> str:
    """The number of finished runs of a row: means of more than one have a standard deviation."""
    return str(len(runs.done(row)) or "—")


def _milliseconds(time: tuple[float, bool] | None) -> str:
    return "—" if time is None else f"{1000 * time[0]:,.1f} ms{OTHER_DEVICE * (not time[1])}"


def likelihood(model: System) -> str:
    """The kind of likelihood that a model gives: "exact", "bound: ELBO", … or "none; …" without one."""
    if not isinstance(model, LikelihoodSystem):
        return "none; BPD of a VAE around it"
    return "exact" if model.bound == "exact" else f"bound: {model.bound.removesuffix(' bound')}"


def latent_space(model: System) -> str:
    """The number of latent dimensions that a sample starts from, in words; "none" where pixels are drawn directly."""
    if isinstance(model, Hierarchical | VAEIAF):
        shapes = model.decoder.shapes.values()
        return f"{sum(map(math.prod, shapes)):,} in {len(shapes)} layers"
    if latent := getattr(model.config, "latent", None):
        return f"{latent:,}"
    return "none" if model.bound == "exact" else f"{math.prod(model.shape):,}, as many as pixel values"
