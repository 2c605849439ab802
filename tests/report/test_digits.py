"""Counted digits: means over seeds of the nearest runs, real images first, a person's reading beside."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from fake_records import record, records

from cqlib.metrics.metric import Metric
from cqlib.report import digits, page
from cqlib.report.run_sets import run_sets

ROWS = ("table1/vae", "table1/cq-f")


def counted(run, read: float, uneven: float = 0.0):
    """The run with its digits counted: 0 more often than 9."""
    shares = {name: 0.1 + uneven * (4.5 - i) / 100 for i, name in enumerate(digits.SHARES)}
    values = {digits.READ: read, **shares} | {f"{name}-real": 0.1 for name in digits.SHARES} | {
        f"{digits.READ}-real": 0.97}  # fmt: skip
    return replace(run, metrics=run.metrics | {name: Metric(v, None, 2000, "p") for name, v in values.items()})


def test_lines_are_means_over_seeds_below_real_images(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "BY_EYE", tmp_path / "read_by_eye.json")
    runs = [counted(record("table1/cq-f", seed), read) for seed, read in enumerate((0.5, 0.7))]
    sets = run_sets([counted(record("table1/vae"), 0.2, 1.0)], [*runs, *records(1)])
    real, vae, cqf = digits.lines(sets, ROWS)
    assert (real.label, real.read, real.shares) == ("Real images", 0.97, (0.1,) * 10)
    assert (vae.label, vae.read) == ("VAE", 0.2) and vae.shares[1] == pytest.approx(0.135)
    assert (cqf.label, cqf.read, cqf.by_eye) == ("CQ-F", pytest.approx(0.6), "")
    assert digits.lines(run_sets([], records(1)), ROWS) == []  # on other images nobody counts
    digits.BY_EYE.write_text(json.dumps({"table1/cq-f": {"legible": 41, "of": 64}}))
    lines = digits.lines(sets, ROWS)
    assert [line.by_eye for line in lines] == ["", "", "41 of 64"]
    table = BeautifulSoup(page.macro("digit_table", lines), "html.parser").table
    cells = [[cell.get_text() for cell in line.find_all("td")] for line in table.tbody.find_all("tr")]
    assert [line[:2] for line in cells] == [["97 %", ""], ["20 %", ""], ["60 %", "41 of 64"]]
    assert cells[1][3] == "14 %" and len(cells[1]) == 12
