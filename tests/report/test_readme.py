"""README, docs and repository agree: rendered parts are up to date, links lead somewhere, commands can be typed."""

import json
import re
import shlex
from dataclasses import replace
from pkgutil import resolve_name

import numpy as np
import pytest
import yaml
from fake_records import records
from published_models import publish_untrained

from cqlib import data
from cqlib.cli import commands, options
from cqlib.experiments import paper
from cqlib.experiments.record import load_records
from cqlib.experiments.rows import PROFILES, notebooks
from cqlib.metrics.quantities import QUANTITIES
from cqlib.report import mixture, readme
from cqlib.report.run_sets import run_sets
from cqlib.util.paths import RECORDS, ROOT

BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md")
PAGES = (readme.README, *sorted(readme.DOCS.glob("*.md")), *(ROOT / name for name in BESIDE))
TEXT = {page: page.read_text() for page in PAGES}
README = TEXT[readme.README]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return [code for kind, code in FENCED.findall(text) if kind == language]


def shell_commands() -> list[str]:
    """Every command of this project that a page shows, as code within a line or in a block."""
    found = []
    for text in TEXT.values():
        lines = [line.split(" #")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()]
        found += [*lines, *re.findall(r"`([^`\n]+)`", FENCED.sub("", text))]
    ours = re.compile(r"\./run_all\.sh\b|(\.venv/bin/)?python -m cqlib ")
    return sorted({line for line in found if ours.match(line)})


