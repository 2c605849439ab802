"""Run sets and tables: the right numbers in the right places, means and standard deviations over seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup
from fake_records import DEVICE, record, records
from todays import of_today

from cqlib.data.sets import ENTRIES
from cqlib.experiments import paper
from cqlib.experiments.record import DataInfo
from cqlib.metrics.metric import STARRED, Metric
from cqlib.metrics.protocols import PROTOCOLS
from cqlib.report import facts, page, small_tables, tables
from cqlib.report.claim_cards import cards
from cqlib.report.numbers import count_numbers
from cqlib.report.run_sets import Cell, display_groups, fullest_by, mean_of, nearest_first, run_sets
from cqlib.util.errors import UserError

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
    assert runs_of.cell("table1/gan", "FID") == Cell("—") and runs_of.mean("table1/vae", "BPD") is None
    assert mean_of([Metric(4.0, None, 1, "p")]).std is None
    assert [run.seed for run in runs_of.records_of("table2/gan")] == [0, 1, 2, 3] and len(runs_of.finished) == 3


def test_run_sets_are_of_one_origin_one_version_of_the_images_and_one_way_to_score():
    """Either may have changed between two seeds; one run found twice counts once."""
    before, after = record("table1/vae", 0), record("table1/vae", 1)
    changed = replace(after, data=replace(after.data, fingerprint="fedcba9876543210"))
    other_test = replace(after, data=replace(after.data, fingerprint=before.data.fingerprint[:8] + "76543210"))
    assert len(run_sets([before, other_test], [])) == 2
    sets = run_sets([before, changed, before], [after])
    assert [runs.title for runs in sets] == [
        "This project: photos10 16×16, quick",
        "This machine: photos10 16×16, quick, images 0123456789abcdef",
        "This machine: photos10 16×16, quick, images fedcba9876543210",
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
    first, other = record(data="npz:/a/cats.npz"), record(data="npz:/b/cats.npz")
    other = replace(other, data=replace(other.data, fingerprint="fedcba9876543210"))
    assert [runs.label for runs in run_sets([first, other], [])] == [
        "npz:cats.npz 16×16, quick, images 0123456789abcdef",
        "npz:cats.npz 16×16, quick, images fedcba9876543210",
    ]


def test_changed_rows_follow_by_row_and_lambda():
    plain = [record(row) for row in ("table1/cq", "table1/cq-f")]
    changed = [record(row, changes={"system.quality_weight": weight})
               for row in ("table1/cq-f", "table1/cq") for weight in (1600.0, 100.0, 400.0)]  # fmt: skip
    (runs,) = run_sets([], [*changed, *plain])
    of_changes = [(run.row, run.changes["system.quality_weight"]) for run in runs.records if run.changes]
    assert of_changes == [(row, weight) for row in ("table1/cq", "table1/cq-f") for weight in (100.0, 400.0, 1600.0)]


def test_side_by_side_stand_the_runs_of_one_data_set_and_profile_this_machines_first():
    """What was asked for here, however little of it; else what has most rows, of equals the profile asked for."""
    rows = [row.id for row in paper.TABLE1.rows]

    def first(local, published, profile="quick"):
        return [runs.title for runs in next(iter(display_groups(run_sets(local, published), rows, profile)), [])]

    study = records(2, profile="study")
    assert first([], [*study, *records(1)]) == ["This project: photos10 16×16, quick"]
    assert first([], [*study, *records(1, rows[:4])]) == ["This project: photos10 16×16, study"]
    here = [record("table1/vae", data="cifar10", profile="paper")]
    assert first(here, records(1), "paper") == ["This machine: cifar10 16×16, paper"]
    assert first([record("table1/vae")], records(1)) == [
        "This project: photos10 16×16, quick", "This machine: photos10 16×16, quick"]  # fmt: skip
    changed = record("table1/cq", changes={"system.quality_weight": 25.0})
    assert first([changed], records(1))[1:] == ["This machine: photos10 16×16, quick, λ 25"]
    smoke = [record("table1/vae", profile="smoke")]  # not what was asked for
    assert first(smoke, records(1)) == ["This project: photos10 16×16, quick"]
    assert first([], []) == first([record("table2/gan-residual")], []) == []
    every = display_groups(run_sets(here, [*study, *records(1)]), rows, "quick")
    assert sorted(len(place) for place in every) == [1, 1, 1]


def test_this_machines_runs_are_shown_before_published_ones():
    sets = run_sets([record()], [record()])
    for order in (sets, sets[::-1]):
        assert [runs.origin for runs in nearest_first(order)] == ["local", "published"]


def test_a_changed_recipe_is_not_shown_before_the_rows_own():
    changed = record("table1/cq-f", changes={"training.steps": 100})
    for sets in (run_sets([changed], records(1)), run_sets([record(), changed], records(1))):
        assert [bool(runs.changes) for runs in nearest_first(sets)] == [*[False] * (len(sets) - 1), True]


def test_pictures_are_of_the_set_with_most_runs_of_equals_of_the_profile_asked_for_then_the_nearest():
    here, study = [record("table1/vae")], records(1, profile="study")
    sets = run_sets(here, [*study, *records(1)])

    def shown(row, profile):
        return fullest_by(sets, lambda runs: len(runs.done(row)), profile).title

    assert shown("table1/cq", "study") == "This project: photos10 16×16, study"
    assert shown("table1/cq", "quick") == "This project: photos10 16×16, quick"
    assert shown("table1/vae", "quick") == "This machine: photos10 16×16, quick"
    with pytest.raises(UserError, match="no records yet"):
        fullest_by([], lambda runs: 0.0)


# --- the paper's tables


def entries(view: tables.View, label: str, i: int = -1) -> dict[str, tables.Cell]:
    """Column -> the cell of a row in the columns of the i-th source."""
    line = next(line for lines in view.groups.values() for line in lines if line.label == label)
    return dict(zip(view.sources[i].heads, line.cells[i], strict=True))


def only(view: tables.View) -> list[tables.Line]:
    """The lines of a table that has one group of them."""
    (lines,) = view.groups.values()
    return lines


def test_there_is_one_column_for_each_score_that_was_measured():
    both = record("table1/vae")
    both.metrics["FID"] = Metric(171.0, None, 10_000, "Inception")
    view = tables.view(paper.TABLE1, run_sets([both], [record("table1/vae")]))
    assert [source.title for source in view.sources] == ["Paper", "This project", "This machine"]
    assert [cell.text for cell in entries(view, "GAN", 0).values()] == ["7.0", "6.8", "31.4"]
    on_lite0 = ("IS-lite0 ↑", "FD-lite0 ↓", "KD-lite0 ↓", "Coverage-lite0 ↑")
    assert view.sources[1].heads == ("BPD ↓", *on_lite0, "Seeds")
    assert view.sources[2].heads == ("BPD ↓", "IS ↑", "FID ↓", "KID ↓", "Coverage ↑", *on_lite0, "Seeds")
    cells = entries(view, "VAE")
    assert cells["FID ↓"].text == "171.0" and cells["IS ↑"].text == "—" and cells["Seeds"].text == "1"
    names = {head: head.partition(" ")[0] for head in ("BPD ↓", *on_lite0)}
    texts = [float(cells[head].text.replace(",", "")) for head in names]
    np.testing.assert_allclose(texts, [both.metrics[name].value for name in names.values()], rtol=0.01)


def test_a_row_says_what_was_not_trained_and_what_diverged():
    runs = [record("table1/gan", 1, status="diverged"), *records(4, ("table1/vae",)),
            record("table1/vae", 4, status="diverged")]  # fmt: skip
    view = tables.view(paper.TABLE1, run_sets(runs, []))
    assert entries(view, "VAE")["Seeds"].text == "1 of 5 diverged"
    for label, text in (("CQ", "not trained yet"), ("GAN", "diverged")):
        (cell,) = next(line for line in only(view) if line.label == label).cells[1]
        assert (cell.text, cell.span) == (text, len(view.sources[1].heads))


def test_a_table_without_records_has_the_papers_numbers_and_the_command():
    for table in paper.TABLES:
        view = tables.view(table, [], (), tables.missing(table, [], "quick", alone=True))
        assert [line.label for line in only(view)] == [row.label for row in table.rows]
        assert {source.origin for source in view.sources} == {"paper"}
        assert view.commands == (("all of them", f"./run_all.sh --only {table.id}"),)


def test_a_number_has_the_verdicts_of_the_claims_about_it_in_its_own_run_set():
    """Of CQ-F's BPD: it costs against VAE-F, beats CQ and GAN; none of them in the column of another run set."""
    sets = run_sets(records(1), records(5))
    results = [result for card in cards(sets) for result in card.tests]
    view = tables.view(paper.TABLE1, sets, results)
    for i, runs in enumerate(sets, 1):
        cells = entries(view, "CQ-F", i)
        found = {head: cell.claims for head, cell in cells.items() if isinstance(cell, tables.JudgedCell)}
        bpd = {result.claim.id: result.label == "seen once" for result in found["BPD ↓"]}
        wanted = ("quality-loss-f-bpd", "f-quality-bpd", "cq-f-gan-bpd")
        assert bpd == dict.fromkeys((f"table1/{name}" for name in wanted), runs.origin == "local")
    shared = tables.view(paper.TABLE2, sets, results)  # the same model: no verdict of another table
    assert not any(cell.claims for cell in entries(shared, "CQF").values() if isinstance(cell, tables.JudgedCell))


