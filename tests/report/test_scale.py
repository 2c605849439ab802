"""Scores of CQ-F by width stand in the report once three widths were run."""

from dataclasses import replace

import pytest
from fake_records import record

from cqlib.experiments.experiment import experiment
from cqlib.metrics.metric import Metric
from cqlib.models.registry import build
from cqlib.report import scale
from cqlib.report.run_sets import run_sets


def runs(*rows):
    found = []
    for row in rows:
        for seed in range(2):
            counts = {"total": 60 * scale.PERCENT[row] ** 2}
            made = replace(record("table1/cq-f", seed), row=row, parameters=counts)
            made.metrics["BPD"] = Metric(6.0 - scale.PERCENT[row] / 100 + 0.1 * seed, None, 10, "x")
            found.append(made)
    return run_sets(found, [])[0]


def test_a_picture_takes_three_widths_and_tells_them_in_order():
    rows = ("extra/cq-f-width-150", "table1/cq-f", "extra/cq-f-width-50")
    assert scale.plots_of(runs(*rows[:2])) == []
    made = runs(*rows)
    points = scale.series(made, "BPD")
    assert [(percent, round(mean, 3)) for percent, _, mean, _ in points] == [(50, 5.55), (100, 5.05), (150, 4.55)]
    assert points[0][1] == pytest.approx(0.15) and points[0][3] == pytest.approx(0.1 / 2**0.5)
    (plot,) = scale.plots_of(made)
    alone = replace(made.of("table1/cq-f")[0], row="extra/cq-f-width-75", parameters={"total": 1})  # has no distance
    alone = replace(alone, metrics={"BPD": alone.metrics["BPD"]})
    (more,) = scale.plots_of(run_sets([*made.records, alone], [])[0])
    assert [text in more["svg"] for text in ("width 50 %", "width 75 %", "width 100 %", "width 150 %")] == [
        True, False, True, True]  # fmt: skip
    said = [plots["svg"].split("CQ-F: ")[1].split('"')[0].split(", width ") for plots in (plot, more)]
    assert said[0] == said[1]
    assert "width 50 % 5.55 bpd" in plot["svg"] and "width" in plot["caption"] and plot["svg"].startswith("<svg")


@pytest.mark.parametrize("row", scale.WIDTHS)
def test_all_nets_have_the_width_that_the_row_says(row):
    whole, part = (build(experiment(name, "quick").recipe.system).parameter_counts() for name in ("table1/cq-f", row))
    share = scale.WIDTHS[row] / 100
    low, high = sorted((share, share**2))  # weights between layers go with the square, those at the ends do not
    for net in ("encoder", "decoder", "flow", "critic"):
        assert low < part[net] / whole[net] < high
