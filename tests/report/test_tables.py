"""Run sets and tables: the right numbers in the right places, means and standard deviations over seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_records import record, records

from cqlib.data.catalogue import ENTRIES
from cqlib.experiments import paper
from cqlib.experiments.record import DataInfo
from cqlib.metrics.metric import STARRED, Metric
from cqlib.report import facts, small_tables, tables
from cqlib.report.run_sets import Cell, mean_of, run_sets

# --- run sets


def test_means_are_over_finished_seeds_and_the_spread_is_that_of_a_sample():
    runs = [record("table1/gan", seed) for seed in (2, 0, 1)] + [record("table1/gan", 3, status="diverged")]
    values = [run.metrics["BPD"].value for run in runs[:3]]
    runs[0].metrics["BPD"] = replace(runs[0].metrics["BPD"], protocol=f"{STARRED}: x")
    (runs_of,) = run_sets(runs, [])
    mean = runs_of.mean("table2/gan", "BPD")  # the same model under another id
    assert (mean.n, mean.starred) == (3, True)
    assert (mean.value, mean.std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert runs_of.cell("table1/gan", "BPD") == Cell(f"{mean.value:.2f}", f"{mean.std:.2f}", "*")
    assert runs_of.cell("table1/gan", "FID@T1") == Cell("—") and runs_of.mean("table1/vae", "BPD") is None
    assert mean_of([Metric(4.0, None, 1, "p")]).std is None
    assert [run.seed for run in runs_of.records_of("table2/gan")] == [0, 1, 2, 3] and len(runs_of.finished) == 3


def test_run_sets_are_of_one_origin_one_version_of_the_images_and_one_way_to_score():
    """Either may have changed between two seeds; one run found twice counts once."""
    before, after = record("table1/vae", 0), record("table1/vae", 1)
    changed = replace(after, data=replace(after.data, fingerprint="fedcba9876543210"))
    sets = run_sets([before, changed, before], [after])
    assert [runs.title for runs in sets] == [
        "Published: photos10 16×16, quick",
        "This machine: photos10 16×16, images 01234567, quick",
        "This machine: photos10 16×16, images fedcba98, quick",
    ]
    assert [len(runs.records) for runs in sets] == [1, 1, 1]
    (same,) = run_sets([record(), replace(record(), row="table2/cqf")], [])
    assert len(same.records_of("table1/cq-f")) == 1
    scored = [record(seed=seed, config={"evaluation": how}) for seed, how in enumerate(
        ({"fidelity_images": 1000}, {"fidelity_images": 2000, "side": 128}))]  # fmt: skip
    assert [runs.label for runs in run_sets(scored, [])] == [
        "photos10 16×16, quick, scores at side 224, n = 1,000",
        "photos10 16×16, quick, scores at side 128, n = 2,000",
    ]
    (named,) = run_sets([record(data="npz:/home/me/cats.npz")], [])
    assert named.label == "npz:cats.npz 16×16, quick" and named.data == "npz:/home/me/cats.npz"


# --- the paper's tables


def test_the_columns_are_the_two_temperatures_and_features_have_a_line_each():
    both = record("table1/vae")
    both.metrics["FID@T1"] = Metric(171.0, None, 10_000, "Inception")
    view = tables.view(paper.TABLE1, run_sets([both], []), "quick")
    lines = view.groups[0].lines
    assert [line.features for line in lines] == ["", "inception", "lite0"]
    assert [cell.text for cell in lines[1].cells[3:5]] == ["—", "171.0"]  # at T = 0, at T = 1
    texts = [float(cell.text.replace(",", "")) for cell in lines[2].cells]
    names = ["BPD", *(f"{score}-lite0@{t}" for score in ("IS", "FD", "KD") for t in ("T0", "T1"))]
    np.testing.assert_allclose(texts, [both.metrics[name].value for name in names], rtol=0.01)
    assert view.scores == ("IS / IS-lite0 ↑", "FID / FD-lite0 ↓", "KID / KD-lite0 ↓") and view.name == "Table 1"


def test_data_of_the_paper_is_compared_with_its_own_column():
    data = DataInfo("stl10", "test", "0123456789abcdef", (8000, 3, 48, 48))
    run = replace(record(), row="table3/cqf-2-scales", data=data, profile="paper")
    group = tables.view(paper.TABLE3, run_sets([run], []), "paper").groups[-1]
    assert [line.detail for line in group.lines[:2]] == ["CIFAR-10", "STL-10"]
    reasons = " ".join(item.reason for item in group.lines[2].judgements)
    assert "2,000 test images, not 8,000" in reasons and "CIFAR" not in reasons


def test_a_reason_has_one_letter_below_its_table():
    view = tables.view(paper.TABLE1, run_sets(records(2), []), "quick")
    judged = [item for group in view.groups for line in group.lines for item in line.judgements]
    assert set(view.letters) == {item.text for item in judged} and len(view.letters) == 2 < len(judged)
    assert list(view.letters.values()) == ["a", "b"]
    assert next(iter(view.letters)).startswith("BPD: other data (photos10, not CIFAR-10), other profile (quick, not")


def test_real_images_name_their_data_and_n_and_what_published_data_is():
    run = record("table1/vae", data="npz:cifar10-jpeg")
    run.metrics["IS-lite0-real"] = Metric(12.345, 0.2, 1000, "of real images")
    run.metrics["Recall-lite0-real"] = Metric(0.654, None, 1000, "of real images")
    (published,) = run_sets([], [run])
    (line,) = tables.real_images(published)
    assert line.detail == "npz:cifar10-jpeg 16×16, quick; n = 1,000" and line.remark == "Recall 0.65"
    assert [cell.text for cell in line.cells] == ["—", "12.35", "310.0", "0.400"]
    del run.metrics["FD-lite0-floor"], run.metrics["IS-lite0-real"]
    (line,) = tables.real_images(published)  # of an older record
    assert [cell.text for cell in line.cells] == ["—", "—", "—", "0.400"] and line.detail.endswith("n = 1,000")
    (remark,) = tables.remarks([published], ["table1/vae"])
    assert remark.startswith("npz:cifar10-jpeg is the whole of CIFAR-10")
    assert tables.remarks(run_sets([run], []), ["table1/vae"]) == ()  # anyone's may have that name


def test_a_number_that_stands_in_two_tables_counts_once():
    """Table 2's GAN and CQF are Table 1's, Table 3's CQF of one scale is Table 2's: all but its three of STL-10."""
    printed = [n for row in paper.ROWS.values() for n in row.numbers if n.value is not None]
    assert sum(tables.count_numbers(run_sets(records(1), [])).values()) == len(printed) - 9
    comparable = record("table1/vae", profile="paper", data="cifar10")
    comparable = replace(comparable, data=replace(comparable.data, shape=(10_000, 3, 32, 32)))
    comparable.metrics["BPD"] = Metric(4.4, None, 10_000, "ELBO")
    counts = tables.count_numbers(run_sets(records(1), [comparable]))
    assert counts["reproduced"] == 1 and counts["not comparable"] > 0


# --- the smaller tables


def test_costs_are_means_over_the_device_that_most_runs_had():
    runs = [record("table1/vae", seed, seconds=seconds, device=device)
            for seed, (seconds, device) in enumerate([(100.0, "A"), (200.0, "A"), (900.0, "B")])]  # fmt: skip
    (line,) = small_tables.costs(run_sets(runs, []))
    assert line[2] == "A" and "150" in line and line[3] == "551,000"
    assert facts.device_counts(runs) == "2 runs on A; 1 run on B"
    (line,) = small_tables.costs(run_sets([record("table1/vae-f")], []))
    assert line[4] == "7.4 %" and line[-1] == "610"


def test_rivals_stand_against_their_baselines():
    runs = records(2, ("table3/dcgan", "table3/pixelcnnpp", "table1/gan"))
    histogram = Metric(6.4, None, 2000, "histogram")
    for run in runs[2:4]:
        run.metrics["BPD-histogram"] = histogram
    lines = small_tables.baselines(run_sets(runs, []), list(paper.ROWS))
    assert [(line["label"], line["beats"], line["seeds"], line["steps"]) for line in lines] == [
        ("DCGAN", True, 2, "2,900"), ("PixelCNN++", True, 2, "2,900")]  # fmt: skip
    cells = [cell.text for cell in lines[0]["cells"]]
    fd = np.mean([run.metrics["FD-lite0@T1"].value for run in runs[:2]])
    assert cells[0] == f"{fd:,.0f}" and cells[2:4] == ["4,000", "2,500"] and cells[5] == "—"
    for name, value in (("FD-lite0-gaussian@T1", 1000.0), ("BPD-histogram", 1.0)):
        changed = replace(runs[2], metrics=dict(runs[2].metrics) | {name: replace(histogram, value=value)})
        assert not small_tables.baselines(run_sets([changed], []), list(paper.ROWS))[0]["beats"]
    del runs[2].metrics["BPD"]
    (line,) = small_tables.baselines(run_sets([replace(runs[2], best_step=None)], []), list(paper.ROWS))
    assert (line["steps"], line["beats"]) == ("—", True)


def test_scores_without_a_column_at_both_temperatures():
    runs = records(2, ("table1/vae",))
    for run in runs:
        del run.metrics["Recall-lite0@T1"]
        for name in ("Precision-lite0@T0", "Precision-lite0@T1", "Recall-lite0@T0", "Classes-lite0@T0"):
            run.metrics[name] = Metric(0.25 + run.seed / 2, None, 9, "p")
    runs[1].metrics["Recall-lite0-real"] = Metric(0.82, None, 9, "p")
    lines = small_tables.coverage(run_sets(runs, []), ["table1/vae", "table1/gan"])
    (label, _, *cells, seeds), (last, _, *bars, none) = lines
    assert (label, seeds) == ("VAE", "2") and [cell.text for cell in cells] == ["0.50"] * 3 + ["—", "0.50", "—"]
    assert (last, none) == ("Real images", "") and [cell.text for cell in bars] == ["—"] * 2 + ["0.82"] * 2 + ["—"] * 2


def test_protocols_that_differ_in_numbers_of_images_are_told_once():
    few, many = record("table1/vae"), record("table1/vae", data="cifar10")
    for run, n, step in ((few, 500, 100), (many, 2000, 300)):
        text = f"step {step} of 400, chosen on training images (100: 9.5, 300: 7.0); n_real = n_fake = {n}, a # b"
        run.metrics.clear()
        run.metrics.update({"FD": Metric(1.0, None, n, text), "BPD": Metric(5.0, None, n, f"k = 16, n = {n}")})
    assert small_tables.protocols(run_sets([], [few, many])) == [
        ("FD", "the best of the kept steps, chosen on training images; n_real = n_fake = 500 or 2,000, a # b"),
        ("BPD", "k = 16, n = 500 or 2,000"),
    ]


def test_scores_under_other_protocols_have_a_column_each():
    runs = records(2, ("table1/vae", "table1/gan"), profile="paper")
    for i, run in enumerate(runs):
        for name, value in (("sngan", 31.5), ("50k/50k-train", 12.25), ("mine", 1.0)):
            run.metrics[f"FD-lite0@T1 [{name}]"] = Metric(value + i % 2, None, 5000, f"FD-lite0: protocol {name}")
    left_out = "protocol 50k/50k-train left out: it needs 50,000 training images and there are 300"
    runs.append(record("table1/cq", profile="paper", notes=[left_out, "training: slow"]))
    found = small_tables.other_protocols(run_sets(runs, []))
    assert found["names"] == ["50k/50k-train", "sngan", "mine"]
    assert [name for name, _ in found["about"]] == ["paper", "50k/50k-train", "sngan"]
    assert [(line["label"], line["metric"]) for line in found["lines"]] == [
        ("VAE", "FD-lite0@T1"), ("GAN", "FD-lite0@T1")]  # fmt: skip
    assert [cell.text for cell in found["lines"][0]["cells"][1:]] == ["12.8", "32.0", "1.50"]
    assert found["notes"] == [f"photos10 16×16, paper: {left_out}"]
    assert small_tables.other_protocols(run_sets(records(1), []))["lines"] == []


def test_every_measured_number_stands_in_the_line_of_its_metric_and_the_column_of_its_model():
    runs = [*records(2), record("table3/dcgan"), record("table1/vae", 2, status="diverged"), record(data="npz:mine")]
    first, second = small_tables.all_numbers(run_sets([], runs))
    lines = {line[0]: dict(zip(first["head"][1:], line[1:], strict=True)) for line in first["lines"]}
    bpd = np.mean([run.metrics["BPD"].value for run in runs if (run.row, run.status) == ("table1/vae", "done")])
    assert lines["BPD"]["VAE"].text == f"{bpd:.2f}" and lines["BPD"]["VAE"].std
    assert lines["FD-lite0-best@T1"]["VAE"] == "" and lines["FD-lite0-best@T1"]["DCGAN"].text
    assert lines["seeds"] == {**dict.fromkeys(("VAE", "VAE-F", "CQ", "CQ-F", "GAN"), "2"), "DCGAN": "1"}
    assert first["count"] == 5 * 14 + 17 and second["count"] == 14


# --- facts


@pytest.mark.parametrize("run", [
    record("table1/vae", profile="paper", data="cifar10", status="diverged"),
    record("table1/vae", profile="paper"),
])  # fmt: skip
def test_a_run_that_tells_nothing_of_the_papers_numbers_does_not_silence_what_is_missing(run):
    sets = run_sets([run], [])
    (_, table1), (_, everything) = facts.towards_the_paper(sets)
    assert table1.startswith("Table 1, about") and "CelebA" in everything
    assert facts.lacking(sets) == "no run below has " + ("all three" if run.status == "done" else "any of them")
    whole = replace(run, status="done", profile="quick", data=replace(run.data, name="cifar10"), config={})
    for n_train, words in ((50_000, "all three"), (300, "any of them")):
        assert facts.lacking(run_sets([replace(whole, config={"n_train": n_train})], [])).endswith(words)
    assert any("No run used" in line for line in facts.shortfalls(sets, []))


def test_data_sets_of_the_slides_that_were_not_run_are_named():
    for n_train in (50_000, 300):  # all of it, or as `smoke` takes it
        run = record("table1/vae", data="cifar10", config={"n_train": n_train})
        sets = run_sets([run, record("table1/vae")], [])
        (line,) = [line for line in facts.shortfalls(sets, []) if "seven data sets" in line]
        assert "STL-10, CelebA" in line and ("CIFAR-10" in line) == (n_train == 300) and "--only table4" in line
    whole = [record("table1/vae", data=name, config={"n_train": ENTRIES[name].train}) for name in paper.DATA_SETS]
    assert not [line for line in facts.shortfalls(run_sets(whole, []), []) if "seven data" in line]


def test_the_first_screen_counts_runs_seeds_and_devices():
    local = [*records(1), record("table1/gan", 1, status="diverged")]
    lines = dict(facts.summary(run_sets(local, records(5))))
    assert lines["Run on this machine"].startswith("5 of 6 runs finished: CQ; CQ-F")
    assert lines["Seeds"] == "0, 1" and lines["Time, all runs"] == "41 min"
    assert lines["Published beside it"] == "25 runs on photos10 16×16, quick, seeds 0 to 4"
    assert dict(facts.summary([]))["Run on this machine"] == "nothing yet"
    alone = dict(facts.summary(run_sets([], records(1)), alone=True))
    assert alone["Published"].endswith("seed 0") and "Run on this machine" not in alone
