"""What was tried where a claim does not hold: each ablation changes what it says, and its effect is paired rightly."""

import json
from dataclasses import replace

import pytest
from fake_records import record

from cqlib.cli import commands
from cqlib.experiments import ablations
from cqlib.experiments.ablations import ABLATIONS, BASELINE, BY_NAME
from cqlib.experiments.experiment import experiment
from cqlib.experiments.record import load_records, write_record
from cqlib.report import ablations as tried
from cqlib.report import publish
from cqlib.report.claim_cards import VERDICTS, cards
from cqlib.report.run_sets import run_sets
from cqlib.util.errors import UserError
from cqlib.util.paths import PUBLISHED
from cqlib.util.provenance import GitInfo

CLAIM = "table1/quality-loss-bpd"
CONTRARY = [name for name, verdict in VERDICTS.items() if verdict.tone == "bad"]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_an_ablation_changes_its_rows_on_seeds_that_no_table_reports(ablation):
    assert ablation.changes and min(ablations.SEEDS) >= 100
    for claim in ablation.claims:
        assert ablation.changes.keys() & set(ablations.compared([claim])), claim
    assert ablation.changes.keys() <= set(ablations.compared(ablation.claims))
    plain = {e.row: e for e in ablations.experiments(BASELINE, 100)}
    for e in ablations.experiments(ablation.name, 100):
        assert e.config_hash != plain[e.row].config_hash and plain[e.row] == experiment(e.row, seed=100)


def test_every_claim_that_does_not_hold_has_three_ablations_or_more_and_names_are_folders():
    """On the run set that the claim's card leads with; one that does not hold at one temperature counts."""
    tries = [claim for ablation in ABLATIONS for claim in ablation.claims]
    contrary = {card.claim.id for card in cards(run_sets([], load_records(PUBLISHED / "records")[0]))
                if card.verdict in CONTRARY}  # fmt: skip
    assert contrary and all(tries.count(claim) >= 3 for claim in contrary | set(tries))
    assert len(BY_NAME) == len(ABLATIONS) and BASELINE not in BY_NAME
    assert all(name.replace("-", "").isalnum() for name in BY_NAME)


def test_what_was_tried_is_published_under_every_claim_that_does_not_hold():
    made = cards(run_sets([], load_records(PUBLISHED / "records")[0]))
    tables, problems = tried.tables()
    assert not problems
    # else more training would pass for a better recipe
    steps = [words for words, *_ in tables["table3/nvp-bpd"].lines if words.startswith("steps")]
    assert steps == ["steps: 3,000 instead of 1,500 (the other row's stay 1,000)"]
    for card in made:
        if card.verdict in CONTRARY:
            assert len(tables[card.claim.id].lines) >= 4, card.claim.id  # three beside the recipe as it is


def test_a_change_that_changes_nothing_is_refused():
    e = experiment("table1/cq")
    assert e.with_changes({"system.critic.penalty_weight": 5.0}).recipe.system.critic.penalty_weight == 5.0
    for path, value in (("system.nothing", 1), ("system.flow.width", 8), ("training.steps.more", 1)):
        with pytest.raises(ValueError, match="there is no"):
            e.with_changes({path: value})
    with pytest.raises(ValueError, match="already"):
        e.with_changes({"training.steps": e.recipe.training.steps})


def written(folder, name, *runs, device="CPU"):
    """Records of (row, BPD) with the config of that ablation's run."""
    for row, bpd, *seeds in runs:
        for seed in seeds or (100,):
            found = record(row, seed)
            config = next(e for e in ablations.experiments(name, 100) if e.row == row).config
            bpd_metric = replace(found.metrics["BPD"], value=bpd)
            found = replace(found, metrics={**found.metrics, "BPD": bpd_metric}, config=config, device=device)
            write_record(found, folder / name)


def effects(table):
    """Line -> the claim's own effect."""
    return {words: effect.split(" bpd")[0] for words, effect, *_ in table.lines}


def test_effects_pair_a_changed_row_with_the_unchanged_other(tmp_path):
    """CQ alone is changed by lambda-25; both by twice-the-steps, for which the unchanged VAE must not stand in."""
    written(tmp_path, BASELINE, ("table1/vae", 5.0), ("table1/cq", 5.5))
    written(tmp_path, "lambda-25", ("table1/cq", 5.2))
    written(tmp_path, "twice-the-steps", ("table1/cq", 4.9))
    table = tried.tables(tmp_path)[0][CLAIM]
    assert table.where == "photos10 16×16, quick, seed 100"
    assert effects(table) == {"as it is": "−0.50", f"λ 25 instead of 100 ({ablations.NATS})": "−0.20"}
    assert table.columns[1:] == ("Without f, the quality loss lowers FID, T = 1",
                                 "Without f, the quality loss lowers FID, T = 0", "parameters of each")  # fmt: skip
    assert all("%" in cell for cell in table.lines[1][2:4]) and " and " in table.lines[1][4]
    written(tmp_path, "twice-the-steps", ("table1/vae", 4.7))
    assert effects(tried.tables(tmp_path)[0][CLAIM])["steps: 3,000 instead of 1,500"] == "−0.20"
    assert tried.tables(tmp_path / "nothing") == ({}, [])


