"""claims.json is what the published records say, and its schema refuses what it is not."""

import copy
import json

import jsonschema
import pytest

from cqlib.experiments.claims import BY_ID
from cqlib.experiments.record import load_records
from cqlib.report import claims_file
from cqlib.report.claim_cards import cards
from cqlib.report.run_sets import run_sets
from cqlib.util.paths import PUBLISHED

CLAIMS, SCHEMA, BADGE = (json.loads((PUBLISHED / name).read_text()) for name in claims_file.FILES)
SETS = run_sets([], load_records(PUBLISHED / "records")[0])


def test_the_published_files_are_what_the_records_give(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_file, "PUBLISHED", tmp_path)
    for file in claims_file.write(SETS):
        assert file.read_text() == (PUBLISHED / file.name).read_text(), "python -m cqlib readme"


def test_every_claim_is_there_with_the_tests_that_the_page_shows():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(CLAIMS, SCHEMA)
    entries = {entry["id"]: entry for entry in CLAIMS["claims"]}
    assert entries.keys() == BY_ID.keys() and len(entries) == len(CLAIMS["claims"])
    for card in cards(SETS):
        entry = entries[card.claim.id]
        assert (entry["sentence"], entry["verdict"]) == (card.claim.sentence, card.verdict)
        assert entry["origin"] == ("own" if card.claim.own else "paper")
        assert [test["runs"] for test in entry["tests"]] == [results[0].runs.label for results in card.tests]
        for test, results in zip(entry["tests"], card.tests, strict=True):
            for written, result in zip(test["results"], results, strict=True):
                assert written["verdict"] == result.verdict and written["temperature"] == result.temperature
                assert written["effect"] == pytest.approx(result.effect, rel=1e-3)
                interval = None if result.low is None else pytest.approx([result.low, result.high], rel=1e-3)
                assert written["interval"] == interval
                assert written["by_kid"] == (result.cross_check and result.cross_check.verdict)
                assert (written["detectable"] is not None) == bool(result.power)
                assert not result.power or written["detectable"] == pytest.approx(result.detectable, rel=1e-3)


def test_the_badge_counts_the_papers_claims_that_hold():
    """Those of this project, and those that no run tests, are not among them."""
    tested = [entry["verdict"] for entry in CLAIMS["claims"] if entry["tests"] and entry["origin"] == "paper"]
    assert BADGE["message"] == f"{tested.count('holds')} of {len(tested)}" and 0 < tested.count("holds") < len(tested)
    assert BADGE["schemaVersion"] == 1 and BADGE.keys() == {"schemaVersion", "label", "message", "color"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda claims: claims["claims"][0].update(verdict="proved"),
        lambda claims: claims["claims"][0].update(more=1),
        lambda claims: claims["claims"][0].pop("tests"),
        lambda claims: claims.update(version=1),
        lambda claims: next(e for e in claims["claims"] if e["tests"])["tests"][0]["results"][0].update(effect="0.1"),
    ],
)
def test_the_schema_refuses(wrong):
    broken = copy.deepcopy(CLAIMS)
    wrong(broken)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)