def test_real_images_are_a_row():
    run = record("table1/vae")
    (published,) = run_sets([], [run])
    line = only(tables.view(paper.TABLE1, [published]))[-1]
    assert line.label == "Real images"
    assert [cell.text for cell in line.cells[1]] == ["", "6.50", "310.0", "0.400", "0.95", "n\u00a0=\u00a01,000"]
    for name in ("FD-lite0-floor", "KD-lite0-floor", "IS-lite0-real", "Coverage-lite0-real"):
        del run.metrics[name]
    assert only(tables.view(paper.TABLE1, [published]))[-1].label == "GAN"


def test_data_of_the_paper_is_compared_with_its_own_column():
    data = DataInfo("stl10", "test", "0123456789abcdef", (8000, 3, 48, 48))
    run = replace(record(), row="table3/cqf-2-scales", data=data, profile="paper")
    view = tables.view(paper.TABLE3, run_sets([run], []))
    assert [source.detail for source in view.sources[:2]] == ["CIFAR-10", "STL-10"]
    assert any("2,000 test images, not 8,000" in note for note in view.notes) and "CIFAR" not in "".join(view.notes)
    assert not any(getattr(cell, "number", None) for cell in entries(view, paper.ROWS[run.row].label).values())


def test_a_reason_stands_once_and_names_its_rows_where_they_differ():
    view = tables.view(paper.TABLE1, run_sets(records(2), []))
    assert len(view.notes) == 2
    assert view.notes[0].startswith(
        "This machine: photos10 16×16, quick: BPD not comparable: other data (photos10, not"
    )
    vae, *others = records(1)
    (published,) = run_sets([], others)
    vae = replace(vae, data=replace(vae.data, split="train"))
    view = tables.view(paper.TABLE1, [replace(published, records=(vae, *others))])
    bpd = [note for note in view.notes if " BPD" in note]
    assert len(bpd) == 2 and "BPD (VAE) not comparable" in bpd[0] and "BPD (VAE-F, CQ, CQ-F, GAN)" in bpd[1]


