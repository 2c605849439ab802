"""Ablations: each changes what it says, and what it does to scores and claims is told of the right rows."""

from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from fake_records import record
from published_records import of_todays_data
from todays import of_today

from cqlib.cli.options import parse
from cqlib.cli.run_all import plan
from cqlib.experiments import ablations, variants
from cqlib.experiments.ablations import ABLATIONS, BY_NAME, CQ_F, PROFILE
from cqlib.experiments.claims import BY_ID
from cqlib.experiments.experiment import experiment, experiment_of
from cqlib.experiments.paper import canonical
from cqlib.experiments.record import load_records, write_record
from cqlib.models.registry import build
from cqlib.report import ablations as tried
from cqlib.report import publish
from cqlib.report.claim_cards import VERDICTS, cards
from cqlib.report.growth import OPPOSITE
from cqlib.report.run_sets import run_sets
from cqlib.util.errors import UserError
from cqlib.util.paths import RECORDS
from cqlib.util.provenance import GitInfo

CLAIM = "table1/quality-loss-bpd"
CONTRARY = [name for name, verdict in VERDICTS.items() if verdict.tone == "bad"]


def compared(ablation):
    """The rows that its claims compare."""
    return {canonical(row) for id in ablation.claims for row in (BY_ID[id].row_a, BY_ID[id].row_b)}


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_an_ablation_changes_its_rows_and_bears_on_claims_that_compare_them(ablation, monkeypatch):
    monkeypatch.setattr("cqlib.experiments.changes._try", lambda *_: None)  # their published records show that
    assert ablation.changes and min(ablations.SEEDS) >= 100
    for claim in map(BY_ID.get, ablation.claims):
        assert ablation.claim(claim) != claim
    assert not ablation.claims or ablation.changes.keys() <= compared(ablation)
    plain = [row for row, changes in ablation.runs if not changes]
    assert set(plain) == {*ablation.changes, *compared(ablation)}
    for row, changes in ablation.changes.items():
        e = experiment(row, PROFILE, changes=changes)
        assert e.changes == changes and e.variant == ablation.variant(row)  # none is the default, all have their type
        assert e.config_hash != experiment(row, PROFILE).config_hash
        assert changes.keys() <= variants.WORDS.keys()


@pytest.mark.parametrize("percent", [50, 75, 150])
def test_all_nets_have_the_width_that_the_ablation_says(percent):
    changes = BY_NAME[f"cq-f-width-{percent}"].changes[CQ_F]
    recipes = [experiment(CQ_F, changes=c).recipe for c in ({}, changes)]
    whole, part = (build(recipe.system).parameter_counts() for recipe in recipes)
    share = percent / 100
    low, high = sorted((share, share**2))  # weights between layers go with the square, those at the ends do not
    for net in ("encoder", "decoder", "flow", "critic"):
        assert low < part[net] / whole[net] < high


def test_every_claim_that_does_not_hold_has_three_ablations_or_more_and_names_are_folders():
    """On the run set that the claim's card leads with; one that does not hold at one temperature counts."""
    tries = [claim for ablation in ABLATIONS for claim in ablation.claims]
    published = of_todays_data(load_records(RECORDS)[0])
    contrary = {card.claim.id for card in cards(run_sets([], published)) if card.verdict in CONTRARY}
    assert all(tries.count(claim) >= 3 for claim in contrary | set(tries))
    assert len(BY_NAME) == len(ABLATIONS) + len(ablations.BESIDE_TABLES)
    assert all(name.replace("-", "").isalnum() for name in BY_NAME)


def test_what_was_tried_is_published_under_every_claim_that_does_not_hold():
    made = cards(run_sets([], of_todays_data(load_records(RECORDS)[0])))
    records, problems = load_records(ablations.PUBLISHED)
    runs = tried.run_set(records)
    found = tried.tried(runs)
    assert not problems
    changed = {run.variant for run in runs.finished if run.changes}
    shown = [effect for _, effects in tried.effects(runs, 0.0) for effect in effects if effect.has_results]
    assert len(shown) == len(changed)  # whatever has been trained is shown
    turned = {card.claim.id for card in made if card.claim.table == "table1" and OPPOSITE in " ".join(card.growth)}
    for claim in turned.union(card.claim.id for card in made if card.verdict in CONTRARY):
        assert len(found[claim]) >= 4, claim  # three beside the recipe as it is


