"""What was tried where a claim does not hold: each ablation changes what it says, and its effect is paired rightly."""

from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from fake_records import record
from published_records import of_todays_data

from cqlib.cli.options import parse
from cqlib.cli.run_all import plan
from cqlib.experiments import ablations, variants
from cqlib.experiments.ablations import ABLATIONS, ALL, BY_NAME, PROFILE
from cqlib.experiments.experiment import experiment, experiment_of
from cqlib.experiments.record import load_records, write_record
from cqlib.report import ablations as tried
from cqlib.report import publish
from cqlib.report.claim_cards import VERDICTS, cards
from cqlib.report.run_sets import BESIDE, run_sets
from cqlib.util.errors import UserError
from cqlib.util.paths import PUBLISHED
from cqlib.util.provenance import GitInfo

CLAIM = "table1/quality-loss-bpd"
CONTRARY = [name for name, verdict in VERDICTS.items() if verdict.tone == "bad"]


@pytest.mark.parametrize("ablation", ALL, ids=lambda ablation: ablation.name)
def test_an_ablation_changes_its_rows_and_bears_on_claims_that_compare_them(ablation, monkeypatch):
    monkeypatch.setattr("cqlib.experiments.changes._try", lambda *_: None)  # their published records show that
    assert ablation.changes and min(ablations.SEEDS) >= 100
    for claim in ablation.claims:
        assert ablation.changes.keys() & set(ablations.compared([claim])), claim
    assert not ablation.claims or ablation.changes.keys() <= set(ablations.compared(ablation.claims))
    plain = [row for row, changes in ablation.runs if not changes]
    assert set(plain) == {*ablation.changes, *ablations.compared(ablation.claims)}
    for row, changes in ablation.changes.items():
        e = experiment(row, PROFILE, changes=changes)
        assert e.changes == changes and e.variant == ablation.variant(row)  # none is the default, all have their type
        assert e.config_hash != experiment(row, PROFILE).config_hash


def test_every_claim_that_does_not_hold_has_three_ablations_or_more_and_names_are_folders():
    """On the run set that the claim's card leads with; one that does not hold at one temperature counts."""
    tries = [claim for ablation in ABLATIONS for claim in ablation.claims]
    published = of_todays_data(load_records(PUBLISHED / "records")[0])
    contrary = {card.claim.id for card in cards(run_sets([], published)) if card.verdict in CONTRARY}
    assert all(tries.count(claim) >= 3 for claim in contrary | set(tries))
    assert len(BY_NAME) == len(ALL)
    assert all(name.replace("-", "").isalnum() for name in BY_NAME)


def test_what_was_tried_is_published_under_every_claim_that_does_not_hold():
    made = cards(run_sets([], of_todays_data(load_records(PUBLISHED / "records")[0])))
    tables, problems = tried.tables()
    assert not problems
    if not tables:
        pytest.skip("no ablation of today's recipes is published yet")
    for card in made:
        if card.verdict in CONTRARY:
            assert len(tables[card.claim.id].lines) >= 4, card.claim.id  # three beside the recipe as it is


def written(folder, name, *runs, device="CPU"):
    """Records of (row, BPD) with the changes of that ablation; none of the baseline's."""
    for row, bpd, *seeds in runs:
        for seed in seeds or (100,):
            found = record(row, seed)
            changes = BY_NAME[name].changes[row] if name else {}
            bpd_metric = replace(found.metrics["BPD"], value=bpd)
            metrics = {**found.metrics, "BPD": bpd_metric}
            write_record(replace(found, metrics=metrics, changes=dict(changes), device=device), folder)


def effects(table):
    """Line -> the claim's own effect."""
    return {words: effect.split(" bpd")[0] for words, effect, *_ in table.lines}


def test_effects_pair_a_changed_row_with_the_unchanged_other(tmp_path):
    """CQ alone is changed by lambda-25; both by twice-the-steps, for which the unchanged VAE must not stand in."""
    written(tmp_path, "", ("table1/vae", 5.0), ("table1/cq", 5.5))
    written(tmp_path, "lambda-25", ("table1/cq", 5.2))
    written(tmp_path, "twice-the-steps", ("table1/cq", 4.9))
    table = tried.tables(tmp_path)[0][CLAIM]
    assert table.where == "photos10 16×16, quick, seed 100"
    assert effects(table) == {"as it is": "−0.50", f"λ 25 instead of 100 ({ablations.NATS})": "−0.20"}
    assert table.columns[1:] == ("Without f, the quality loss lowers FID, T = 0",
                                 "Without f, the quality loss lowers FID, T = 1", "parameters of each")  # fmt: skip
    assert all("%" in cell for cell in table.lines[1][2:4]) and " and " in table.lines[1][4]
    written(tmp_path, "twice-the-steps", ("table1/vae", 4.7))
    assert effects(tried.tables(tmp_path)[0][CLAIM])["steps: 9,000 instead of 4,500"] == "−0.20"
    assert tried.tables(tmp_path / "nothing") == ({}, [])


