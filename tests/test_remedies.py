"""What was tried where a claim does not hold: each remedy changes what it says, and its effect is paired rightly."""

import pytest
from fake_records import record

from cqlib import remedies, report
from cqlib.claims import BY_ID
from cqlib.errors import UserError
from cqlib.experiments import experiment
from cqlib.records import Metric, load_records, write_record
from cqlib.remedies import BY_NAME, REMEDIES, UNCHANGED

CLAIM = "table1/quality-loss-bpd"


def with_bpd(row: str, bpd: float):
    found = record(row, 100)
    found.metrics["BPD"] = Metric(bpd, None, found.metrics["BPD"].n, found.metrics["BPD"].protocol)
    return found


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.name)
def test_a_remedy_trains_its_rows_otherwise_on_seeds_that_no_table_reports(remedy):
    compared = {row for claim in remedy.claims for row in (BY_ID[claim].row_a, BY_ID[claim].row_b)}
    assert remedy.changes and remedy.changes.keys() <= compared and min(remedies.SEEDS) >= 100
    plain = {e.row: e for e in remedies.experiments(UNCHANGED, 100)}
    for e in remedies.experiments(remedy.name, 100):
        assert e.config_hash != plain[e.row].config_hash and plain[e.row] == experiment(e.row, seed=100)


def test_every_claim_has_three_remedies_or_more_and_names_are_folders():
    tries = [claim for remedy in REMEDIES for claim in remedy.claims]
    assert min(map(tries.count, tries)) >= 3
    assert len(BY_NAME) == len(REMEDIES) and UNCHANGED not in BY_NAME
    assert all(name.replace("-", "").isalnum() for name in BY_NAME)


def test_a_change_that_changes_nothing_is_refused():
    recipe = experiment("table1/cq").recipe
    assert remedies.changed(recipe, "system.critic.penalty_weight", 5.0).system.critic.penalty_weight == 5.0
    for path, value in (("system.nothing", 1), ("system.flow.width", 8), ("training.steps.more", 1)):
        with pytest.raises(ValueError, match="there is no"):
            remedies.changed(recipe, path, value)
    with pytest.raises(ValueError, match="already"):
        remedies.changed(recipe, "training.steps", recipe.training.steps)


def test_effects_pair_a_changed_row_with_the_unchanged_other(tmp_path):
    """CQ alone is changed by lambda-25; both by twice-the-steps, for which the unchanged VAE must not stand in."""
    for name, runs in {
        UNCHANGED: [("table1/vae", 5.0), ("table1/cq", 5.5)],
        "lambda-25": [("table1/cq", 5.2)],
        "twice-the-steps": [("table1/cq", 4.9)],
    }.items():
        for row, bpd in runs:
            write_record(with_bpd(row, bpd), tmp_path / name)
    found = remedies.tried(tmp_path)
    assert [line.words for line in found[CLAIM]] == ["As it is", BY_NAME["lambda-25"].words]
    assert [line.effects[0].split(" bpd")[0] for line in found[CLAIM]] == ["−0.50", "−0.20"]
    write_record(with_bpd("table1/vae", 4.7), tmp_path / "twice-the-steps")
    assert remedies.tried(tmp_path)[CLAIM][-1].effects[0].startswith("−0.20 bpd")
    assert CLAIM not in remedies.tried(tmp_path / "nothing")


def test_the_report_tells_them_under_the_claim(tmp_path, monkeypatch):
    lines = {CLAIM: [remedies.Tried("As it is", ("−0.50 bpd",)), remedies.Tried("less of <it>", ("−0.20 bpd",))]}
    monkeypatch.setattr(remedies, "tried", lambda: lines)
    runs = [with_bpd(row, bpd) for row, bpd in (("table1/vae", 5.0), ("table1/cq", 5.5))]
    page = report.build(tmp_path, local=[], published=runs).read_text()
    assert "What was tried" in page and "less of &lt;it&gt;" in page and "−0.20 bpd" in page


@pytest.mark.parametrize(("argv", "words"), [([], "give a folder"), (["--help"], "give a folder"),
                                             (["runs", "lambda"], "lambda-25")])  # fmt: skip
def test_wrong_arguments_are_told_in_one_line(argv, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        remedies.main(argv)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and words in said and said.count("\n") == 1


def test_the_command_trains_what_a_remedy_needs(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("cqlib.run.run_experiment",
                        lambda e, runs_dir: done.append((runs_dir.name, e.row, e.seed)) or record(e.row))  # fmt: skip
    assert remedies.main([str(tmp_path), "lambda-25"]) == 0
    assert done == [(UNCHANGED, "table1/vae", 100), (UNCHANGED, "table1/cq", 100), ("lambda-25", "table1/cq", 100)]


def test_published_tries_are_of_todays_experiments():
    """And whole, from committed code."""
    for name in (UNCHANGED, *BY_NAME):
        for run in load_records(remedies.PUBLISHED / name)[0]:
            (e,) = [e for e in remedies.experiments(name, run.seed) if e.row == run.row]
            assert run.config_hash == e.config_hash and run.status == "done" and run.git.dirty is False, (name, run.row)


def test_folders_of_published_tries_are_those_of_remedies():
    if remedies.PUBLISHED.is_dir():
        assert {path.name for path in remedies.PUBLISHED.iterdir()} <= {UNCHANGED, *BY_NAME}


def test_a_bad_seed_or_name_does_not_pass():
    with pytest.raises(KeyError):
        remedies.experiments("nothing", 100)
    with pytest.raises(UserError):
        remedies.experiments(UNCHANGED, -1)
