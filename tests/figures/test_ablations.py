"""The notebook on ablations: which runs it takes, and the effects that it could find."""

import numpy as np
from handmade import record
from notebook_cells import soup
from scipy import optimize, stats

from cqlib.experiments.record import write_record
from cqlib.figures import ablations
from cqlib.report.ablations import run_set


def test_a_run_of_this_machine_stands_for_the_published_one_of_its_name(tmp_path, monkeypatch):
    """Counted twice, two seeds would be four, and their intervals too narrow."""
    monkeypatch.setattr(ablations, "PUBLISHED", tmp_path / "published")
    for folder, value, seeds in ((tmp_path / "published", 4.0, (100, 101)), (tmp_path / ablations.FOLDER, 5.0, (100,))):
        for seed in seeds:
            write_record(record("table1/cq-f", seed, BPD=value), folder)
    assert {(run.seed, run.metrics["BPD"].value) for run in ablations.read(tmp_path)} == {(100, 5.0), (101, 4.0)}
    assert len(ablations.read(tmp_path)) == 2


def test_effects_that_can_be_detected_are_those_of_the_spread_over_seeds_in_margins_of_equality():
    """By Student's noncentral t, for two rows of n seeds with that spread; 0.05 bits, 10 % and 5 points are margins."""
    values = {"BPD": (4.0, 4.3), "FD-lite0@T0": (90.0, 110.0), "Recall-lite0@T0": (0.5, 0.56)}
    runs = [record("table1/cq-f", i, metrics={name: of[i] for name, of in values.items()}) for i in range(2)]
    scales = {"BPD": 20, "FD-lite0": 100 / 100 / 10, "Recall-lite0": 100 / 5}

    def effect(std, n):
        critical = stats.t.ppf(0.975, 2 * n - 2)
        return std * (2 / n) ** 0.5 * optimize.brentq(lambda c: stats.nct.sf(critical, 2 * n - 2, c) - 0.8, 1, 40)

    words = []
    for (score, scale), of in zip(scales.items(), values.values(), strict=True):
        two, ten = (scale * effect(np.std(of, ddof=1), n) for n in (2, 10))
        words.append(f"{score} {two:.1f} with two seeds, {ten:.1f} with 10")
    assert soup(ablations.detectable(run_set(runs))).svg["aria-label"].endswith(f"quick: {'; '.join(words)}")
    assert "takes two seeds" in ablations.detectable(run_set(runs[:1])).data