def test_all_lines_are_of_the_same_seeds_and_devices(tmp_path):
    written(tmp_path, "", ("table1/vae", 5.0, 100), ("table1/cq", 5.5, 100), ("table1/cq", 9.0, 101),
            ("table1/vae", 5.0, 101))  # fmt: skip
    written(tmp_path, "lambda-25", ("table1/cq", 5.2, 100))
    written(tmp_path, "penalty-10", ("table1/cq", 5.1, 100), device="another")
    written(tmp_path, "critic-sees-samples", ("table1/cq", 5.0, 101))
    found, problems = tried.tables(tmp_path)
    assert list(effects(found[CLAIM]).values()) == ["−0.50", "−0.20"] and found[CLAIM].where.endswith("seed 100")
    lacks = "table1/cq and table1/vae lack a run of the seeds and device that the other tries have"
    assert problems == [f"penalty-10: {lacks}", f"critic-sees-samples: {lacks}"]


def test_what_diverged_is_told_and_what_is_damaged_is_named(tmp_path):
    written(tmp_path, "", ("table1/vae", 5.0), ("table1/cq", 5.5))
    written(tmp_path, "lambda-25", ("table1/cq", 5.2))
    (path,) = tmp_path.glob("*quality-weight*")
    path.write_text(path.read_text().replace('"status": "done"', '"status": "diverged"'))
    found, problems = tried.tables(tmp_path)
    assert found[CLAIM].lines[1][1:4] == ("diverged",) * 3 and not problems
    path = tmp_path / "table1_cq--photos10--quick--100.json"
    path.write_text("{")
    found, (problem,) = tried.tables(tmp_path)
    assert CLAIM not in found and problem.startswith(f"{path.name}: not JSON")


def test_every_change_has_a_name_and_every_table_fits_its_claim():
    assert {path for a in ABLATIONS for changes in a.changes.values() for path in changes} <= set(variants.WORDS)
    for claim, others in tried.BESIDE.items():
        assert set(ablations.compared([others])) == set(ablations.compared([claim]))


def test_publishing_copies_what_is_finished_whatever_came_out(tmp_path, monkeypatch):
    runs, place = tmp_path / "runs", tmp_path / "published"
    monkeypatch.setattr(publish, "PUBLISHED", place)
    monkeypatch.setattr(ablations, "PUBLISHED", place / "ablations")
    monkeypatch.setattr(publish.readme, "write", lambda: None)
    monkeypatch.setattr(publish.report, "render", lambda *_, **__: place)
    (place / "samples").mkdir(parents=True)
    for row, status in (("table1/cq", "diverged"), ("table1/vae", "done")):
        run = replace(record(row, 100), status=status)
        write_record(run, runs / "ablations" / row.replace("/", "_"), "record.json")
    another = replace(record("table1/vae"), changes={"training.steps": 7})  # of nobody's claim
    write_record(another, runs / "mine", "record.json")
    publish.publish(runs)
    assert [r.status for r in load_records(place / "ablations")[0]] == ["diverged", "done"]
    assert not list((place / "records").glob("*"))
    path = runs / "ablations" / "table1_vae" / "record.json"
    write_record(replace(record("table1/vae", 100), git=GitInfo("0" * 40, True)), path.parent, path.name)
    with pytest.raises(UserError, match="ablations.table1_vae.*uncommitted"):
        publish.publish(runs)
    path.write_text("{")
    with pytest.raises(UserError, match="ablations.*not JSON"):
        publish.publish(runs)


