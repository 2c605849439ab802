"""README and repository agree: rendered parts are up to date, links lead somewhere, maps are complete."""

import json
import re
from pkgutil import resolve_name

from fake_records import records
from published_records import of_todays_data

from cqlib.experiments import paper
from cqlib.experiments.record import load_records
from cqlib.experiments.rows import PROFILES, notebooks
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report import readme
from cqlib.report.run_sets import run_sets
from cqlib.util.paths import PUBLISHED, ROOT

TEXT = readme.README.read_text()


def test_rendered_parts_are_those_of_the_published_records():
    records, problems = load_records(PUBLISHED / "records")
    assert not problems and records
    for file, parts in readme.DOCUMENTS.items():
        assert readme.render(file.read_text(), parts, records) == file.read_text(), "run: python -m cqlib readme"


def test_rendering_changes_when_a_number_does():
    from dataclasses import replace

    records, _ = load_records(PUBLISHED / "records")
    first = next(r for r in records if r.variant == "table1/cq-f" and r.profile == "quick")
    bpd = replace(first.metrics["BPD"], value=first.metrics["BPD"].value + 1)
    changed = [r if r is not first else replace(r, metrics={**r.metrics, "BPD": bpd}) for r in records]
    assert readme.render(TEXT, ["table1"], changed) != TEXT


def test_a_table_is_of_quick_where_it_has_all_rows_and_else_of_what_has_more():
    fuller = run_sets([], [*records(1), *records(2, profile="study")])
    assert readme._fullest(paper.TABLE1, fuller).profile == "quick"
    rows = tuple(row.id for row in paper.TABLE1.rows)
    lacking = run_sets([], [*records(3, rows[1:]), *records(1, profile="study")])
    assert readme._fullest(paper.TABLE1, lacking).profile == "study"


def test_links_lead_somewhere():
    for file in (readme.README, *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#\s]+)\)", file.read_text()):
            assert link.startswith("https://") or (file.parent / link).exists(), link


def test_every_equation_is_where_the_map_says():
    for number, (_, where) in enumerate(paper.EQUATIONS, 1):
        thing = resolve_name(where)
        numbers = re.findall(r"\((\d)\)", thing.__doc__)
        ranges = [range(int(a), int(b) + 1) for a, b in re.findall(r"\((\d)\) to \((\d)\)", thing.__doc__)]
        assert str(number) in numbers or any(number in r for r in ranges), where


def test_every_notebook_is_in_the_course_plan_and_every_profile_in_the_readme():
    plan = (ROOT / "notebooks" / "README.md").read_text()
    for file in notebooks().values():
        assert file.name in plan
    for profile in PROFILES:
        assert f"`{profile}`" in TEXT


def test_published_models_can_be_loaded_and_drawn_from(tmp_path):
    """A checkpoint whose recipe has changed since its run on today's data would not be found: publish again."""
    from cqlib.experiments.load import load
    from cqlib.metrics import evaluation
    from cqlib.report import publish

    run = {r.row for r in of_todays_data(load_records(PUBLISHED / "records")[0]) if r.seed == 0}
    for row in run.intersection(publish.MODELS):
        model = load(row, runs_dir=tmp_path)
        images = evaluation.draw(model, 8, temperature=1.0, seed=0)
        assert images.shape == (8, 3, 16, 16) and images.float().std() > 10


def test_the_cost_of_the_papers_own_numbers_is_that_of_the_estimate():
    runs = json.loads((PUBLISHED / "gpu_hours.json").read_text())["runs"]
    table1, table3, every = (sum(r["hours"] for r in runs if part in r["part"]) for part in ("Table 1", "Table 3", ""))
    text = TEXT.replace("\n", " ")
    assert f"Table 1 takes about {table1:.0f} GPU-hours, one of everything {every:.0f}, of which {table3:.0f}" in text


def test_the_margins_that_are_told_are_those_of_the_verdicts():
    assert QUANTITIES["is"].equal == QUANTITIES["fid"].equal
    assert f"±{QUANTITIES['bpd'].equal} bpd or ±{QUANTITIES['fid'].equal:.0f} % of the score" in TEXT.replace("\n", " ")
