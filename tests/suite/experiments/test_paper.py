"""Every number, tick, label and citation of the slides' tables against the tables' own text."""

from __future__ import annotations

import re

import pytest

from cqlib.metrics.quantities import QUANTITIES
from cqlib.suite.experiments import claims, paper, trade_off
from cqlib.suite.experiments.rows import ROWS

TABLE1 = r"""
| CIFAR-10 | | | | | | |
|----------|-----------------|-----------------|-----|------------|------------|-------------|
| | \mathcal{L}_Q | \mathcal{L}_C | NVP | BPD ↓ | IS ↑ | FID ↓ |
| VAE | | ✓ | | 4.4 | 2.0 | 171.0 |
| VAE-F | | ✓ | ✓ | 3.5 | 3.0 | 112.0 |
| CQ | ✓ | ✓ | | 4.4 | 5.1 | 58.6 |
| CQ-F | ✓ | ✓ | ✓ | 3.9 | 7.1 | 28.0 |
| GAN | ✓ | | | 7.0 * | 6.8 | 31.4 |
"""
TABLE2 = """
| CIFAR-10 | | | | | |
|--------------------|-----|----------|-------------|------------|-------------|
| | IAF | Residual | BPD ↓ | IS ↑ | FID ↓ |
| GAN | | | 7.0 (*) | 6.8 | 31.4 |
| GAN | | ✓ | — | 7.4 | 24.0 |
| CQ-F | | | 3.90 | 7.1 | 28.0 |
| CQ-F | | ✓ | 3.84 | 7.5 | 26.0 |
| CQ-F | ✓ | ✓ | 3.77 | 7.9 | 20.1 |
| CQ-F (large Discr.) | ✓ | ✓ | 3.74 | 8.1 | 18.6 |
"""
TABLE3 = """
| | CIFAR-10 | | | STL-10 | | |
|---|-------------|------------|-------------|-------------|------------|-------------|
| | BPD ↓ | IS ↑ | FID ↓ | BPD ↓ | IS ↑ | FID ↓ |
| DCGAN [Radford et al., 2016] | | 6.6 | | | | |
| SNGAN [Miyato et al., 2018] | | 7.4 | 29.3 | | 8.3 | 53.1 |
| SNGAN-Hinge [Miyato et al., 2018] | | | | | 8.7 | 47.5 |
| BatchGAN [Lucas et al., 2018] | | 7.5 | 23.7 | | 8.7 | 51 |
| WGAN-GP [Gulrajani et al., 2017a] | | 7.9 | | | | |
| Improved Training GAN [Salimans et al., 2016] | | 8.1 | | | | |
| SNGAN-ResNet-Hinge [Miyato et al., 2018] | | 8.2 | 21.7 | | 9.1 | 40.1 |
| Prog-GAN [Karras et al., 2018] | | 8.8 | | | | |
| NVP [Dinh et al., 2017] | 3.49 | | | | | |
| VAE-IAF [Kingma et al., 2016b] | 3.11 | | | | | |
| PixelRNN [van den Oord et al., 2016] | 3.00 | | | | | |
| PixelCNN++ [Salimans et al., 2017] | 2.92 | | | | | |
| CQ-F [+Residual, +flow, +large D] (Ours) | 3.74 | 8.1 | 18.6 | 4.00 | 8.6 | 52.7 |
| CQ-F [+Residual, +flow, +2 scales] (Ours) | 3.48 | 6.9 | 28.9 | 3.82 | 8.6 | 52.1 |
"""
SLIDES = (TABLE1, TABLE2, TABLE3)


