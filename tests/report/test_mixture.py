"""The mixture of GAN and VAE-F: the arithmetic of its bound, and that it is a line of Table 1 and never a record."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fake_records import record, records

from cqlib.experiments import paper
from cqlib.report import mixture, tables
from cqlib.report.run_sets import run_sets


def test_the_bound_is_that_of_the_probabilities_themselves():
    """Of any image, if the other model gives it any probability at all, and reached where it gives it none."""
    rng = np.random.default_rng(0)
    dimensions, share = 12, 0.01
    for _ in range(100):
        p_likely, p_gan = rng.uniform(1e-6, 1e-3), rng.uniform(0, 1e-3)
        bpd = -math.log2(p_likely) / dimensions
        mixed = -math.log2((1 - share) * p_gan + share * p_likely) / dimensions
        assert mixed <= mixture.most_bits(bpd, dimensions, share)
    assert mixture.most_bits(bpd, dimensions, share) == pytest.approx(-math.log2(share * p_likely) / dimensions)
    assert mixture.most_bits(4.6, 768) == pytest.approx(4.6 + math.log2(100) / 768)  # 0.009 bits at 16x16


def test_its_line_has_the_bits_of_one_model_and_the_scores_of_the_other():
    (runs,) = run_sets(records(3), [])
    names = tables.columns([runs], ["table1/gan"])
    bpd, *scores, seeds = mixture.cells(runs, names)
    most = runs.mean("table1/vae-f", "BPD").value + math.log2(100) / (3 * 16 * 16)
    assert most <= float(bpd.text.removeprefix("≤\u00a0")) < most + 0.01
    assert [cell.text for cell in scores] == [f"≈\u00a0{runs.cell('table1/gan', name).text}" for name in names[1:]]
    assert seeds.text == ""  # nobody trained it
    view = tables.view(paper.TABLE1, [runs])
    (lines,) = view.groups.values()
    assert lines[-1].label == mixture.LABEL and lines[-2].label == "Real images" and mixture.MEANING in view.remarks
    assert not any(mixture.LABEL in name for name in runs.rows)
    assert not tables.view(paper.TABLE2, [runs]).remarks


@pytest.mark.parametrize("lacking", ["table1/gan", "table1/vae-f"])
def test_without_either_model_there_is_no_such_line(lacking):
    (runs,) = run_sets([run for run in records(1) if run.row != lacking], [])
    assert mixture.cells(runs, ["BPD", "FD-lite0"]) is None
    (diverged,) = run_sets([record("table1/vae-f"), record("table1/gan", status="diverged")], [])
    assert mixture.cells(diverged, ["BPD", "FD-lite0"]) is None