def runs(name, **bpd):
    """Records of rows of Table 1 with that BPD, seed 100, changed as the ablation says."""
    found = []
    for row, value in bpd.items():
        run = record(f"table1/{row}", 100)
        metrics = {**run.metrics, "BPD": replace(run.metrics["BPD"], value=value)}
        changes = dict(BY_NAME[name].changes[run.row]) if name else {}
        found.append(of_today(replace(run, metrics=metrics, changes=changes)))
    return found


def effects(records):
    """What was changed -> the effect on `CLAIM`."""
    found = tried.tried(tried.run_set(records)).get(CLAIM, ())
    return {words: result.size for words, (result,) in found}


def test_a_claim_is_tested_between_the_rows_as_the_ablation_has_them():
    """CQ alone is changed by lambda-25; both by twice-the-steps, for which the unchanged VAE must not stand in."""
    plain = runs("", vae=5.0, cq=5.5)
    assert effects(plain) == effects([]) == {}
    some = [*plain, *runs("lambda-25", cq=5.2), *runs("twice-the-steps", cq=4.9)]
    assert effects(some) == {"as it is": "−0.50 bpd", "λ 25 instead of 100": "−0.20 bpd"}
    some += runs("twice-the-steps", vae=4.7)
    assert effects(some)["steps: 9,000 instead of 4,500"] == "−0.20 bpd"
    diverged = [replace(run, status="diverged") if run.changes else run for run in some]
    assert effects(diverged) == {}
    other = [replace(run, device="a card, fp32") if "system.quality_weight" in run.changes else run for run in some]
    assert "λ 25 instead of 100" not in effects(other)  # another precision
    former = [replace(run, config_hash="of a former recipe") if not run.changes else run for run in some]
    assert "as it is" not in effects(former)


def test_publishing_copies_what_is_finished_whatever_came_out(tmp_path, monkeypatch):
    runs, place = tmp_path / "runs", tmp_path / "published"
    monkeypatch.setattr(publish, "PUBLISHED", place)
    monkeypatch.setattr(ablations, "PUBLISHED", place / "ablations")
    monkeypatch.setattr(publish.readme, "write", lambda: [])
    monkeypatch.setattr(publish.report, "render", lambda *_, **__: place)
    (place / "samples").mkdir(parents=True)
    for row, status in (("table1/cq", "diverged"), ("table1/vae", "done")):
        run = replace(record(row, 100), status=status, per_image={"BPD": [5.0]}, curve={"L_Q": [(1, 2.0)]})
        write_record(run, runs / "ablations" / row.replace("/", "_"), "record.json")
    another = replace(record("table1/vae"), changes={"training.steps": 7})  # of nobody's claim
    write_record(another, runs / "mine", "record.json")
    publish.publish(runs)
    assert [r.status for r in load_records(place / "ablations")[0]] == ["diverged", "done"]
    assert not any(r.per_image or r.curve for r in load_records(place / "ablations")[0])
    assert not list((place / "records").glob("*"))
    long = replace(record("table1/cq", profile="study"), changes=dict(ablations.LONG_RUNS.changes["table1/cq"]))
    write_record(long, runs / "long", "record.json")
    publish.publish(runs)
    assert [r.changes for r in load_records(place / "records")[0]] == [{"training.steps": 18_000}]
    path = runs / "ablations" / "table1_vae" / "record.json"
    write_record(replace(record("table1/vae", 100), git=GitInfo("0" * 40, True)), path.parent, path.name)
    with pytest.raises(UserError, match="ablations.table1_vae.*uncommitted"):
        publish.publish(runs)
    path.write_text("{")
    with pytest.raises(UserError, match="ablations.*Invalid JSON"):
        publish.publish(runs)


def test_the_command_trains_what_an_ablation_needs(monkeypatch):
    monkeypatch.setattr("cqlib.experiments.changes._try", lambda *_: None)

    def planned(*only):
        options = parse(["--only", ",".join(only), "--seeds", "100,"])
        return [(e.row, e.changes, e.seed) for e in plan(options).experiments]

    cq = ("table1/cq", {"system.critic.penalty_weight": 10.0}, 100)
    assert planned("penalty-10") == [cq, ("table1/cq", {}, 100), ("table1/vae", {}, 100), ("table1/gan", {}, 100)]
    everything = planned("ablations")
    assert all((row, dict(changes), 100) in everything for a in ABLATIONS for row, changes in a.runs)
    for name, own, asked in (("cq-f-width-50", "quick", "paper"), ("ablations", "quick", "paper"),
                             ("long-runs", "study", "quick")):  # fmt: skip
        with pytest.raises(UserError, match=f"^{name}: .* of --profile {own}, not of {asked}"):
            plan(parse(["--only", name, "--profile", asked]))
    with pytest.raises(UserError, match="unknown name 'lambda-24': did you mean 'lambda-25'"):
        planned("lambda-24")


