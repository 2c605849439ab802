"""What the notebook on decoders shows: four decoders of one VAE, and the four families of generative models, by what
this suite has measured."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from IPython.display import HTML
from torch import Tensor

from cqlib.experiments import rows as names
from cqlib.experiments.record import Record
from cqlib.experiments.rows import short_label
from cqlib.experiments.run import load
from cqlib.figures.common import draw, stored_samples
from cqlib.metrics.evaluation import TIMED
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.hierarchical import Hierarchical
from cqlib.models.registry import RECIPES, build
from cqlib.models.vae_iaf import VAEIAF
from cqlib.report import missing as needs
from cqlib.report import page as report
from cqlib.report import plots
from cqlib.report.cells import picture
from cqlib.report.run_sets import RunSet, measured
from cqlib.util.errors import UserError

ELSEWHERE = "†"
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


def samples(runs: RunSet, found: Mapping[str, System], runs_dir: Path | str, n: int = 36) -> HTML:
    """n samples of each decoder at temperature 1, and below at 0: drawn from one seed where the weights are there, else
    the first that its run has left; and which decoders have neither."""

    def images(row: str, t: int) -> Tensor | None:
        if row in found:
            return draw(found[row], n, t)
        kept = stored_samples(runs, row, f"T{t}", runs_dir)
        return None if kept is None else kept[:n]

    board = {f"T = {t}": {name: made for row, name in DECODERS.items() if (made := images(row, t)) is not None}
             for t in (1, 0)}  # fmt: skip
    named = board["T = 1"]
    if not named:
        return NONE
    shown = picture(plots.sample_board(board, columns=round(n**0.5)), f"Samples of decoders: {', '.join(named)}")
    absent = [name for name in DECODERS.values() if name not in named]
    command = needs.command("figure_decoders", runs.profile)
    left = f"<p>Not here: {', '.join(absent)}. <code>{command}</code> trains what is missing.</p>" if absent else ""
    return HTML(str(shown.data) + left)


def compared(runs: RunSet) -> HTML:
    """BPD, KL, distance and parameters of each decoder, and the time of a batch of samples."""
    times = _times(DECODERS, runs)
    least = min((took for took, mark in times.values() if not mark), default=1.0)
    lines = []
    for row in DECODERS:
        done = runs.of(row)
        parameters = f"{done[0].parameters['total']:,}" if done else "—"
        scores = [measured(name, done) for name in ("BPD", "FD-lite0@T1", "FD-lite0@T0")]
        scores.insert(1, _kl(done))
        ratio = f"{times[row][0] / least:,.1f}{times[row][1]}" if row in times else "—"
        lines.append([DECODERS[row], *scores, parameters, _milliseconds(times.get(row)), ratio])
    head = ["Decoder", "BPD ↓", "KL, nats", "FD-lite0 ↓, T = 1", "T = 0", "Parameters", f"{TIMED} samples",
            "times the fastest"]  # fmt: skip
    caption = f"Four decoders of one VAE ({runs.label}{_elsewhere(times)})"
    return HTML(report.macro("plain_table", caption, head, lines))


def families(runs: RunSet) -> HTML:
    """The slides' families: what kind of likelihood, what latent space, the time of a batch, BPD and distance."""
    times = _times([row for rows in FAMILIES.values() for row in rows], runs)
    lines = []
    for family, rows in FAMILIES.items():
        for row in rows:
            done, system = runs.of(row), build(RECIPES[row](row, runs.profile, runs.size).system)
            about = [likelihood(system), latent_space(system)]
            scores = [measured(name, done) for name in ("BPD", "FD-lite0@T1")]
            lines.append([short_label(row), family, *about, _milliseconds(times.get(row)), *scores])
    head = ["Model", "Family", "Likelihood", "Latent space", f"{TIMED} samples", "BPD ↓", "FD-lite0 ↓, T = 1"]
    caption = f"Families of generative models ({runs.label}{_elsewhere(times)})"
    return HTML(report.macro("plain_table", caption, head, lines))


def _kl(done: Sequence[Record]) -> str:
    """How much the code says of a training image: D(q(z|x) || p(z)) at the end of training, the mean over seeds."""
    ends = [run.curve["KL"][-1][1] for run in done if run.curve.get("KL")]
    return f"{statistics.mean(ends):,.1f}" if ends else "—"


def _times(rows: Collection[str], runs: RunSet) -> dict[str, tuple[float, str]]:
    """Row -> the seconds that a batch of samples took when its runs were measured, the median over seeds, with a mark.
    Times compare under one protocol alone, which names the device: the one that most rows were timed under. `ELSEWHERE`
    marks a row that was not."""
    timed = {row: found for row in rows if (found := [r.metrics["seconds"] for r in runs.of(row)
                                                      if "seconds" in r.metrics])}  # fmt: skip
    rows_by = Counter(protocol for found in timed.values() for protocol in {time.protocol for time in found})
    runs_by = Counter(time.protocol for found in timed.values() for time in found)
    usual = min(rows_by, key=lambda protocol: (-rows_by[protocol], -runs_by[protocol], protocol), default="")
    times = {}
    for row, found in timed.items():
        alike = [time for time in found if time.protocol == usual]
        times[row] = statistics.median(time.value for time in alike or found), "" if alike else ELSEWHERE
    return times


def _elsewhere(times: Mapping[str, tuple[float, str]]) -> str:
    return f"; {ELSEWHERE} timed on another device" if any(mark for _, mark in times.values()) else ""


def _milliseconds(time: tuple[float, str] | None) -> str:
    return "—" if time is None else f"{1000 * time[0]:,.1f} ms{time[1]}"


def likelihood(system: System) -> str:
    """ "exact", "bound: ELBO", … or "none"."""
    if not isinstance(system, LikelihoodSystem):
        return "none (starred BPD)"
    return "exact" if system.bound == "exact" else f"bound: {system.bound.removesuffix(' bound')}"


def latent_space(system: System) -> str:
    """How many dimensions what is drawn first has; "none" where pixels alone are drawn."""
    if isinstance(system, Hierarchical | VAEIAF):
        shapes = system.decoder.shapes.values()
        return f"{sum(map(math.prod, shapes)):,} in {len(shapes)} layers"
    if latent := getattr(system.config, "latent", None):
        return f"{latent:,}"
    return "none" if system.bound == "exact" else f"{math.prod(system.shape):,}, as many as pixel values"