def test_a_number_that_can_be_compared_has_its_verdict_beside_it():
    run = record("table1/vae", profile="paper", data="cifar10")
    run = replace(run, data=replace(run.data, shape=(10_000, 3, 32, 32)), config={})
    run.metrics["BPD"] = Metric(4.41, None, 10_000, "ELBO")
    run.metrics["FID"] = Metric(300.0, None, 10_000, "Inception")
    run.metrics["IS"] = Metric(2.0, None, 1_000, "Inception, of too few samples")
    view = tables.view(paper.TABLE1, run_sets([run], []))
    cells = entries(view, "VAE")
    assert cells["BPD ↓"].number.label == "reproduced"
    assert cells["FID ↓"].number.label == "not reproduced" and cells["IS ↑"].number is None
    assert any("BPD (VAE) reproduced: 1 run: +0.01 bpd" in note for note in view.notes)


def test_rows_that_were_not_trained_here_have_a_command_each():
    sets = run_sets([record("table1/gan")], records(1))
    assert dict(tables.missing(paper.TABLE2, sets, "study", alone=False))["CQF + Residual"] == (
        "./run_all.sh --profile study --only table2/cqf-residual")  # fmt: skip
    assert "GAN" not in dict(tables.missing(paper.TABLE2, sets, "study", alone=False))  # Table 1's
    changed = run_sets([replace(record("table1/gan"), changes={"training.steps": 100})], [])
    assert tables.missing(paper.TABLE1, changed, "quick", alone=False)[0][1].endswith("--only table1")
    assert "GAN" in facts.missing_rows(changed)
    assert tables.missing(paper.TABLE1, sets, "quick", alone=True) == ()
    ((_, command),) = tables.missing(paper.TABLE1, run_sets([], records(1)), "quick", alone=False)
    assert command == "./run_all.sh --only table1"


