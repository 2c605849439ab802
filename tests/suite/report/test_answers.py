"""The tables of docs/results.md: the verdict of each claim stands in the cell of its question and of its scale."""

import pytest
from handmade import at_32, record

from cqlib.suite.experiments.claims import BY_ID
from cqlib.suite.experiments.trade_off import CQ, CQ_F, LAMBDA, front
from cqlib.suite.report import answers
from cqlib.suite.report.groups import groups

VAE, VAE_F, GAN = "table1/vae", "table1/vae-f", "table1/gan"
BITS = {VAE: 6.0, VAE_F: 5.0, CQ: 6.3, CQ_F: 5.0, GAN: 7.0}
FAR = {VAE: 200.0, VAE_F: 150.0, CQ: 100.0, CQ_F: 110.0, GAN: 90.0}
APART = {"system.flow.colours": "apart"}


def runs(bits=BITS, far=FAR, seeds=3, **more):
    """Runs of each row with these bits and distances, moved a little from seed to seed."""
    return [record(row, seed, BPD=bits[row] + 0.001 * seed, FD=far[row] + 0.01 * seed, **more)
            for row in bits for seed in range(seeds)]  # fmt: skip


def cells(table: str) -> dict[str, list[str]]:
    """The first cell of each line -> the other ones."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines}


def test_an_answer_is_the_verdict_of_its_claim_at_its_scale():
    small, large = runs(), at_32(runs(BITS | {VAE_F: 6.5, CQ_F: 6.31}, seeds=3, profile="study"))
    table = cells(answers.questions(groups([], [*small, *large])))
    assert table["question"] == ["photos10, 16×16, up to 3 seeds", "photos10, 32×32, up to 3 seeds", "paper"]
    at_small, at_large, papers = table["Does f save bits?"]
    assert at_small.startswith("without critic: **yes**, +1.00 bpd [") and "with critic: **yes**, +1.30" in at_small
    assert "without critic: **no, the opposite**, −0.50" in at_large and "with critic: **no, the o" not in at_small
    assert papers == "without critic: +0.90 bpd<br>with critic: +0.50 bpd"
    at_small, _, _ = table["Does f bring samples nearer to real images, by FD?"]
    assert "without critic: **yes**, +25.0 %" in at_small and "with critic: **no, the opposite**, −10.0 %" in at_small
    assert table["Does CQ-F cover more than a GAN, by coverage?"] == ["not tested yet", "not tested yet", "—"]


@pytest.mark.parametrize(("row", "bits", "told"), [
    (CQ, 6.3, "without f: **yes**, +0.30 bpd [+0."), (CQ, 5.7, "without f: **no, the opposite**, −0.30 bpd [−0."),
    (CQ, 6.02, "without f: **no difference**, +0.02 bpd [+0.0"), (CQ_F, 5.4, "with f: **yes**, +0.40 bpd"),
    (CQ_F, 4.6, "with f: **no, the opposite**, −0.40 bpd"),
])  # fmt: skip
def test_the_claim_that_the_critic_costs_no_bits_is_asked_the_other_way_round(row, bits, told):
    cell, _ = cells(answers.questions(groups([], runs(BITS | {row: bits}))))["Does the critic cost bits?"]
    assert told in cell


@pytest.mark.parametrize(("bits", "told"), [(6.3, "yes, seen"), (6.01, "no, seen"), (5.5, "no, seen")])
def test_one_seed_answers_too(bits, told):
    cell, _ = cells(answers.questions(groups([], runs(BITS | {CQ: bits}, seeds=1))))["Does the critic cost bits?"]
    assert f"without f: {told} once, " in cell


def test_a_diverged_run_leaves_its_cells_undecided_and_says_so():
    made = [*runs(), record(VAE, 3, status="diverged")]
    cell, _ = cells(answers.questions(groups([], made)))["Does f save bits?"]
    assert "without critic: undecided, VAE: 1 of 4 diverged<br>with critic: **yes**" in cell
    told = cells(answers.claims(groups([], made)))[BY_ID["table1/f-bpd"].sentence][1]
    assert told == "undecided, VAE: 1 of 4 diverged"


def test_fronts_answer_in_their_own_line():
    """CQ-F at 1 bit less and half the distance, at every lambda."""
    curve, made = {0.0: (5.0, 200.0), 25.0: (5.2, 120.0), 100.0: (5.4, 100.0), 400.0: (5.6, 90.0)}, []
    for row, less, factor in ((CQ, 0.0, 1.0), (CQ_F, 1.0, 0.5)):
        for weight, (bits, far) in curve.items():
            name, _, changed = front(row, "quick", "photos10", 16)[weight].partition(" ")
            changes = {LAMBDA: weight} if changed else {}
            made += runs({name: bits - less}, {name: factor * far}, changes=changes)
    (cell, _) = cells(answers.questions(groups([], made)))["Does f help, whatever the critic’s weight λ?"]
    assert cell.startswith("FD at equal bits: **yes**, +") and "<br>bits at equal FD: **yes**, +1." in cell


def test_table_1_is_told_of_its_own_recipes_and_other_tables_of_those_with_most_seeds():
    residual = {"table2/cqf-residual": 4.5}, {"table2/cqf-residual": 80.0}
    plain, former = runs(), runs({CQ: 6.0, CQ_F: 4.0}, {CQ: 90.0, CQ_F: 100.0}, changes=APART)
    sets = groups([], [*plain, *former, *runs(*residual, seeds=1), *runs(*residual, changes=APART)])
    table = answers.questions(sets)
    assert "with critic: **yes**, +1.30 bpd" in cells(table)["Does f save bits?"][0]
    larger = cells(table)["Do larger models help?"][0]
    assert "residual nets, FD: **yes**, +20.0 %" in larger and "‡<br>" in larger and "\n\n‡: " in table
    verdicts = cells(answers.claims(sets))
    assert verdicts[BY_ID["table2/residual-bpd"].sentence][1] == "contradicted, −0.50 bpd † ‡"
    assert verdicts[BY_ID["table1/f-quality-bpd"].sentence][1] == "holds, +1.30 bpd †"
    without = groups([], [*(run for run in plain if run.row != CQ_F), *former])
    assert "with critic: not tested yet" in cells(answers.questions(without))["Does f save bits?"][0]


def test_claims_that_one_seed_tests_are_counted_and_not_listed():
    sets = groups([], [*runs(seeds=1), *at_32(runs({VAE: 6.0, VAE_F: 5.0}, profile="study"))])
    text = answers.claims(sets)
    table = cells(text)
    assert table[BY_ID["table1/f-bpd"].sentence][1:] == ["(✓) +1.00 bpd", "holds, +1.00 bpd †"]
    assert BY_ID["table1/cq-f-gan-fid"].sentence not in table and "seen once, not as claimed: " in text