def test_the_command_trains_what_an_ablation_needs(monkeypatch):
    monkeypatch.setattr("cqlib.experiments.changes._try", lambda *_: None)

    def planned(*only):
        options = parse(["--only", ",".join(only), "--seeds", "100,"])
        return [(e.row, e.changes, e.seed) for e in plan(options).experiments]

    cq = ("table1/cq", {"system.critic.penalty_weight": 10.0}, 100)
    assert planned("penalty-10") == [cq, ("table1/cq", {}, 100), ("table1/vae", {}, 100), ("table1/gan", {}, 100)]
    everything = planned("ablations")
    assert all((row, dict(changes), 100) in everything for a in ALL for row, changes in a.runs)
    with pytest.raises(UserError, match="of --profile quick, not of paper"):  # whose widths, say, are others
        plan(parse(["--only", "cq-f-width-50", "--profile", "paper"]))
    with pytest.raises(UserError, match="unknown name 'lambda-24': did you mean 'lambda-25'"):
        planned("lambda-24")


def test_published_ablations_are_of_todays_experiments():
    found, problems = load_records(ablations.PUBLISHED)
    beside, others = load_records(PUBLISHED / "records")
    assert not problems and not others
    for run in of_todays_data([*found, *(run for run in beside if run.changes)]):
        assert run.config_hash == experiment_of(run).config_hash and run.git.dirty is False, run.folder
        assert not run.changes or run.variant in BESIDE | {a.variant(run.row) for a in ALL}
        assert (run.seed in ablations.SEEDS) == (run in found)


def test_every_ablation_answers_one_question():
    asked = [name for question in ablations.QUESTIONS for name in question.ablations]
    assert sorted(asked) == sorted(ablation.name for ablation in ABLATIONS)


def of_runs(*runs):
    """Records of (row, name of an ablation or "", seed, BPD, FD at both temperatures)."""
    found = []
    for row, name, seed, bpd, distance in runs:
        made = replace(record(seed=seed), row=row)
        values = {"BPD": bpd, "FD-lite0@T0": distance, "FD-lite0@T1": 2 * distance}
        metrics = {**made.metrics, **{key: replace(made.metrics[key], value=value) for key, value in values.items()}}
        found.append(replace(made, metrics=metrics, changes=dict(BY_NAME[name].changes[row]) if name else {}))
    return found


def test_effects_are_positive_where_the_changed_row_is_better():
    runs = of_runs(
        *(("table1/cq", "", seed, 5.0 + seed / 1e4, 400.0 + seed) for seed in ablations.SEEDS),
        *(("table1/cq", "penalty-10", seed, 5.3 + seed / 1e4, 300.0 + seed) for seed in (*ablations.SEEDS, 102)),
    )
    lines = {effect.row: effect for question, lines in tried.effects(runs, 0.0).items() for effect in lines
             if question.ablations == ("penalty-10",)}  # fmt: skip
    bpd, distance, *_ = lines["CQ"].results
    assert bpd.effect == pytest.approx(-0.3) and bpd.label == "does not hold" and lines["CQ"].seeds == [100, 101]
    assert distance.effect == pytest.approx(100 * 100 / 500.5) and distance.label == "holds"
    assert lines["CQ"].words == "gradient penalty 10 instead of 1" and lines["CQ"].measured
    at_1 = tried.effects(runs, 1.0)
    (effect,) = [e for lines in at_1.values() for e in lines if e.measured]
    assert effect.results[1].metric_name == "FD-lite0@T1"


def test_the_table_of_effects_reads_well_with_none_some_and_all():
    from cqlib.report import page

    def text(runs):
        table = page.macro("effect_table", tried.effect_table(runs, 0.0))
        return " ".join(BeautifulSoup(table, "html.parser").get_text(" ").split())

    count = sum(len(ablation.changes) for ablation in ABLATIONS)
    nothing = text([])
    assert nothing.count("not trained yet") == count and "seen once" not in nothing
    assert nothing.count("./run_all.sh --only") == len(ablations.QUESTIONS)
    one = of_runs(*(("table1/cq", name, 100, 5.0, 400.0) for name in ("", "penalty-10")))
    some = text(one)
    assert some.count("not trained yet") == count - 1 and "seen once" in some
    assert "--only penalty-10" not in some and "--only fp32 --seeds 100,101 --runs-dir runs/ablations" in some
    stuck = text([replace(run, status="diverged") if run.changes else run for run in one])
    assert "diverged" in stuck
    rows = {row for ablation in ABLATIONS for row in ablation.changes}
    every = [("", row) for row in rows] + [(a.name, row) for a in ABLATIONS for row in a.changes]
    every = [(row, name, seed, 5.0 + seed / 1e3, 400.0 + seed) for name, row in every for seed in (100, 101)]
    assert "not trained yet" not in text(of_runs(*every))