def anchors(text: str) -> set[str]:
    """The anchors that a code host makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_rendered_parts_are_those_of_the_published_records():
    published, problems = load_records(RECORDS)
    assert not problems and published
    for file, parts in readme.DOCUMENTS.items():
        assert readme.render(TEXT[file], parts, run_sets([], published)) == TEXT[file], "run: python -m cqlib readme"
        assert set(re.findall(r"<!-- ([\w-]+) -->", TEXT[file])) == parts.keys()
        assert not re.search(r"^ *<!-- .* -->.", TEXT[file], re.MULTILINE)  # what follows would be raw HTML


def test_rendering_changes_when_a_number_does():
    before = records(2, data="photodigits")
    first = next(r for r in before if r.row == "table1/cq-f")
    bpd = replace(first.metrics["BPD"], value=first.metrics["BPD"].value + 1)
    after = [r if r is not first else replace(r, metrics={**r.metrics, "BPD": bpd}) for r in before]
    for part in ("profiles", "slim_table table1", "table table1", "claims table1"):
        assert readme.part(part, run_sets([], before)) != readme.part(part, run_sets([], after))


def test_documents_without_records_have_the_papers_numbers_and_the_command():
    for table in ("table1", "table2", "table3"):
        text = readme.part(f"table {table}", [])
        assert f"Not trained yet: `./run_all.sh --only {table}`" in text and "8.1" in text or table == "table1"
        assert "holds" not in readme.part(f"claims {table}", [])
    assert "| CQ-F | 3.9, 28.0 |" in readme.part("slim_table table1", [])
    assert readme.part("headlines", []) and readme.part("profiles", [])


def test_a_row_that_diverged_or_was_not_trained_says_so():
    runs = [r for r in records(2) if r.row != "table1/gan"]
    text = readme.part("table table1", run_sets([], [*runs, replace(runs[0], seed=2, status="diverged")]))
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert lines["VAE"].endswith(" 1 of 3 diverged |") and lines["CQ"].endswith(" 2 |")
    assert "not trained yet: `./run_all.sh --only table1/gan" in lines["GAN"]
    assert mixture.LABEL not in text


def test_a_table_is_of_quick_where_it_has_all_rows_and_else_of_what_has_more():
    fuller = run_sets([], [*records(1), *records(2, profile="study")])
    assert readme.displayed(fuller, paper.TABLE1).profile == "quick"
    rows = tuple(row.id for row in paper.TABLE1.rows)
    lacking = run_sets([], [*records(3, rows[1:]), *records(1, profile="study")])
    assert readme.displayed(lacking, paper.TABLE1).profile == "study"


def test_time_of_a_seed_is_the_sum_of_the_medians_over_seeds():
    seconds = (60.0, 120.0, 3600.0)
    runs = [replace(run, seconds=seconds[run.seed]) for run in records(3, profile="study")]
    assert readme.cost("study", run_sets([], runs)[0])[0] == "10 min of a core"


def test_a_caption_says_where_rows_have_fewer_seeds():
    runs = [run for run in records(3) if run.row != "table1/vae" or run.seed == 0]
    assert readme.seeds(run_sets([], runs)[0], paper.TABLE1) == "up to 3 seeds"
    assert readme.seeds(run_sets([], records(3))[0], paper.TABLE1) == "3 seeds"


def test_the_default_command_has_the_time_of_the_slowest_machine_that_was_measured(tmp_path, monkeypatch):
    slow = {"seconds": 1020, "seconds_again": 14.6, "memory_mb": 3456.7, "machine": "2 cores"}
    (tmp_path / "bench").mkdir()
    quick = slow | {"seconds": 800, "machine": "others"}
    (tmp_path / "bench" / "default_run.json").write_text(json.dumps([quick, slow]))
    monkeypatch.setattr(readme, "PUBLISHED", tmp_path)
    assert "| 17 min | 3,457 MB |" in readme.part("profiles", [])
    assert "(seed 0), installation included, on 2 cores." in readme.part("profiles", [])


def test_executed_notebooks_are_linked_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "EXECUTED", ROOT / "notebooks" / "solutions")
    assert "(notebooks/solutions/01_two_kl_divergences.ipynb)" in readme.part("lessons", [])
    monkeypatch.setattr(readme, "EXECUTED", tmp_path)
    assert "(notebooks/01_two_kl_divergences.ipynb)" in readme.part("lessons", [])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", TEXT[page])):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert link.startswith("https://") or target.exists(), link
        if anchor and not link.startswith("https://"):
            assert anchor in anchors(target.read_text()), link


def test_every_script_that_is_named_is_there():
    for text in TEXT.values():
        assert all((ROOT / file).is_file() for file in re.findall(r"python ((?:tests|tools|examples)/\S+\.py)", text))


@pytest.mark.parametrize("command", shell_commands())
def test_every_command_can_be_typed(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("data", "pictures"):
        (tmp_path / folder).mkdir()
    program, *words = shlex.split(command)
    if "--help" in words:
        return
    if program == "./run_all.sh":
        options.parse(words)
        return
    for name, (_, *rest) in commands.COMMANDS.items():
        monkeypatch.setitem(commands.COMMANDS, name, (lambda _: 0, *rest))
    assert commands.main(words[2:]) == 0


def test_readmes_python_does_what_it_says(tmp_path, monkeypatch):
    publish_untrained(tmp_path, monkeypatch, "table1/cq-f", data="photodigits")
    (code,) = blocks(README, "python")
    names = {}
    exec(code, names)
    assert names["images"].shape == (64, 3, 16, 16) and names["images"].abs().max() <= 1
    assert "(64, 3, 16, 16), values in [-1, 1]" in code


def test_the_code_to_copy_trains_and_measures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(TEXT[readme.DOCS / "code.md"], "python")
    printed = []
    exec(code, {"print": printed.append})
    bpd, scores = printed
    assert 0 < bpd < 20 and list(scores) == ["FD-lite0", "Coverage-lite0"] and (tmp_path / "my-model").is_dir()


def test_the_recipes_of_archives_work(tmp_path, monkeypatch):
    """On photos10, since CIFAR-10 is not at hand."""
    monkeypatch.chdir(tmp_path)
    photos = data.load("photos10", size=16)
    monkeypatch.setattr(data, "load", lambda name: photos)
    for code in blocks(TEXT[readme.DOCS / "running.md"], "python"):
        exec(code, {})
    monkeypatch.undo()
    part = data.load(f"npz:{tmp_path / 'part.npz'}")
    assert (len(part.train), len(part.test)) == (15_000, 2_000)
    assert np.array_equal(np.sort(part.test.labels), np.sort(photos.test.labels))
    few = data.load(f"npz:{tmp_path / 'cifar10-first-3500.npz'}")
    assert (len(few.train), len(few.test)) == (3_500, 500)


def test_every_equation_is_where_the_map_says():
    for number, (_, where) in enumerate(paper.EQUATIONS, 1):
        thing = resolve_name(where)
        numbers = re.findall(r"\((\d)\)", thing.__doc__)
        ranges = [range(int(a), int(b) + 1) for a, b in re.findall(r"\((\d)\) to \((\d)\)", thing.__doc__)]
        assert str(number) in numbers or any(number in r for r in ranges), where


def test_maps_are_complete():
    running, code = TEXT[readme.DOCS / "running.md"], TEXT[readme.DOCS / "code.md"]
    assert all(file.name in running for file in notebooks().values())
    assert all(f"`{profile}`" in README and f"`{profile}`" in running for profile in PROFILES)
    rooms = [path for path in (ROOT / "cqlib").iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert rooms and all(f"(../cqlib/{room.name})" in code for room in rooms)


def test_the_margins_that_are_told_are_those_of_the_verdicts():
    assert QUANTITIES["is"].equal == QUANTITIES["fid"].equal
    text = " ".join(TEXT[readme.DOCS / "results.md"].split())
    assert f"±{QUANTITIES['bpd'].equal} bpd, ±{QUANTITIES['fid'].equal:.0f} % of a score" in text
    assert f"±{QUANTITIES['coverage'].equal:.0f} points of a share" in text


def test_the_paper_is_cited_as_in_citation_cff():
    (bibtex,) = blocks(README, "bibtex")
    (cited,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    names = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in cited["authors"])
    fields = dict(re.findall(r"(\w+)=\{(.+)\}", bibtex))
    assert fields.pop("note") == cited["identifiers"][0]["value"]
    assert fields == {"title": cited["title"], "author": names, "year": str(cited["year"])}