def test_long_runs_are_three_times_those_of_study_and_stand_beside_them(monkeypatch):
    monkeypatch.setattr("cqlib.experiments.changes._try", lambda *_: None)
    options = parse(["--only", "long-runs", "--profile", "study", "--data", "tiny-imagenet"])
    runs = plan(options).experiments
    long = {e.row: e.recipe.training for e in runs if e.changes}
    plain = {e.row: e.recipe.training for e in runs if not e.changes}
    assert {*long} == {*plain} == {"table1/cq", "table1/cq-f", "table1/gan"}
    assert all(training.steps == 3 * plain[row].steps and training.snapshots > 2 for row, training in long.items())
    assert all((e.data, e.seed) == ("tiny-imagenet", 0) for e in runs)
    assert {e.variant for e in runs if e.changes} <= ablations.PUBLISHED_CHANGES


def test_published_ablations_are_of_todays_experiments():
    found, problems = load_records(ablations.PUBLISHED)
    beside, others = load_records(RECORDS)
    assert not problems and not others
    for run in of_todays_data([*found, *(run for run in beside if run.changes)]):
        assert run.config_hash == experiment_of(run).config_hash and run.git.dirty is False, run.folder
        known = {a.variant(run.row) for a in ABLATIONS} if run in found else ablations.PUBLISHED_CHANGES
        assert not run.changes or run.variant in known
        assert (run.seed in ablations.SEEDS) == (run in found)


def of_runs(*runs):
    """Records of (row, name of an ablation or "", seed, BPD, FD at both temperatures)."""
    found = []
    for row, name, seed, bpd, distance in runs:
        made = replace(record(seed=seed), row=row)
        values = {"BPD": bpd, "FD-lite0@T0": distance, "FD-lite0@T1": 2 * distance}
        metrics = {**made.metrics, **{key: replace(made.metrics[key], value=value) for key, value in values.items()}}
        changes = dict(BY_NAME[name].changes[row]) if name else {}
        found.append(of_today(replace(made, metrics=metrics, changes=changes)))
    return found


def test_effects_are_positive_where_the_changed_row_is_better():
    runs = of_runs(
        *(("table1/cq", "", seed, 5.0 + seed / 1e4, 400.0 + seed) for seed in ablations.SEEDS),
        *(("table1/cq", "penalty-10", seed, 5.3 + seed / 1e4, 300.0 + seed) for seed in (*ablations.SEEDS, 102)),
    )
    def measured(temperature):
        found = tried.effects(tried.run_set(runs), temperature)
        assert all(len({effect.words for effect in of}) == len(of) for _, of in found)  # though two share a run
        (effect,) = [effect for _, of_question in found for effect in of_question if effect.has_results]
        return effect

    effect = measured(0.0)
    bpd, distance, *_ = effect.results
    assert (effect.ablation, effect.words) == ("penalty-10", "CQ: gradient penalty 10 instead of 1")
    assert bpd.effect == pytest.approx(-0.3, abs=1e-3) and bpd.label == "does not hold"
    assert bpd.seeds == ((100, 101, 102), (100, 101))
    assert distance.effect == pytest.approx(100 * 99.5 / 500.5) and distance.label == "holds"
    assert measured(1.0).results[1].metric_name == "FD-lite0@T1"


def test_the_table_of_effects_reads_well_with_none_some_and_all():
    from cqlib.report import page

    def text(runs):
        table = page.macro("effect_table", tried.effect_table(tried.run_set(runs), 0.0))
        return " ".join(BeautifulSoup(table, "html.parser").get_text(" ").split())

    count = sum(len({a.variant(row) for a in q.ablations for row in a.changes}) for q in ablations.QUESTIONS)
    nothing = text([])
    assert nothing.count("not trained yet") == count and "seen once" not in nothing
    assert nothing.count("./run_all.sh --only") == len(ablations.QUESTIONS) and "photos10 16×16, quick" in nothing
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
