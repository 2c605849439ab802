"""What the notebook on decoders shows: four decoders of one VAE, and the four families of generative models, by what
this suite has measured and measures anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from IPython.display import HTML

from cqlib import names, plots, report
from cqlib.errors import UserError
from cqlib.models.base import LikelihoodSystem, System
from cqlib.models.hierarchical import Hierarchical
from cqlib.models.vae_iaf import VAEIAF
from cqlib.report_parts import short_label
from cqlib.run import load
from cqlib.sampling_time import seconds_to_draw
from cqlib.show import draw, picture
from cqlib.tables import RunSet, measured

NONE = HTML("<p>No trained decoder is here: <code>./run_all.sh --only figure_decoders</code> trains them.</p>")
BATCH = 64
"""Samples whose time is taken: a batch of training."""
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


def compared(found: Mapping[str, System], runs: RunSet) -> HTML:
    """BPD, distance and parameters of each decoder, and the time of a batch of samples, measured now."""
    times = {row: seconds_to_draw(found[row], BATCH) for row in DECODERS if row in found}
    least = min(times.values(), default=1.0)
    lines = []
    for row in DECODERS:
        done = runs.of(row)
        parameters = f"{done[0].parameters['total']:,}" if done else "—"
        time = [f"{1000 * times[row]:,.1f} ms", f"{times[row] / least:,.1f}"] if row in times else ["—", "—"]
        scores = [measured(name, done) for name in ("BPD", "FD-lite0@T1", "FD-lite0@T0")]
        lines.append([DECODERS[row], *scores, parameters, *time])
    head = ["Decoder", "BPD ↓", "FD-lite0 ↓, T = 1", "T = 0", "Parameters", f"{BATCH} samples", "times the fastest"]
    return HTML(report.macro("plain_table", f"Four decoders of one VAE ({runs.label})", head, lines))


def families(found: Mapping[str, System], runs: RunSet) -> HTML:
    """The slides' families: what kind of likelihood, what latent space, the time of a batch, BPD and distance."""
    lines = []
    for family, rows in FAMILIES.items():
        for row in rows:
            done, system = runs.of(row), found.get(row)
            about = [likelihood(system), latent_space(system)] if system is not None else ["—", "—"]
            time = f"{1000 * seconds_to_draw(system, BATCH):,.1f} ms" if system is not None else "—"
            scores = [measured(name, done) for name in ("BPD", "FD-lite0@T1")]
            lines.append([short_label(row), family, *about, time, *scores])
    head = ["Model", "Family", "Likelihood", "Latent space", f"{BATCH} samples", "BPD ↓", "FD-lite0 ↓, T = 1"]
    return HTML(report.macro("plain_table", f"Families of generative models ({runs.label})", head, lines))


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