def cells(text: str) -> list[list[str]]:
    """The lines of a markdown table as lists of cells, the rule between head and body left out."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("|--")]
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines]


@pytest.mark.parametrize("table, text", list(zip(paper.TABLES, SLIDES, strict=True)))
def test_table_says_what_the_slide_says(table, text):
    head, columns, *body = cells(text)
    ticks = [re.sub(r"\\mathcal\{(.)\}", r"\1", name) for name in columns[1 : columns.index("BPD ↓")]]
    assert [paper.DATA_SETS[data].label for data in table.data] == [name for name in head if name]
    assert columns[1 + len(ticks) :] == list(paper.METRICS.values()) * len(table.data)

    for row, line in zip(table.rows, body, strict=True):
        assert line[0] == row.label + (f" [{row.citation}]" if row.citation else "")
        assert row.ticks == tuple(name for name, cell in zip(ticks, line[1:], strict=False) if cell == "✓")
        printed = [f"{cell.text} {cell.mark}".strip() for cell in row.numbers]
        assert printed == line[1 + len(ticks) :]
        columns_of = [(data, metric) for data in table.data for metric in paper.METRICS]
        assert [(cell.data, cell.metric) for cell in row.numbers] == columns_of
        assert all(cell.row == row.id for cell in row.numbers)


def test_starred_numbers_and_doubts_carry_their_footnotes():
    assert paper.TABLE1.footnotes == paper.TABLE2.footnotes == ("frozen-gan",)
    noted = {id for row in paper.ROWS.values() for id in row.footnotes}
    noted |= {note for table in paper.TABLES for note in table.footnotes}
    noted |= {"seven-data-sets", "eq4-sign"}
    assert noted == set(paper.FOOTNOTES)


def test_rows_of_one_model_share_their_numbers():
    for alias, row in paper.SAME_MODEL.items():
        assert paper.canonical(alias) == row and paper.canonical(row) == row
        for metric in paper.METRICS:
            values = [paper.number(name, "cifar10", metric).value for name in (alias, row)]
            assert values[0] == values[1]


def test_claims_are_complete_and_well_formed():
    assert len(claims.BY_ID) == len(claims.CLAIMS)
    compared = {(claim.row_a, claim.row_b, claim.metric) for claim in claims.CLAIMS if claim.data == "cifar10"}
    pairs = (("cq", "vae"), ("cq-f", "vae-f"), ("vae-f", "vae"), ("cq-f", "cq"), ("cq-f", "gan"))
    for a, b in pairs:
        for metric in paper.METRICS:
            assert (f"table1/{a}", f"table1/{b}", metric) in compared
    large, rivals = "table3/cqf-large-d", [row for row in paper.TABLE3.rows[:8]]
    assert rivals[-1].id == "table3/prog-gan"
    for data in ("cifar10", "stl10"):
        tested = {(row, claim.metric) for claim in claims.CLAIMS if claims.applies(claim, data)
                  for row in (claim.row_a, claim.row_b) if large in (claim.row_a, claim.row_b)}  # fmt: skip
        printed = {(cell.row, cell.metric) for row in rivals for cell in row.numbers if cell.data == data and cell.text}
        assert printed <= tested
    for claim in claims.CLAIMS:
        assert claim.kind in ("lower", "higher", "equal", "cost") and claim.data in paper.DATA_SETS
        for row in (claim.row_a, claim.row_b):
            assert row in {*ROWS, *trade_off.VARIANTS}


def test_every_claim_is_true_of_the_printed_numbers():
    for claim in claims.CLAIMS:
        effect = paper.published_effect(claim)
        if claim.metric == "seconds" or claim.own:  # the slides print none
            assert effect is None
        else:
            assert abs(effect) <= QUANTITIES[claim.metric].equal if claim.kind == "equal" else effect > 0, claim.id


def test_claims_for_stl10_are_tested_there_alone_and_replace_their_twins():
    def tested(data):
        return {claim.id for claim in claims.CLAIMS if claims.applies(claim, data)}

    bound = {claim.id for claim in claims.CLAIMS if claim.data == "stl10"}
    assert len(bound) == 8 and bound <= tested("stl10") and not bound & tested("photos10")
    assert tested("photos10") == tested("cifar10")
    in_is = {claim.id for claim in claims.CLAIMS if claim.metric == "is" and claim.data == "cifar10"}
    of_lambda = {"trade-off/f-bpd-25", "trade-off/f-bpd-100"}
    assert tested("photodigits") ^ tested("cifar10") == of_lambda | in_is  # digits' IS rises with damage
    assert tested("cifar10") - tested("stl10") == {
        "table3/scales-bpd", "table3/scales-is", "table3/scales-fid", "table3/scales-same-critic-is",
        "table3/scales-same-critic-fid", "table3/batchgan-is", "table3/batchgan-fid",
        "table3/sngan-resnet-hinge-fid",
    }  # fmt: skip