def test_a_number_that_stands_in_two_tables_counts_once():
    """Table 2's GAN and CQF are Table 1's, Table 3's CQF of one scale is Table 2's: all but its three of STL-10."""
    printed = [n for row in paper.ROWS.values() for n in row.numbers if n.value is not None]
    assert sum(count_numbers(run_sets(records(1), [])).values()) == len(printed) - 9
    comparable = record("table1/vae", profile="paper", data="cifar10")
    comparable = replace(comparable, data=replace(comparable.data, shape=(10_000, 3, 32, 32)))
    comparable.metrics["BPD"] = Metric(4.4, None, 10_000, "ELBO")
    counts = count_numbers(run_sets(records(1), [comparable]))
    assert counts["reproduced"] == 1 and counts["not comparable"] > 0
    comparable.metrics["FID"] = Metric(171.0, None, 10_000, "p")
    assert count_numbers(run_sets([], [comparable]))["reproduced"] == 2


# --- the smaller tables


def test_costs_are_means_over_the_device_that_most_runs_had():
    ran = ((100.0, "A, fp32"), (200.0, "A, fp32"), (900.0, "B, fp32"))
    runs = [record("table1/vae", seed, seconds=seconds, device=device) for seed, (seconds, device) in enumerate(ran)]
    line = costs_of(runs)
    assert line[1].endswith("A, fp32") and "150" in line and line[2] == "551,000"
    assert facts.device_counts(runs) == "2 runs on A, fp32; 1 run on B, fp32"
    line = costs_of([record("table1/vae-f")])
    assert line[3] == "7.4 %" and line[-1] == "610"
    bare = replace(record("table1/vae"), parameters={"total": 1000})
    assert costs_of([bare])[2:5] == ["1,000", "—", "—"]


def costs_of(runs) -> list[str]:
    """The cells of the only line of the table of costs."""
    table = BeautifulSoup(page.macro("cost_table", small_tables.costs(run_sets(runs, []))), "html.parser")
    (line,) = table.tbody.find_all("tr")
    return [" ".join(cell.get_text(" ").split()) for cell in line.find_all(["th", "td"])]


def test_rivals_stand_against_their_baselines():
    runs = records(2, ("table3/dcgan", "table3/pixelcnnpp", "table1/gan"))
    histogram = Metric(6.4, None, 2000, "histogram")
    for run in runs[2:4]:
        run.metrics["BPD-histogram"] = histogram
    lines = small_tables.baselines(run_sets(runs, []), list(paper.ROWS))
    assert [(line["label"], line["beats"], line["seeds"]) for line in lines] == [
        ("DCGAN", True, 2), ("PixelCNN++", True, 2)]  # fmt: skip
    cells = [cell.text for cell in lines[0]["cells"]]
    fd = np.mean([run.metrics["FD-lite0"].value for run in runs[:2]])
    assert cells[0] == f"{fd:,.0f}" and cells[1:3] == ["4,000", "2,500"] and cells[4] == "—"
    for name, value in (("FD-lite0-gaussian", 1000.0), ("BPD-histogram", 1.0)):
        changed = replace(runs[2], metrics=dict(runs[2].metrics) | {name: replace(histogram, value=value)})
        assert not small_tables.baselines(run_sets([changed], []), list(paper.ROWS))[0]["beats"]
    del runs[2].metrics["BPD"]
    (line,) = small_tables.baselines(run_sets([runs[2]], []), list(paper.ROWS))
    assert line["beats"]


def test_protocols_that_differ_in_numbers_of_images_are_told_once():
    few, many = record("table1/vae"), record("table1/vae", data="cifar10")
    for run, n in ((few, 500), (many, 2000)):
        text = f"n_real = n_fake = {n}, a # b"
        run.metrics.clear()
        run.metrics.update({"FD": Metric(1.0, None, n, text), "BPD": Metric(5.0, None, n, f"k = 16, n = {n}")})
    assert small_tables.protocols(run_sets([], [few, many])) == [
        ("FD", "n_real = n_fake = 500 or 2,000, a # b"),
        ("BPD", "k = 16, n = 500 or 2,000"),
    ]