def test_a_setting_younger_than_the_unchanged_record_had_todays_default(tmp_path):
    written(tmp_path, BASELINE, ("table1/vae", 5.0), ("table1/cq", 5.5))
    written(tmp_path, "lambda-25", ("table1/cq", 5.2))
    file = next((tmp_path / BASELINE).glob("table1_cq--*.json"))
    older = json.loads(file.read_text())
    del older["config"]["recipe"]["system"]["quality_weight"]
    file.write_text(json.dumps(older))
    assert f"λ 25 instead of 100 ({ablations.NATS})" in effects(tried.tables(tmp_path)[0][CLAIM])


def test_all_lines_are_of_the_same_seeds_and_devices(tmp_path):
    written(tmp_path, BASELINE, ("table1/vae", 5.0, 100), ("table1/cq", 5.5, 100), ("table1/cq", 9.0, 101),
            ("table1/vae", 5.0, 101))  # fmt: skip
    written(tmp_path, "lambda-25", ("table1/cq", 5.2, 100))
    written(tmp_path, "penalty-10", ("table1/cq", 5.1, 100), device="another")
    written(tmp_path, "critic-sees-mean", ("table1/cq", 5.0, 101))
    found, problems = tried.tables(tmp_path)
    assert list(effects(found[CLAIM]).values()) == ["−0.50", "−0.20"] and found[CLAIM].where.endswith("seed 100")
    lacks = "table1/cq and table1/vae lack a run of the seeds and device that the other tries have"
    assert problems == [f"penalty-10: {lacks}", f"critic-sees-mean: {lacks}"]


def test_what_diverged_is_told_and_what_is_damaged_is_named(tmp_path):
    written(tmp_path, BASELINE, ("table1/vae", 5.0), ("table1/cq", 5.5))
    written(tmp_path, "lambda-25", ("table1/cq", 5.2))
    (path,) = (tmp_path / "lambda-25").iterdir()
    path.write_text(path.read_text().replace('"status": "done"', '"status": "diverged"'))
    found, problems = tried.tables(tmp_path)
    assert found[CLAIM].lines[1][1:4] == ("diverged",) * 3 and not problems
    path = next((tmp_path / BASELINE).glob("*cq*"))
    path.write_text("{")
    found, (problem,) = tried.tables(tmp_path)
    assert CLAIM not in found and problem.startswith(f"baseline/{path.name}: not JSON")


def test_every_change_has_a_name_and_every_table_fits_its_claim():
    assert {path for a in ABLATIONS for changes in a.changes.values() for path in changes} == set(tried.WORDS)
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
        write_record(run, runs / "ablations" / "lambda-25" / row.replace("/", "_"), "record.json")
    publish.publish(runs)
    assert [r.status for r in load_records(place / "ablations" / "lambda-25")[0]] == ["diverged", "done"]
    assert not list((place / "records").glob("*"))
    path = runs / "ablations" / "lambda-25" / "table1_vae" / "record.json"
    write_record(replace(record("table1/vae", 100), git=GitInfo("0" * 40, True)), path.parent, path.name)
    with pytest.raises(UserError, match="lambda-25.table1_vae.*uncommitted"):
        publish.publish(runs)
    path.write_text("{")
    with pytest.raises(UserError, match="lambda-25.*not JSON"):
        publish.publish(runs)


def test_the_command_trains_what_an_ablation_needs(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("cqlib.experiments.run.run_experiment",
                        lambda e, runs_dir: done.append((runs_dir.name, e.row, e.seed)) or record(e.row))  # fmt: skip
    assert commands.main(["ablations", str(tmp_path), "lambda-25"]) == 0
    runs = ((BASELINE, "table1/vae"), (BASELINE, "table1/cq"), ("lambda-25", "table1/cq"))
    assert done == [(*run, seed) for seed in ablations.SEEDS for run in runs]
    with pytest.raises(UserError, match="unknown ablation 'lambda': did you mean 'lambda-25'"):
        list(ablations.train(tmp_path, ["lambda"]))


def test_published_ablations_are_of_todays_experiments():
    assert {path.name for path in ablations.PUBLISHED.iterdir()} <= {BASELINE, *BY_NAME}
    for name in (BASELINE, *BY_NAME):
        found, problems = load_records(ablations.PUBLISHED / name)
        assert not problems
        for run in found:
            (e,) = [e for e in ablations.experiments(name, run.seed) if e.row == run.row]
            assert run.config_hash == e.config_hash and run.seed in ablations.SEEDS and run.git.dirty is False, name
