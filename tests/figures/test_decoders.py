"""The notebook on decoders: what it says of models, and that it shows those that are there."""

from dataclasses import replace

import pytest
import torch
from fake_records import record, records
from IPython.display import HTML
from notebook_cells import by_name, smoke_model
from todays import of_today

from cqlib.data.grids import grid_png
from cqlib.experiments.rows import NOTEBOOK_ROWS, notebooks, short_label
from cqlib.figures import common as show
from cqlib.figures import decoders
from cqlib.metrics.metric import Metric, Protocol
from cqlib.report.run_sets import run_sets
from cqlib.util.files import write_atomic


@pytest.mark.parametrize(
    "row, likelihood, latent",
    [
        ("table3/pixelcnnpp", "exact", "none"),
        ("table3/pixelrnn", "exact", "none"),
        ("table3/nvp", "bound: dequantisation", "768, as many as pixel values"),
        ("table1/vae", "bound: ELBO", "16"),
        ("table2/cqf-residual", "bound: ELBO", "320 in 2 layers"),
        ("table3/vae-iaf", "bound: ELBO", None),
        ("table3/sngan", "none; BPD of a VAE around it", "128"),
    ],
)
def test_families_by_their_likelihood_and_latent_space(row, likelihood, latent):
    model = smoke_model(row)
    assert decoders.likelihood(model) == likelihood
    assert decoders.latent_space(model) == latent or latent is None and "layers" in decoders.latent_space(model)


def test_every_row_is_trained_by_the_name_of_the_notebook():
    shown = {*decoders.DECODERS, *(row for rows in decoders.FAMILIES.values() for row in rows)}
    assert shown == set(NOTEBOOK_ROWS["figure_decoders"]) == set(decoders.ROWS)
    assert "figure_decoders" in notebooks()


def test_tables_hold_what_is_there_and_dashes_for_the_rest():
    runs = run_sets(records(3, ("table1/vae", "table1/vae-f")), [])[0]
    for run, time in zip(runs.records_of("table1/vae"), (0.5, 0.002, 0.001), strict=True):
        run.metrics["seconds"] = Metric(time, None, 64, Protocol(device="CPU"))
        run.curve["KL"] = [[50, 9.0], [100, 1000 * time]]
    lines = by_name(decoders.compared(runs))
    assert list(lines) == list(decoders.DECODERS.values())
    assert lines["factorised Gaussian"][-3:] == ["2.0 ms", "1.0", "3"]  # the median over seeds, and their number
    assert lines["factorised Gaussian"][1] == "167.7" and lines["NVP"][1] == "—"  # the mean of the last ones
    assert lines["NVP"][-3:] == ["—", "—", "3"] and lines["NVP"][0] != "—"
    assert lines["PixelCNN"] == ["—"] * 7
    families = by_name(decoders.families(runs))
    assert families["VAE"][:4] == ["variational", "bound: ELBO", "64", "2.0 ms"] and families["VAE"][-1] == "3"
    assert families["NVP"] == ["flow", "bound: dequantisation", "768, as many as pixel values"] + ["—"] * 4


def test_times_compare_on_the_device_that_most_rows_were_timed_on():
    """Whichever device the run was trained on. A ratio is to the fastest of those that compare."""
    rows = ("table1/vae", "table1/vae-f")
    found = records(3, rows) + [of_today(replace(run, row="extra/vae-pixelcnn")) for run in records(1, ("table1/cq",))]
    found.append(of_today(replace(record("table1/cq"), row="extra/vae-full-covariance")))
    others = {"extra/vae-pixelcnn": (0.9, "a third"), "extra/vae-full-covariance": (0.0005, "another")}
    for run in found:
        value, device = others.get(run.row, (0.001 * (1 + run.seed), "CPU"))
        run.metrics["seconds"] = Metric(value, None, 64, Protocol(device=device))
    found[3].metrics["seconds"] = Metric(0.5, None, 64, Protocol(device="another"))  # VAE-F, seed 0
    html = decoders.compared(run_sets(found, [])[0])
    lines = {name: line[-3:-1] for name, line in by_name(html).items()}
    assert lines["factorised Gaussian"] == ["2.0 ms", "1.0"] and lines["NVP"] == ["2.5 ms", "1.2"]
    assert lines["PixelCNN"] == ["900.0 ms†", "450.0†"] and lines["correlated Gaussian"] == ["0.5 ms†", "0.2†"]
    assert "† timed on another device" in html.data


def test_samples_are_of_the_decoders_alone(tmp_path):
    rows = ("table1/vae", "extra/vae-full-covariance", "table3/sngan")
    found = {short_label(row): smoke_model(row) for row in rows}
    runs = run_sets(records(1, ("table1/vae-f",)), [])[0]
    page = decoders.samples(runs, found, tmp_path, n=4).data
    assert "Samples of decoders: factorised Gaussian, correlated Gaussian" in page and "SNGAN" not in page
    assert "Not here: PixelCNN, NVP. <code>./run_all.sh --only figure_decoders" in page
    assert decoders.samples(runs, {}, tmp_path) is decoders.NONE


def test_samples_without_weights_are_those_that_the_run_left(tmp_path, monkeypatch):
    runs = run_sets(records(1, ("table1/vae-f",)), [])[0]
    left = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_atomic(tmp_path / runs.records[0].folder / "samples.png", grid_png(left))
    assert torch.equal(show.stored_samples(runs, "table1/vae-f", tmp_path, 64), left)
    board = {}
    monkeypatch.setattr(decoders.plots, "sample_board", lambda rows, columns: board.update(rows[""]))
    monkeypatch.setattr(decoders, "picture", lambda figure, alt: HTML(alt))
    assert "Not here: factorised Gaussian" in decoders.samples(runs, {}, tmp_path, n=9).data
    assert list(board) == ["NVP"] and torch.equal(board["NVP"], left[:9])
