"""The notebook on decoders: four decoders of one VAE, and the four families of generative models, as measured."""

import statistics
from collections.abc import Collection, Mapping
from pathlib import Path

from IPython.display import HTML
from torch import Tensor

from cqlib.metrics.evaluation import TIMED
from cqlib.models.base import System
from cqlib.suite.experiments.rows import NOTEBOOK_ROWS, short_label
from cqlib.suite.figures.common import draw, stored_samples
from cqlib.suite.report import plots
from cqlib.suite.report.cells import picture, table
from cqlib.suite.report.run_sets import RunSet, most_common

ROWS = NOTEBOOK_ROWS["figure_decoders"]
NONE = HTML("<p>No trained decoder is here: <code>./run_all.sh --only figure_decoders</code> trains them.</p>")
DECODERS = {
    "table1/vae": "factorised Gaussian",
    "extra/vae-full-covariance": "correlated Gaussian",
    "extra/vae-pixelcnn": "PixelCNN",
    "table1/vae-f": "NVP",
}
"""Row -> how its pixels depend on each other given z."""
FAMILIES = {
    ("autoregressive", "exact", "none"): ("table3/pixelcnnpp", "table3/pixelrnn"),
    ("flow", "bound: dequantisation", "as large as the image"): ("table3/nvp",),
    ("variational", "bound: ELBO", "a code, or one per layer"): ("table1/vae", "table3/vae-iaf", "table1/vae-f"),
    ("adversarial", "none; BPD of a VAE around it", "a code"): ("table1/gan", "table3/sngan", "table3/wgan-gp"),
    ("both losses", "bound: ELBO", "a code"): ("table1/cq-f",),
}
"""The slides' four families, and what the paper makes of two of them: (name, likelihood, latent space) -> rows."""


def batch_times(rows: Collection[str], runs: RunSet) -> dict[str, float]:
    """Row -> seconds for a batch of samples, the median over seeds; of the times measured on the device that is most
    common among `rows`, since only these can be compared."""
    timed = {row: [run.metrics["seconds"] for run in runs.records_of(row) if "seconds" in run.metrics] for row in rows}
    devices = [device for times in timed.values() for device in {time.protocol.device or "" for time in times}]
    medians = {}
    for row, times in timed.items():
        if alike := [time.number for time in times if time.protocol.device == most_common(devices)]:
            medians[row] = statistics.median(alike)
    return medians


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
    times, lines = batch_times(DECODERS, runs), []
    for row, name in DECODERS.items():
        done = runs.done(row)
        parameters = f"{done[0].parameters['total']:,}" if done else "—"
        ratio = f"{times[row] / min(times.values()):,.1f}" if row in times else "—"
        kls = [run.curve["KL"][-1][1] for run in done if run.curve.get("KL")]  # at the end of training
        kl = f"{statistics.mean(kls):,.1f}" if kls else "—"
        lines.append([name, runs.cell(row, "BPD"), kl, runs.cell(row, "FD-lite0"), parameters,
                      _milliseconds(times.get(row)), ratio, _seeds(runs, row)])  # fmt: skip
    head = ["Decoder", "BPD ↓", "KL, nats", "FD-lite0 ↓", "Parameters", f"{TIMED} samples", "times the fastest",
            "Seeds"]  # fmt: skip
    return table(f"Four decoders of one VAE ({runs.label})", head, lines)


def families(runs: RunSet) -> HTML:
    """The slides' families: what kind of likelihood, what latent space, the time of a batch, BPD and distance, and the
    number of seeds."""
    times, lines = batch_times([row for rows in FAMILIES.values() for row in rows], runs), []
    for family, rows in FAMILIES.items():
        for row in rows:
            lines.append([short_label(row), *family, _milliseconds(times.get(row)), runs.cell(row, "BPD"),
                          runs.cell(row, "FD-lite0"), _seeds(runs, row)])  # fmt: skip
    head = ["Model", "Family", "Likelihood", "Latent space", f"{TIMED} samples", "BPD ↓", "FD-lite0 ↓", "Seeds"]
    return table(f"Families of generative models ({runs.label})", head, lines)


def _seeds(runs: RunSet, row: str) -> str:
    """The number of finished runs of a row: means of more than one have a standard deviation."""
    return str(len(runs.done(row)) or "—")


def _milliseconds(seconds: float | None) -> str:
    return "—" if seconds is None else f"{1000 * seconds:,.1f} ms"
