"""What the notebook on decoders shows: four decoders of one VAE, and the four families of generative models, by what
this suite has measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from IPython.display import HTML

from cqlib import names, plots, report
from cqlib.errors import UserError
from cqlib.evaluation import TIMED
from cqlib.experiments import RECIPES, build
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.hierarchical import Hierarchical
from cqlib.models.vae_iaf import VAEIAF
from cqlib.report_parts import short_label
from cqlib.run import load
from cqlib.show import draw, picture
from cqlib.tables import RunSet, measured

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


ROWS = names.NOTEBOOK_ROWS["figure_decoders"]


def systems(runs: RunSet, runs_dir: Path | str) -> dict[str, System]:
    """Row -> its system, those of `ROWS` whose weights are there, of the first seed."""
    found = {}
    for row in ROWS:
        for record in runs.of(row)[:1]:
            with suppress(UserError):
                found[row] = load(row, profile=record.profile, data=record.data.name, seed=record.seed,
                                  runs_dir=runs_dir)  # fmt: skip
    return found


def samples(found: Mapping[str, System], n: int = 36) -> HTML:
    """n samples of each decoder at temperature 1, and below at 0, from one seed."""
    named = {name: found[row] for row, name in DECODERS.items() if row in found}
    if not named:
        return NONE
    board = {f"T = {t}": {name: draw(system, n, t) for name, system in named.items()} for t in (1, 0)}
    return picture(plots.sample_board(board, columns=round(n**0.5)), f"Samples of decoders: {', '.join(named)}")


def compared(runs: RunSet) -> HTML:
    """BPD, distance and parameters of each decoder, and the time of a batch of samples."""
    times = {row: took for row in DECODERS if (took := seconds(row, runs)) is not None}
    least = min(times.values(), default=1.0)
    lines = []
    for row in DECODERS:
        done = runs.of(row)
        parameters = f"{done[0].parameters['total']:,}" if done else "—"
        ratio = f"{times[row] / least:,.1f}" if row in times else "—"
        scores = [measured(name, done) for name in ("BPD", "FD-lite0@T1", "FD-lite0@T0")]
        lines.append([DECODERS[row], *scores, parameters, _milliseconds(times.get(row)), ratio])
    head = ["Decoder", "BPD ↓", "FD-lite0 ↓, T = 1", "T = 0", "Parameters", f"{TIMED} samples", "times the fastest"]
    return HTML(report.macro("plain_table", f"Four decoders of one VAE ({runs.label})", head, lines))


def families(runs: RunSet) -> HTML:
    """The slides' families: what kind of likelihood, what latent space, the time of a batch, BPD and distance."""
    lines = []
    for family, rows in FAMILIES.items():
        for row in rows:
            done, system = runs.of(row), build(RECIPES[row](row, runs.profile, runs.size).system)
            about = [likelihood(system), latent_space(system)]
            scores = [measured(name, done) for name in ("BPD", "FD-lite0@T1")]
            lines.append([short_label(row), family, *about, _milliseconds(seconds(row, runs)), *scores])
    head = ["Model", "Family", "Likelihood", "Latent space", f"{TIMED} samples", "BPD ↓", "FD-lite0 ↓, T = 1"]
    return HTML(report.macro("plain_table", f"Families of generative models ({runs.label})", head, lines))


def seconds(row: str, runs: RunSet) -> float | None:
    """That a batch of samples took when the runs were measured: the median over seeds; None where none was timed."""
    times = [record.metrics["seconds"].value for record in runs.of(row) if "seconds" in record.metrics]
    return statistics.median(times) if times else None


def _milliseconds(time: float | None) -> str:
    return "—" if time is None else f"{1000 * time:,.1f} ms"


def likelihood(system: System) -> str:
    """ "exact", "bound: ELBO", … or "none"."""
    if not isinstance(system, LikelihoodSystem):
        return "none (starred BPD)"
    return "exact" if system.bound == "exact" else f"bound: {system.bound}"


def latent_space(system: System) -> str:
    """How many dimensions what is drawn first has; "none" where pixels alone are drawn."""
    if isinstance(system, Hierarchical | VAEIAF):
        shapes = system.decoder.shapes.values()
        return f"{sum(map(math.prod, shapes)):,} in {len(shapes)} layers"
    if latent := getattr(system.config, "latent", None):
        return f"{latent:,}"
    return "none" if system.bound == "exact" else f"{math.prod(system.shape):,}, as many as pixel values"
