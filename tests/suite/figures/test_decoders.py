"""The notebook on decoders: its tables of what was measured, and the samples that are there."""

from dataclasses import replace

import torch
from fake_records import record, records
from IPython.display import HTML
from notebook_cells import by_name
from todays import of_today

from cqlib.data.grids import grid_png
from cqlib.metrics.metric import Metric, Protocol
from cqlib.suite.experiments.rows import NOTEBOOK_ROWS
from cqlib.suite.figures import decoders
from cqlib.suite.report.groups import groups
from cqlib.util.files import write_atomic


def test_every_row_is_trained_by_the_name_of_the_notebook():
    shown = {*decoders.DECODERS, *(row for rows in decoders.FAMILIES.values() for row in rows)}
    assert shown == set(NOTEBOOK_ROWS["figure_decoders"])


def test_tables_hold_what_is_there_and_dashes_for_the_rest():
    runs = groups(records(3, ("table1/vae", "table1/vae-f")), [])[0]
    for run, time in zip(runs.records_of("table1/vae"), (0.5, 0.002, 0.001), strict=True):
        run.metrics["seconds"] = Metric(time, None, 64, Protocol(device="CPU"))
        run.curve["KL"] = [[50, 9.0], [100, 1000 * time]]
    lines = by_name(decoders.compared(runs))
    assert list(lines) == list(decoders.DECODERS.values())
    assert lines["factorised Gaussian"][-3:] == ["2.0 ms", "1.0", "3"]  # the median over seeds, and their number
    assert lines["factorised Gaussian"][1] == "167.7" and lines["NVP"][1] == "—"  # the mean of the last ones
    assert lines["PixelCNN"] == ["—"] * 7
    families = by_name(decoders.families(runs))
    assert families["VAE"][1] == "bound: ELBO" and families["VAE"][3] == "2.0 ms" and families["VAE"][-1] == "3"
    assert families["NVP"][-4:] == ["—"] * 4


def test_times_are_those_of_the_protocol_that_most_rows_were_timed_under():
    """It names the device, whichever the run was trained on."""
    rows = ("table1/vae", "table1/vae-f")
    found = records(3, rows) + [of_today(replace(record("table1/cq"), row="extra/vae-pixelcnn"))]
    for run in found:
        slow = run.row == "extra/vae-pixelcnn"
        seconds, protocol = 0.9 if slow else 0.001 * (1 + run.seed), Protocol(device=f"CPU {slow}")
        run.metrics["seconds"] = Metric(seconds, None, 64, protocol)
    found[3].metrics["seconds"] = Metric(0.5, None, 64, Protocol(device="another"))  # VAE-F, seed 0
    times = decoders.batch_times(decoders.DECODERS, groups(found, [])[0])
    assert times == {"table1/vae": 0.002, "table1/vae-f": 0.0025}


def test_samples_without_weights_are_those_that_the_run_left(tmp_path, monkeypatch):
    runs = groups(records(1, ("table1/vae-f",)), [])[0]
    left = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_atomic(tmp_path / runs.records[0].folder / "samples.png", grid_png(left))
    board = {}
    monkeypatch.setattr(decoders.plots, "sample_board", lambda rows, columns: board.update(rows[""]))
    monkeypatch.setattr(decoders, "picture", lambda figure, alt: HTML(alt))
    assert "Not here: factorised Gaussian" in decoders.samples(runs, {}, tmp_path, n=9).data
    assert list(board) == ["NVP"] and torch.equal(board["NVP"], left[:9])