def test_other_protocols_and_what_was_left_out_are_told():
    runs = records(2, ("table1/vae", "table1/gan"), profile="paper")
    for run in runs:
        run.metrics["FD-lite0 [sngan]"] = Metric(31.5, None, 5000, "FD-lite0: protocol sngan")
    left_out = "protocol 50k/50k-train left out: it needs 50,000 training images and there are 300"
    runs.append(record("table1/cq", profile="paper", notes=[left_out, "training: slow"]))
    assert small_tables.protocols(run_sets(runs, []))[-3:] == [
        ("paper", PROTOCOLS["paper"].about), ("sngan", PROTOCOLS["sngan"].about), ("photos10 16×16, paper", left_out)
    ]  # fmt: skip
    assert "paper" not in dict(small_tables.protocols(run_sets(records(1), [])))


# --- facts


def shortfalls(sets) -> str:
    """What is missing, in words."""
    return " ".join(BeautifulSoup(page.macro("shortfalls", sets, []), "html.parser").get_text(" ").split())


@pytest.mark.parametrize("run", [
    record("table1/vae", profile="paper", data="cifar10", status="diverged"),
    record("table1/vae", profile="paper"),
])  # fmt: skip
def test_a_run_that_tells_nothing_of_the_papers_numbers_does_not_silence_what_is_missing(run):
    missing = shortfalls(run_sets([run], []))
    assert "--data-dir DIR --only table1 takes about 6 hours" in missing and "--only all" in missing
    data = replace(run.data, name="cifar10", shape=(10_000, 3, 32, 32))
    told = of_today(replace(run, status="done", data=data, config={}))
    told.metrics["BPD"] = replace(told.metrics["BPD"], n=10_000)
    assert "own numbers" not in shortfalls(run_sets([told], []))


def test_data_sets_of_the_slides_that_were_not_run_are_named():
    for n_train in (50_000, 300):  # all of it, or as `smoke` takes it
        run = record("table1/vae", data="cifar10", config={"n_train": n_train})
        sets = run_sets([run, record("table1/vae")], [])
        assert "STL-10, CelebA" in shortfalls(sets) and "--only table4" in shortfalls(sets)
        assert ("CIFAR-10" in facts.missing_data(sets)) == (n_train == 300)
    whole = [record("table1/vae", data=name, config={"n_train": ENTRIES[name].train}) for name in paper.DATA_SETS]
    assert "seven data sets" not in shortfalls(run_sets(whole, []))


def test_what_was_run_is_counted_with_seeds_time_and_devices():
    local = [*records(1), record("table1/gan", 1, status="diverged")]
    lines = dict(facts.summary(run_sets(local, records(5))))
    here = f"6 runs, 5 finished, seeds 0, 1; 41 min, {DEVICE}; 2025-01-31"
    assert lines["This machine: photos10 16×16, quick"] == here
    assert lines["This project: photos10 16×16, quick"].startswith("25 runs, seeds 0 to 4; ")
    assert lines["In all"].startswith("31 runs, ") and "This machine" not in lines
    assert dict(facts.summary([]))["This machine"] == "nothing yet"
    alone = dict(facts.summary(run_sets([], records(1)), alone=True))
    assert "This machine" not in alone and len(alone) == 2


ODD = (
    {"evaluation": []}, {"evaluation": {"fidelity_images": "x", "side": {}}}, {"recipe": "x"}, {"n_train": [1]},
    {"recipe": {"training": 3, "system": {"critic": {}, "size": 16, "image_channels": 3}}},
    {"recipe": {"system": {"critic": {"widths": ["x"]}, "size": 16, "image_channels": 3}}},
)  # fmt: skip


@pytest.mark.parametrize("config", ODD, ids=str)
def test_an_odd_config_stops_no_page(config):
    """What reads configs: run sets, what may be compared, costs, what is missing."""
    sets = run_sets([record(seed=seed, config=config) for seed in (0, 1)], [])
    assert sets[0].sides and cards(sets) and small_tables.costs(sets) and facts.missing_data(sets)
